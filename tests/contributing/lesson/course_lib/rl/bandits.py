"""A row of slot machines: which one pays best, and what does it cost to find out?

Auer, Cesa-Bianchi and Fischer, "Finite-time analysis of the multiarmed bandit problem" (2002):
UCB1, figure 1. Left out: arms that change, and rewards outside [0, 1].

Shapes: A arms. Everything is NumPy.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Config:
    """Settings of one run."""

    steps: int = 2_000  # pulls in all; 100 to 100,000
    width: float = 1.0  # of the confidence bonus; 1 is UCB1, 0 is greedy
    report_every: int = 20  # pulls between two dicts of metrics

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ValueError(f"width must not be negative, got {self.width}")


def updated_mean(mean: float, count: int, reward: float) -> float:
    """Return the mean of `count` rewards: that of the `count - 1` before, and `reward`."""
    return mean + (reward - mean) / count


def confidence_bonus(counts: np.ndarray, pulls: int, width: float) -> np.ndarray:
    """Return what is added to each mean, shape (A,): width * sqrt(2 ln(pulls) / counts).

    An arm that was never pulled gets infinity: it comes first.
    """
    bonus = width * np.sqrt(2 * np.log(pulls) / np.maximum(counts, 1))
    return np.where(counts > 0, bonus, np.inf)


def choose(means: np.ndarray, bonus: np.ndarray) -> int:
    """Return the arm with the largest sum of mean and bonus, the first of several."""
    return int(np.argmax(means + bonus))


def regret(chances: np.ndarray, counts: np.ndarray) -> float:
    """Return the reward lost by not always pulling the best arm, in expectation.

    `chances` (A,) is what a pull pays on average, `counts` (A,) how often each was pulled.
    """
    return float(counts @ (chances.max() - chances))


def train(chances: np.ndarray, config: Config, seed: int) -> Iterator[dict[str, float]]:
    """Pull arms that pay 1 with the given chances; yield steps, reward and regret so far."""
    rng = np.random.default_rng(seed)
    means, counts = np.zeros(len(chances)), np.zeros(len(chances), dtype=int)
    total = 0.0
    for pulls in range(1, config.steps + 1):
        arm = choose(means, confidence_bonus(counts, pulls, config.width))
        reward = float(rng.random() < chances[arm])
        counts[arm] += 1
        means[arm] = updated_mean(means[arm], counts[arm], reward)
        total += reward
        if pulls % config.report_every == 0:
            yield {"steps": pulls, "reward": total / pulls, "regret": regret(chances, counts)}
