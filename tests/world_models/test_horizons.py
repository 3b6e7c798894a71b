"""Expansions of the value and how they are weighed, by hand."""

import pytest
import torch

from course_lib.rl.returns import n_step_target
from course_lib.world_models.dynamics import Config, Dynamics
from course_lib.world_models.horizons import (
    expansions,
    horizon_weights,
    value_expansion,
    weighted_return,
)


def test_an_expansion_by_hand():
    rewards = torch.tensor([[1.0], [2.0]])
    values = torch.tensor([[10.0], [20.0], [30.0]])
    found = value_expansion(rewards, values, 0.5)
    assert found.flatten().tolist() == [10, 1 + 10, 1 + 0.5 * 2 + 0.25 * 30]


def test_an_expansion_is_an_n_step_target():
    rng = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(6, 3, generator=rng), torch.randn(7, 3, generator=rng)
    found = value_expansion(rewards, values, 0.9)
    for b in range(3):
        for k in range(1, 7):
            off = [False] * k
            total, steps, _ = n_step_target(rewards[:k, b], off, off, 0.9)
            expected = total + 0.9**steps * values[steps, b]
            assert found[k, b] == pytest.approx(float(expected), abs=1e-5)


def test_members_are_expanded_one_by_one():
    rng = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 4, 3, generator=rng), torch.randn(2, 5, 3, generator=rng)
    together = value_expansion(rewards, values, 0.9)
    for e in range(2):
        torch.testing.assert_close(together[e], value_expansion(rewards[e], values[e], 0.9))


def test_weights_are_inverse_variances():
    # Variances over the two members: 1, 4 and 16.
    returns = torch.tensor([[4.0, 7.0, 0.0], [6.0, 3.0, 8.0]])[:, :, None]
    weights = horizon_weights(returns, floor=0.0)
    total = 1 + 1 / 4 + 1 / 16
    torch.testing.assert_close(weights.flatten(), torch.tensor([1, 1 / 4, 1 / 16]) / total)
    expected = (5 * 1 + 5 / 4 + 4 / 16) / total
    torch.testing.assert_close(weighted_return(returns, floor=0.0), torch.tensor([expected]))


def test_each_start_has_weights_of_its_own_and_agreement_is_no_accident():
    returns = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))
    weights = horizon_weights(returns)
    torch.testing.assert_close(weights.sum(0), torch.ones(3))
    certain = horizon_weights(torch.zeros(5, 4, 3))
    torch.testing.assert_close(certain, torch.full((4, 3), 0.25))


def test_every_member_goes_its_own_way_and_trusts_its_own_value():
    config = Config(members=3, hidden=(4,), learn_reward=True)
    model, value = (Dynamics(2, 1, config, seed) for seed in (0, 1))
    obs = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))

    def policy(obs):
        return obs[..., :1]

    found = expansions(model, value, obs, policy, horizon=2, gamma=0.5)
    assert found.shape == (3, 3, 5)
    here, collected = obs.expand(3, -1, -1), 0.0
    for k in range(3):
        expected = collected + 0.5**k * value.predict(here, policy(here)).rewards
        torch.testing.assert_close(found[:, k], expected)
        step = model.predict(here, policy(here))
        collected, here = collected + 0.5**k * step.rewards, step.next_obs
