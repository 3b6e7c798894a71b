"""Exercises of lesson 00: a success rate, shown solved, and the discounted return, to solve."""

from __future__ import annotations

import numpy as np

from course_lib import evaluation
from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.rl import returns


def _success_cases(rng: np.random.Generator) -> list[Case]:
    drawn = rng.normal(size=7).round(2)
    goal = float(drawn[rng.integers(7)])  # one episode reaches it exactly
    reached = sum(not value < goal for value in drawn)
    return [
        Case("both reach the goal", (np.array([480.0, 500.0]), 475.0), 1.0),
        Case("one of four reaches it", (np.array([1.0, 2.0, 3.0, 9.0]), 5.0), 0.25),
        Case("reaching the goal exactly counts", (np.array([10.0, 4.0]), 10.0), 0.5),
        Case("nobody reaches it", (np.array([1.0, 2.0, 4.9]), 5.0), 0.0),
        Case("a goal below zero", (np.array([-200.0, -150.0, -110.0, -90.0]), -110.0), 0.5),
        Case("a goal between whole numbers", (np.array([5.0, 5.2]), 5.1), 0.5),
        Case("seven random episodes", (drawn, goal), reached / 7),
    ]


success_rate = Exercise(
    reference=evaluation.success_rate,
    cases=_success_cases,
    edits="""
    counts: `mean()` becomes `sum()`. You counted the episodes. A rate is a share: divide by how
        many there are.

    excludes the goal: `>= goal` becomes `> goal`. An episode that reaches the goal exactly counts
        as well: use `>=`.

    counts failures: `>= goal` becomes `< goal`. That is the share that *missed* the goal. Turn the
        comparison round.

    gives percent: `return float` becomes `return 100 * float`. That is a percentage. The answer
        lies between 0 and 1.
    """,
    hints=(
        "`returns >= goal` compares every episode at once and gives an array of booleans.",
        "The mean of booleans is the share that is true.",
        "`float((returns >= goal).mean())`",
    ),
)


def _discounted_cases(rng: np.random.Generator) -> list[Case]:
    rewards = rng.normal(size=6).round(2).tolist()
    gamma = float(rng.uniform(0.3, 0.95))
    total = sum(gamma**t * reward for t, reward in enumerate(rewards))
    return [
        Case("one reward", ([5.0], 0.9), 5.0),
        Case("two rewards", ([1.0, 1.0], 0.5), 1.5),
        Case("a reward that comes late", ([0.0, 0.0, 1.0], 0.5), 0.25),
        Case("gamma 0 sees only the first", ([2.0, 7.0, 7.0], 0.0), 2.0),
        Case("gamma 1 adds everything", ([2.0, 7.0, 7.0], 1.0), 16.0),
        Case("six random rewards", (rewards, gamma), total),
    ]


discounted_return = Exercise(
    reference=returns.discounted_return,
    cases=_discounted_cases,
    edits="""
    forgets the discount: `gamma * total` becomes `total`. You added the rewards as they are. Reward
        number t counts `gamma**t` times.

    discounts the first reward: `return total` becomes `return gamma * total`. You discounted the
        first reward too. It counts in full: the exponent starts at 0.

    discounts once: `reversed(rewards)` becomes `[sum(rewards[1:]), rewards[0]]`. You discounted all
        later rewards alike, by one factor gamma. Each further step takes another one: reward number
        t counts `gamma**t` times.

    discounts the past: `reversed(rewards)` becomes `rewards`. You discounted from the wrong end:
        the *last* reward is the furthest away, so it takes the largest power of gamma.
    """,
    mistakes=(
        Mistake(
            "multiplies by t",
            lambda rewards, gamma: float(sum(gamma * t * r for t, r in enumerate(rewards))),
            "You multiplied gamma by t. The discount compounds: it is gamma to the *power* t.",
        ),
    ),
    hints=(
        "Walk through the rewards with `enumerate(rewards)`: it gives t = 0, 1, 2, ...",
        "Reward number t is worth `gamma**t * reward` today.",
        "`sum(gamma**t * reward for t, reward in enumerate(rewards))`",
    ),
)
