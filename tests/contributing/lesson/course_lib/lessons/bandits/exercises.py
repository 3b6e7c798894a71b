"""Exercises of the bandit lesson: the running mean, the bonus, the choice, the regret."""

from __future__ import annotations

import math

import numpy as np

from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.rl import bandits


def _mean_cases(rng: np.random.Generator) -> list[Case]:
    hand = [
        Case("the first reward is the mean", (0.0, 1, 1.0), 1.0),
        Case("a lower reward pulls it down", (1.0, 2, 0.0), 0.5),
        Case("the mean itself changes nothing", (0.25, 9, 0.25), 0.25),
    ]
    rewards = rng.random(6).tolist()
    return [*hand, Case("six rewards", (sum(rewards[:5]) / 5, 6, rewards[5]), sum(rewards) / 6)]


updated_mean = Exercise(
    reference=bandits.updated_mean,
    cases=_mean_cases,
    edits="""
    takes the last reward: `mean + (reward - mean) / count` becomes `reward`.
        You forgot everything but the last reward. Move the mean only a part of the way.

    counts one too many: `/ count` becomes `/ (count + 1)`.
        `count` already counts this reward: divide by `count`, not by `count + 1`.

    averages old and new: `mean + (reward - mean) / count` becomes `(mean + reward) / 2`.
        You gave the new reward as much weight as all others together: its weight is 1/count.
    """,
    hints=(
        "The old mean stands for `count - 1` rewards, the new reward for one.",
        "`mean + (reward - mean) / count`",
    ),
)


def _bonus_cases(rng: np.random.Generator) -> list[Case]:
    counts, pulls, width = rng.integers(1, 9, size=4), int(rng.integers(40, 90)), 0.7
    expected = [width * math.sqrt(2 * math.log(pulls) / int(n)) for n in counts]
    return [
        Case("never pulled", (np.array([0, 0]), 5, 1.0), np.array([np.inf, np.inf])),
        Case("pulled twice", (np.array([2]), 7, 1.0), np.array([math.sqrt(math.log(7))])),
        Case("no width, no bonus", (np.array([3, 1]), 9, 0.0), np.zeros(2)),
        Case("four arms", (counts, pulls, width), np.array(expected)),
    ]


confidence_bonus = Exercise(
    reference=bandits.confidence_bonus,
    cases=_bonus_cases,
    edits="""
    no root: `np.sqrt(2 * np.log(pulls) / np.maximum(counts, 1))`
        becomes `(2 * np.log(pulls) / np.maximum(counts, 1))`.
        The root is missing: what is not known of a mean shrinks with the root of the count.

    no two: `2 * np.log` becomes `np.log`. Under the root stands *twice* the logarithm.

    no width: `width * np.sqrt` becomes `np.sqrt`.
        You left out `width`: at width 0 nothing may be added.
    """,
    hints=(
        "`np.where(counts > 0, ..., np.inf)` treats the arms that were never pulled.",
        "`width * np.sqrt(2 * np.log(pulls) / np.maximum(counts, 1))` for all others.",
    ),
)


def _choice_cases(rng: np.random.Generator) -> list[Case]:
    means, bonus = rng.random(5), rng.random(5)
    best = max(range(5), key=lambda arm: means[arm] + bonus[arm])
    return [
        Case("the bonus decides", (np.array([0.9, 0.5]), np.array([0.1, 0.8])), 1),
        Case("the mean decides", (np.array([0.1, 0.2, 0.9]), np.array([0.3, 0.2, 0.1])), 2),
        Case("an untried arm", (np.array([0.9, 0.0, 0.9]), np.array([0.2, np.inf, 0.1])), 1),
        Case("five arms", (means, bonus), best),
    ]


choose = Exercise(
    reference=bandits.choose,
    cases=_choice_cases,
    edits="""
    ignores the bonus: `means + bonus` becomes `means`.
        You looked at the means alone, so an arm that was unlucky once is never tried again.

    ignores the means: `means + bonus` becomes `bonus`.
        You looked at the bonus alone, so the arms are pulled in turn, good or bad.

    takes the worst: `argmax` becomes `argmin`. That is the *smallest* sum.
    """,
    hints=("`np.argmax` gives the index of the largest entry.", "`int(np.argmax(means + bonus))`"),
)


def _regret_cases(rng: np.random.Generator) -> list[Case]:
    chances, counts = rng.random(4), rng.integers(0, 50, size=4)
    lost = sum(int(n) * (max(chances) - c) for n, c in zip(counts, chances, strict=True))
    return [
        Case("always the best", (np.array([0.2, 0.6]), np.array([0, 30])), 0.0),
        Case("ten bad pulls", (np.array([0.2, 0.6]), np.array([10, 30])), 4.0),
        Case("nothing pulled yet", (np.array([0.2, 0.6]), np.array([0, 0])), 0.0),
        Case("four arms", (chances, counts), lost),
    ]


regret = Exercise(
    reference=bandits.regret,
    cases=_regret_cases,
    edits="""
    sums the gaps: `float(counts @ (chances.max() - chances))`
        becomes `float((chances.max() - chances).sum())`.
        You added each gap once. Every pull of an arm loses its gap: weight them by `counts`.

    counts the rewards: `(chances.max() - chances)` becomes `chances`.
        That is the reward that was earned. Regret is what the best arm would have added.
    """,
    mistakes=(
        Mistake(
            "per pull",
            lambda chances, counts: float(counts @ (chances.max() - chances) / max(sum(counts), 1)),
            "That is the regret of one pull on average. It is asked for in total.",
        ),
    ),
    hints=(
        "Each pull of an arm loses `chances.max()` less the arm's own chance.",
        "`float(counts @ (chances.max() - chances))`",
    ),
)
