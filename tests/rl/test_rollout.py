"""Rollouts: what is carried over between them, and what is seen at an episode's end."""

import numpy as np
import pytest
import torch

from course_lib.rl import envs as environments
from course_lib.rl.agent import Agent, AgentConfig
from course_lib.rl.envs import Step
from course_lib.rl.normalize import RewardScaler
from course_lib.rl.rollout import Collector, Rollout


def agent_for(envs, seed=0, **config):
    return Agent(envs, AgentConfig(hidden=(8,), **config), seed)


class Clock:
    """Observes (episode number, step). Episode lengths follow a list; odd ones are truncated.

    The reward of each step is its number, counted from 1.
    """

    name = "Clock"
    num_states = action_size = None
    num_actions, obs_shape = 2, (2,)

    def __init__(self, *lengths):
        self.lengths = lengths  # per environment, repeated for ever
        self.num_envs = len(lengths)

    def reset(self, seed=None):
        self.obs = np.zeros((self.num_envs, 2), np.float32)
        self.ended = np.zeros(self.num_envs, bool)
        return self.obs.copy()

    def step(self, actions):
        valid = ~self.ended
        self.obs[~valid, 0] += 1
        self.obs[~valid, 1] = 0
        self.obs[valid, 1] += 1
        episode, step = self.obs.T
        number = episode.astype(int)
        last = [of[n % len(of)] for of, n in zip(self.lengths, number, strict=True)]
        self.ended = ended = valid & (step == last)
        rewards = np.where(valid, step, 0).astype(np.float32)
        odd = episode % 2 == 1
        return Step(self.obs.copy(), rewards, ended & ~odd, ended & odd, valid)


def rollout(envs, agent, *lengths, seed=0, scaler=None):
    """Rollouts of these lengths, one after the other."""
    collector, generator = Collector(envs, scaler), torch.Generator().manual_seed(seed)
    return [collector.collect(agent, length, generator) for length in lengths], collector


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "MinAtar/Breakout"])
@pytest.mark.parametrize("scaled", [False, True])
def test_short_rollouts_put_together_are_one_long_rollout(name, scaled):
    """CartPole's poles fall after some 20 steps, so ends lie on and around the cuts."""
    whole, parts = [], []
    for lengths, into in (((60,), whole), ((1, 2, 7, 20, 30), parts)):
        envs = environments.make(name, num_envs=4, seed=3)
        agent = agent_for(envs, normalize_obs=not name.startswith("MinAtar"))
        scaler = RewardScaler(4, 0.9) if scaled else None
        into += rollout(envs, agent, *lengths, scaler=scaler)[0]
    for field, long, *short in zip(Rollout._fields, *whole, *parts, strict=True):
        together = torch.cat(short)
        assert together.shape == long.shape and together.dtype == long.dtype, field
        if field == "next_values":
            # Running statistics move on: the last value of a part was read with its own.
            ends = np.cumsum([len(x) for x in short]) - 1
            keep = np.setdiff1d(np.arange(60), ends)
            together, long = together[keep], long[keep]
        torch.testing.assert_close(together, long, atol=1e-5, rtol=1e-5, msg=field)
    if name == "CartPole-v1":
        assert not whole[0].valid.all()


def test_the_row_after_an_end_is_invalid_also_across_rollouts():
    envs = Clock([3], [5])
    parts, _ = rollout(envs, agent_for(envs), 3, 1, 1, 1, 6)
    # Episodes of 3 and 5 steps with one reset row between: periods of 4 and 6.
    expected = np.stack([np.arange(12) % 4 != 3, np.arange(12) % 6 != 5], axis=1)
    valid = torch.cat([p.valid for p in parts]).numpy()
    np.testing.assert_array_equal(valid, expected)
    ended = torch.cat([p.terminated | p.truncated for p in parts]).numpy()
    np.testing.assert_array_equal(ended[:-1], ~expected[1:])
    assert not torch.cat([p.rewards for p in parts])[~torch.tensor(valid)].any()


def test_next_values_are_of_the_true_successor():
    """Also where the episode was cut: there the successor is the final observation."""
    envs = Clock([3, 4], [5])
    agent = agent_for(envs)
    parts, _ = rollout(envs, agent, 4, 1, 7)
    kinds = set()
    for part in parts:
        with torch.no_grad():
            values = agent.network.value(part.obs.flatten(0, 1)).view(part.values.shape)
            successor = part.obs + torch.tensor([0.0, 1.0])  # one step later in the same episode
            expected = agent.network.value(successor.flatten(0, 1)).view(values.shape)
        torch.testing.assert_close(part.values, values)
        keep = part.valid
        torch.testing.assert_close(part.next_values[keep], expected[keep])
        flags = zip(part.terminated[keep].tolist(), part.truncated[keep].tolist(), strict=True)
        kinds |= set(flags)
    assert kinds == {(False, False), (True, False), (False, True)}
    # The values tell these observations apart, so the test would notice.
    assert expected.std() > 1e-3 and (expected - values).abs().min() > 1e-5


