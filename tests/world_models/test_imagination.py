"""A dream keeps the contract of `rl.envs`, and policies learn in it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.rl import ppo, returns
from course_lib.rl.agent import Agent
from course_lib.rl.envs import make
from course_lib.rl.rollout import Collector
from course_lib.world_models import dreamer
from course_lib.world_models.imagination import Dream, from_replay
from course_lib.world_models.returns import continue_weights
from course_lib.world_models.world_model import WorldModel
from tests.world_models.test_frames import SHAPE, played
from tests.world_models.test_world_model import SMALL


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
    args = (rewards, values, following, terminated, truncated, 0.97, 0.95)
    # gae assumes that a row's successor has the next row's value; so must the test
    following[:-1] = values[1:]
    assert torch.allclose(dreamer.dream_advantages(*args), returns.gae(*args), atol=1e-5)


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
    policy=replace(dreamer.POLICY, num_envs=16, minibatch_size=64),
)


def test_the_loop_plays_learns_and_dreams_in_turn_and_repeats_with_its_seed():
    runs = []
    for _ in range(2):
        run = dreamer.Run(make("MinAtar/Breakout", 4, 7), TINY, 7)
        runs.append(list(dreamer.train(run, TINY, 7)))
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
    shares = [dreamer.learning_rate(config, i) / config.policy.learning_rate for i in range(7)]
    assert shares == [1, 1, 1, 1, 0.75, 0.5, 0.25]
    seen, epoch = [], ppo._epoch

    def watched(agent, run, *args):
        seen.append(run.optimizer.param_groups[0]["lr"])
        return epoch(agent, run, *args)

    monkeypatch.setattr(ppo, "_epoch", watched)
    agent = Agent(make("MinAtar/Breakout", 1), TINY.policy.agent)
    short = replace(TINY, updates=(1, 2), horizon=2, policy=replace(TINY.policy, epochs=1))
    list(dreamer.learn_in(dream(32, 2), agent, short))
    assert np.allclose(seen, [1e-3, 1e-3, 5e-4])


def test_own_functions_are_really_used():
    calls = dict.fromkeys(("mask", "nll", "frame", "returns"), 0)

    def counted(name, function):
        def call(*args, **kwargs):
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    from course_lib.world_models import returns, sequence

    config = replace(TINY, frames=(120,), model_steps=(2,), updates=(1,))
    run = dreamer.Run(make("MinAtar/Breakout", 4, 7), config, 7)
    list(
        dreamer.train(
            run, config, 7,
            block_causal_mask=counted("mask", sequence.block_causal_mask),
            event_nll=counted("nll", sequence.event_nll),
            sample_frame=counted("frame", sequence.sample_frame),
            dream_returns=counted("returns", returns.dream_returns),
        )
    )  # fmt: skip
    assert calls == {"mask": 2, "nll": 2, "frame": 12, "returns": 1}


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
