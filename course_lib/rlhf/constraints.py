"""Reward under a constraint, and when to stop: cures that need no better reward model.

*A price instead of a weight.* Some things must not happen, or only so often: cost at most a
``limit``. A fixed weight for the cost would have to be guessed anew for every model. The method of
Lagrange multipliers finds it: the policy maximises ``reward - price * cost``, and meanwhile the
price rises where the mean cost is above the limit and falls where it is below (dual ascent). With
PPO that is PPO-Lagrangian (Ray, Achiam and Amodei, "Benchmarking Safe Exploration in Deep
Reinforcement Learning", 2019); for language models Safe RLHF (Dai et al., arXiv 2310.12773).
Left out: trust regions for the constraint (CPO), several constraints, a PID in place of the plain
step (Stooke et al., 2007.03964).

*Stopping.* ``stop_at`` looks at what one can see during training: the reward model in use, and a
second one that the policy does not train against. The true reward is not needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib import limits
from course_lib.rlhf.rollouts import Reward


@dataclass(frozen=True)
class Config:
    """A constraint: mean cost of a response at most ``limit``."""

    limit: float = 0.1  # in units of the cost
    price: float = 0.0  # points of reward that a unit of cost is worth at the start: 0 to 1
    rate: float = 1.0  # change of the price per update and unit of excess: 0.1 to 5
    highest: float = 100.0  # the price never exceeds this: an impossible limit must not end in inf

    def __post_init__(self) -> None:
        limits.check(self, not_negative="price rate highest")


def dual_update(price: float, cost: float, limit: float, rate: float) -> float:
    """The next price: up where the mean ``cost`` is above ``limit``, down where below, never < 0.

    Gradient ascent on the Lagrangian ``E[reward] - price * (E[cost] - limit)`` *against* the
    policy: the price does what hurts. Below 0 it would pay for breaking the rule less than allowed.
    """
    return max(0.0, price + rate * (cost - limit))


def penalised(rewards: Tensor, costs: Tensor, price: float) -> Tensor:
    """``(reward - price * cost) / (1 + price)``, (B,), for ``rewards`` and ``costs`` (B,).

    The division keeps the scale as the price grows, so that one learning rate fits all the way
    (Safe RLHF's advantages are mixed like this). It does not move the optimum, except beside a KL
    penalty, which then counts 1 + price times as much.
    """
    return (rewards - price * costs) / (1 + price)


class Constrained:
    """A `Reward` with a price for ``cost``, which moves by one step at each call.

    Give it to a training loop in place of ``reward``: such a loop asks once per update, about the
    responses that the policy has just written. ``records`` holds what it saw.
    """

    def __init__(self, reward: Reward, cost: Reward, config: Config):
        self.reward, self.cost, self.config = reward, cost, config
        self.price = config.price
        self.records: list[dict[str, float]] = []

    def __call__(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
    ) -> Tensor:
        rewards, costs = self.reward(prompts, responses), self.cost(prompts, responses)
        mean = float(costs.mean())
        self.records.append(
            {"reward": float(rewards.mean()), "cost": mean, "price": float(self.price)}
        )
        scores = penalised(rewards, costs, self.price)
        price = dual_update(self.price, mean, self.config.limit, self.config.rate)
        self.price = min(float(price), self.config.highest)
        return scores


def stop_at(used: Sequence[float], second: Sequence[float], patience: int) -> int:
    """The number of the update whose policy to keep, from 0: both sequences have one per update.

    ``used`` is the reward that the policy trains on, ``second`` what another reward model, trained
    on other labels, thinks of the same responses. Over-optimisation shows as a gap that opens:
    ``patience`` updates (or more) after its best one ``second`` has not come back, while ``used``
    is above what it was there. Then that best update is kept. If it never happens: the last one.
    """
    best = 0
    for i in range(len(second)):
        if second[i] > second[best]:
            best = i
        if i - best >= patience and used[i] > used[best]:
            return best
    return len(second) - 1


def mean_of_last(values: Sequence[float], window: int) -> list[float]:
    """Running means over the last ``window`` values: single batches are too noisy to stop by."""
    x = torch.as_tensor(list(values), dtype=torch.float64)
    sums = torch.cat([torch.zeros(1, dtype=x.dtype), x.cumsum(0)])
    end = torch.arange(1, len(x) + 1)
    start = (end - window).clamp(min=0)
    return ((sums[end] - sums[start]) / (end - start)).tolist()