def test_truncation_in_a_real_environment():
    """Pendulum never terminates; its clock runs out after 200 steps."""
    envs = environments.make("Pendulum-v1", num_envs=2)
    agent = agent_for(envs)
    (part,), _ = rollout(envs, agent, 203)
    assert part.truncated[199].all() and not part.valid[200].any() and part.valid[201].all()
    # The observation after the last step is the final one, then a new episode's first follows.
    torch.testing.assert_close(part.next_values[199], part.values[200])
    reach = (part.obs[200] - part.obs[199])[:, :2].abs()
    assert (reach < 0.5).all(), "the final observation continues the swing"
    assert not torch.equal(part.obs[200], part.obs[201])


def test_log_probabilities_are_of_the_actions_as_chosen():
    """Unclipped: Pendulum's limit is 2, and a standard deviation of e^2 goes far beyond."""
    envs = environments.make("Pendulum-v1", num_envs=8)
    agent = agent_for(envs, log_std=2.0)
    (part,), _ = rollout(envs, agent, 20)
    assert part.actions.shape == (20, 8, 1) and part.actions.abs().max() > 4
    policy = agent.network.policy(part.obs)
    torch.testing.assert_close(part.logp, policy.logp(part.actions))
    assert not any(x.requires_grad for x in part)


def test_shapes_and_types():
    envs = environments.make("CartPole-v1", num_envs=3)
    (part,), _ = rollout(envs, agent_for(envs), 7)
    assert part.obs.shape == (7, 3, 4) and part.actions.dtype == torch.int64
    for field in Rollout._fields[1:]:
        assert getattr(part, field).shape == (7, 3), field
    for field in ("terminated", "truncated", "valid"):
        assert getattr(part, field).dtype == torch.bool
    for field in ("obs", "logp", "values", "next_values", "rewards"):
        assert getattr(part, field).dtype == torch.float32


def test_recent_holds_plain_returns_of_finished_episodes():
    envs = Clock([3], [5])
    _, collector = rollout(envs, agent_for(envs), 3, 1, 1, 1, 8, scaler=RewardScaler(2, 0.9))
    assert list(collector.episodes.finished) == [
        6.0,
        15.0,
        6.0,
        6.0,
        15.0,
    ]  # 1 + 2 + 3, 1 + ... + 5
    assert collector.episodes.running.tolist() == [
        1.0 + 2.0,
        1.0 + 2.0,
    ]  # of the episodes under way


def test_reset_rows_enter_no_running_statistic():
    envs = Clock([3], [5])
    agent = agent_for(envs, normalize_obs=True)
    scaler = RewardScaler(2, 0.5)
    (part,), _ = rollout(envs, agent, 24, scaler=scaler)
    steps = int(part.valid.sum())
    assert steps < 48
    assert agent.obs_normalizer.moments.count == scaler.moments.count == steps
    # Only observations on which an action was really chosen: steps 0 to 2 and 0 to 4.
    seen = [step for period in (4, 6) for step in np.arange(24) % period if step != period - 1]
    assert agent.obs_normalizer.moments.mean[1] == pytest.approx(np.mean(seen))
    running = [sum(0.5 ** (n - k) * k for k in range(1, n + 1)) for n in range(1, 6)]
    discounted = [*running[:3] * 6, *running * 4]
    assert scaler.moments.mean == pytest.approx(np.mean(discounted), rel=1e-6)
    assert scaler.moments.var == pytest.approx(np.var(discounted), rel=1e-6)


def test_observations_are_stored_as_the_network_saw_them():
    envs = Clock([3], [5])
    agent = agent_for(envs, normalize_obs=True)
    collector, generator = Collector(envs), torch.Generator().manual_seed(0)
    raw, seen, read = [], [], agent.read

    def spy(obs):
        raw.append(obs.copy())
        seen.append(read(obs))
        return seen[-1]

    agent.read = spy
    part = collector.collect(agent, 10, generator)
    assert len(raw) == 11  # ten to act on, one to value what comes next
    assert torch.equal(part.obs, torch.stack(seen[:10]))
    rows = np.stack(raw[:10])[part.valid.numpy()].astype(np.float64)
    np.testing.assert_allclose(agent.obs_normalizer.moments.mean, rows.mean(axis=0), rtol=1e-12)
