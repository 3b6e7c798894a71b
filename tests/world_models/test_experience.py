"""Real steps, kept: exact budgets, no reset rows, stretches that stay inside an episode."""

import numpy as np
import pytest
import torch

from course_lib.rl.envs import Step, make
from course_lib.world_models.experience import (
    Experience,
    collect,
    encode,
    random_policy,
    segments,
    transitions,
)


class Counter:
    """Counts up from 0; an episode ends at 3, the next row is its reset."""

    obs_shape, num_actions, action_size, num_envs = (1,), 2, None, 2

    def reset(self):
        self.count = np.zeros(2, np.float32)
        self.ended = np.zeros(2, bool)
        return self.count[:, None].copy()

    def step(self, actions):
        valid = ~self.ended
        self.count = np.where(valid, self.count + 1, 0).astype(np.float32)
        self.ended = self.count == 3
        rewards = np.where(valid, 1, 0).astype(np.float32)
        obs = self.count[:, None].copy()
        return Step(obs, rewards, self.ended.copy(), np.zeros(2, bool), valid)


def ones(obs):
    return np.ones(len(obs), int)


@pytest.mark.parametrize("steps", [1, 5, 6, 7, 20])
def test_the_budget_is_exact_and_counts_no_resets(steps):
    data = transitions(collect(Counter(), ones, steps))
    assert data.rows == steps
    torch.testing.assert_close(data.next_obs, data.obs + 1)  # a reset row would go from 3 to 0
    assert data.rewards.eq(1).all()


def test_numbered_actions_become_vectors():
    np.testing.assert_array_equal(encode(np.array([1, 0]), 2), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(encode(np.array([[0.5]]), None), np.float32([[0.5]]))
    data = transitions(collect(Counter(), ones, 4))
    assert data.actions.tolist() == [[0.0, 1.0]] * 4


def test_parts_are_laid_side_by_side():
    parts = [collect(Counter(), ones, steps) for steps in (4, 6)]
    assert transitions(*parts).rows == 10


def test_stretches_stay_inside_an_episode():
    data = collect(Counter(), ones, 30)
    for horizon, starts in ((1, {0, 1, 2}), (2, {0, 1}), (3, {0})):
        found = segments(data, horizon)
        assert set(found.obs.flatten().tolist()) == starts
        assert found.actions.shape == (len(found.obs), horizon, 2)
        expected = found.obs + torch.arange(1, horizon + 1)
        torch.testing.assert_close(found.next_obs[..., 0], expected)
        assert found.rewards.eq(1).all()
    assert len(segments(data, 4).obs) == 0
    with pytest.raises(ValueError, match="horizon must be at most"):
        segments(data, 100)


def test_random_actions_are_even_and_repeat():
    envs = make("CartPole-v1", 4, seed=0)
    one, two = (random_policy(envs, seed=3) for _ in range(2))
    obs = np.zeros((1000, 4))
    drawn = one(obs)
    np.testing.assert_array_equal(drawn, two(obs))
    assert 0.4 < drawn.mean() < 0.6
    pendulum = make("Pendulum-v1", 2, seed=0)
    torques = random_policy(pendulum, seed=3, limit=2.0)(np.zeros((1000, 3)))
    assert torques.shape == (1000, 1)
    assert -2 <= torques.min() < -1.9 < 1.9 < torques.max() <= 2


def test_real_environments_come_out_whole():
    envs = make("Pendulum-v1", 2, seed=0)
    data = collect(envs, random_policy(envs, 0, 2.0), 450)
    assert isinstance(data, Experience)
    assert data.valid.sum() == 450
    assert data.ended.sum() == 2  # both ran out of time once, at step 200
    row = transitions(data)
    assert row.obs.dtype == torch.float32
    assert row.obs.shape == (450, 3)
    assert row.actions.shape == (450, 1)
