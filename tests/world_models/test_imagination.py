"""A dream keeps the contract of `rl.envs`, and policies learn in it."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.rl import ppo, returns
from course_lib.rl.agent import Agent
from course_lib.rl.envs import make
from course_lib.rl.rollout import Collector, Rollout
from course_lib.world_models import dreamer
from course_lib.world_models.imagination import Dream, from_replay
from course_lib.world_models.returns import continue_weights
from course_lib.world_models.world_model import WorldModel
from tests.world_models.test_frames import SHAPE, played
from tests.world_models.test_world_model import SMALL, TRAINING


def dream(num_envs: int = 32, horizon: int = 5, seed: int = 0) -> Dream:
    model = WorldModel(SMALL, SHAPE, 3)  # untrained: dreams end at random
    return Dream(model, from_replay(played()[0]), num_envs, horizon, seed)


def test_a_dream_steps_as_environments_do():
    envs = dream()
    obs = envs.reset()
    assert obs.shape == (32, *SHAPE) and obs.dtype == np.uint8
    alive = np.ones(32, bool)
    for t in range(1, 6):
        step = envs.step(np.zeros(32, int))
        assert step.obs.shape == (32, *SHAPE) and step.rewards.dtype == np.float32
        assert np.array_equal(step.valid, alive)
        assert not (step.terminated & ~alive).any() and not step.rewards[~alive].any()
        alive = alive & ~step.terminated
        assert np.array_equal(step.truncated, alive if t == 5 else np.zeros(32, bool))
    assert 0 < alive.sum() < 32, "both kinds of end should occur"
    step = envs.step(np.zeros(32, int))  # the reset row
    assert not step.valid.any() and not (step.terminated | step.truncated).any()
    assert not step.rewards.any()
    assert envs.step(np.zeros(32, int)).valid.all()


def test_every_dream_begins_in_a_real_frame():
    replay = played()[0]
    real = {frame.numpy().tobytes() for frame in replay.obs.flatten(0, 1)}
    envs = Dream(WorldModel(SMALL, SHAPE, 3), from_replay(replay), 64, 3)
    assert all(frame.tobytes() in real for frame in envs.reset())


def test_a_rollout_of_horizon_plus_one_is_one_batch_of_whole_dreams():
    envs = dream()
    agent = Agent(make("MinAtar/Breakout", 1), dreamer.POLICY.agent)
    collector = Collector(envs)
    for _ in range(2):
        rollout = collector.collect(agent, 6, torch.Generator().manual_seed(0))
        assert rollout.valid[0].all() and not rollout.valid[5].any()
        ended = rollout.terminated | rollout.truncated
        assert ended[:5].sum() == 32, "each dream ends once"
        reached = continue_weights(1 - rollout.terminated[:5].float())
        assert torch.equal(reached.bool(), rollout.valid[:5])


def test_the_advantages_of_dreams_are_those_of_gae():
    generator = torch.Generator().manual_seed(0)
    rewards, values, following = torch.rand(3, 6, 8, generator=generator)
    terminated = torch.rand(6, 8, generator=generator) < 0.2
    truncated = torch.zeros_like(terminated)
    # gae assumes that a row's successor has the next row's value; so must the test
    following[:-1] = values[1:]
    names = torch.arange(48).view(6, 8)  # of the rows, to tell which were kept
    rollout = Rollout(
        names, names, names, values, following, rewards, terminated, truncated, ~truncated
    )
    batch = dreamer.dream_batch(rollout, replace(dreamer.POLICY, gamma=0.97, lam=0.95))
    # The last row resets the dreams: what it holds must not reach the row before it.
    dreams = [x[:-1] for x in (rewards, values, following, terminated, truncated)]
    expected = returns.gae(*dreams, 0.97, 0.95)
    assert torch.allclose(batch.advantages, expected.flatten()[batch.obs], atol=1e-5)
    assert torch.allclose(batch.targets, batch.advantages + batch.values)
    alive = torch.cat([torch.ones(1, 8).bool(), (~terminated[:5]).cumprod(0)[:-1].bool()])
    assert batch.obs.tolist() == names[:5][alive].tolist()


def test_ppo_learns_in_a_dream_without_any_change():
    envs = dream(num_envs=16)
    agent = Agent(make("MinAtar/Breakout", 1), dreamer.POLICY.agent)
    config = replace(dreamer.POLICY, total_steps=2 * 6 * 16, rollout_length=6, minibatch_size=32)
    rows = list(ppo.train(agent, envs, config))
    assert len(rows) == 2 and all(np.isfinite(row["policy_loss"]) for row in rows)


TINY = dreamer.Config(
    num_envs=4,
    frames=(120, 60),
    model_steps=(4, 3),
    updates=(2, 1),
    model=SMALL,
    training=TRAINING,
    policy=replace(dreamer.POLICY, num_envs=16, minibatch_size=64),
)


def test_the_loop_plays_learns_and_dreams_in_turn_and_repeats_with_its_seed():
    runs = []
    for _ in range(2):
        run = dreamer.Run(make("MinAtar/Breakout", 4, 7), TINY, 7)
        runs.append(list(dreamer.train(run)))
        assert list(dreamer.train(run)) == [], "all rounds are finished"
        assert run.frames == 180 and len(run.replay) <= 180
    kinds = ["dreamed" if "dreamed" in row else "model" for row in runs[0]]
    assert kinds == ["model"] * 4 + ["dreamed"] * 2 + ["model"] * 3 + ["dreamed"]
    assert [row["frames"] for row in runs[0]] == [120.0] * 6 + [180.0] * 4
    assert runs[0][-1]["dreamed"] == 3 * 16 * 12
    assert [row.get("policy_loss") for row in runs[0]] == [
        row.get("policy_loss") for row in runs[1]
    ]


def test_the_policys_rate_falls_in_the_last_round_alone(monkeypatch):
    config = replace(TINY, updates=(3, 4))
    shares = [dreamer.learning_rate(config, i) / config.policy.learning_rate for i in range(9)]
    assert shares == [1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0]
    rates, update = [], ppo.update

    def watched(agent, run, *args):
        rates.append(run.optimizer.param_groups[0]["lr"])
        return update(agent, run, *args)

    monkeypatch.setattr(ppo, "update", watched)
    agent = Agent(make("MinAtar/Breakout", 1), TINY.policy.agent)
    short = replace(TINY, updates=(1, 2), horizon=2, policy=replace(TINY.policy, epochs=1))
    list(dreamer.learn_in(dream(32, 2), agent, short))
    assert np.allclose(rates, [1e-3, 1e-3, 5e-4])


def test_a_round_that_was_interrupted_begins_anew_without_playing_again():
    run = dreamer.Run(make("MinAtar/Breakout", 4, 7), TINY, 7)
    for _ in itertools.islice(dreamer.train(run), 5):
        pass
    rows = list(dreamer.train(run))
    assert run.frames == 180 and run.rounds == 2
    assert ["dreamed" in row for row in rows] == [False] * 4 + [True] * 2 + [False] * 3 + [True]


def test_wrong_settings_are_sentences():
    with pytest.raises(ValueError, match=r"context \+ horizon must not exceed"):
        dreamer.Config(horizon=20)
    with pytest.raises(ValueError, match="as many rounds"):
        dreamer.Config(frames=(100,))
    with pytest.raises(RuntimeError, match="reset"):
        dream().step(np.zeros(32, int))
    envs = dream()
    envs.reset()
    with pytest.raises(ValueError, match="one per dream"):
        envs.step(np.zeros(3, int))
