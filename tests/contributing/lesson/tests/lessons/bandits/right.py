# ruff: noqa: F811
"""Right answers to the exercises of this lesson in other styles than the library's."""

# %% imports
import math

import numpy as np


# %% updated_mean: the sum of all rewards, divided
def updated_mean(mean, count, reward):
    return (mean * (count - 1) + reward) / count


# %% updated_mean: two weights
def updated_mean(mean, count, reward):
    weight = 1 / count
    return (1 - weight) * mean + weight * reward


# %% updated_mean: a mean of a list
def updated_mean(mean, count, reward):
    return float(np.mean([mean] * (count - 1) + [reward]))


# %% confidence_bonus: a loop
def confidence_bonus(counts, pulls, width):
    bonus = np.full(len(counts), np.inf)
    for arm, count in enumerate(counts):
        if count > 0:
            bonus[arm] = width * math.sqrt(2 * math.log(pulls) / count)
    return bonus


# %% confidence_bonus: a mask
def confidence_bonus(counts, pulls, width):
    tried = counts > 0
    bonus = np.full(counts.shape, np.inf)
    bonus[tried] = width * np.sqrt(2 * np.log(pulls) / counts[tried])
    return bonus


# %% confidence_bonus: a helper
def radius(count, pulls):
    return math.inf if count == 0 else math.sqrt(2 * math.log(pulls) / count)


def confidence_bonus(counts, pulls, width):
    return np.array([width * radius(n, pulls) if n else math.inf for n in counts])


# %% choose: Python's max
def choose(means, bonus):
    sums = list(means + bonus)
    return sums.index(max(sums))


# %% choose: a key
def choose(means, bonus):
    return max(range(len(means)), key=lambda arm: means[arm] + bonus[arm])


# %% choose: sorted
def choose(means, bonus):
    return int(np.argsort(-(means + bonus), kind="stable")[0])


# %% regret: a sum over arms
def regret(chances, counts):
    best = max(chances)
    return float(sum(n * (best - p) for n, p in zip(counts, chances, strict=True)))


# %% regret: what the best arm would have earned
def regret(chances, counts):
    return float(counts.sum() * chances.max() - (counts * chances).sum())


# %% regret: einsum
def regret(chances, counts):
    return float(np.einsum("a,a->", counts, chances.max() - chances))
