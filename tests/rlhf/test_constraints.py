"""Constraints and stopping: the price, the fixed point it finds, and the rules."""

import pytest
import torch

from course_lib.rlhf import constraints
from course_lib.rlhf.constraints import Config, Constrained, mean_of_last, stop_at


def test_the_price_finds_the_multiplier():
    # The policy answers a price with x = 2 - price, which costs x; at most 0.5: the price is 1.5.
    price = 0.0
    for _ in range(200):
        price = constraints.dual_update(price, cost=2 - price, limit=0.5, rate=0.1)
    assert price == pytest.approx(1.5, abs=1e-4)


def test_a_limit_that_does_not_bind_costs_nothing():
    price = 0.3
    for _ in range(20):
        price = constraints.dual_update(price, cost=0.1, limit=0.5, rate=0.1)
    assert price == 0.0


def test_a_constrained_reward_pays_the_price_and_moves_it():
    config = Config(limit=0.5, price=1.0, rate=2.0, highest=2.5)
    reward = Constrained(
        lambda p, r: torch.tensor([3.0, 1.0]), lambda p, r: torch.tensor([1.0, 1.0]), config
    )
    torch.testing.assert_close(reward([[1]] * 2, [[2]] * 2), torch.tensor([1.0, 0.0]))
    assert reward.price == 2.0
    torch.testing.assert_close(reward([[1]] * 2, [[2]] * 2), torch.tensor([1 / 3, -1 / 3]))
    assert reward.price == 2.5, "the highest price"
    assert reward.records == [
        {"reward": 2.0, "cost": 1.0, "price": 1.0},
        {"reward": 2.0, "cost": 1.0, "price": 2.0},
    ]


@pytest.mark.parametrize("name", ["price", "rate", "highest"])
def test_settings_that_cannot_be_get_a_sentence(name):
    with pytest.raises(ValueError, match=f"{name} must not be negative, got -1"):
        Config(**{name: -1})


def test_when_to_stop():
    assert stop_at([0, 1, 2, 3], [0, 5, 1, 2], patience=2) == 1
    assert stop_at([0, 3, 2, 1], [0, 5, 1, 2], patience=2) == 3, "both fell: no gap"


def test_running_means_look_back_only():
    assert mean_of_last([1, 3, 5, 7], 2) == [1, 2, 4, 6]
    assert mean_of_last([1, 3], 5) == [1, 2]
