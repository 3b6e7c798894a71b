"""Exercises of lesson 00: a success rate, shown solved, and the discounted return, to solve."""

from __future__ import annotations

import numpy as np

from course_lib import evaluation
from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.rl import returns


def _success_cases(rng: np.random.Generator) -> list[Case]:
    hand = [
        Case("both reach the goal", (np.array([480.0, 500.0]), 475.0), 1.0),
        Case("one of four reaches it", (np.array([1.0, 2.0, 3.0, 9.0]), 5.0), 0.25),
        Case("reaching the goal exactly counts", (np.array([10.0, 4.0]), 10.0), 0.5),
    ]
    returns = rng.integers(0, 10, size=8).astype(float)
    reached = 0
    for value in returns:
        if not value < 5:
            reached += 1
    return [*hand, Case("eight random episodes", (returns, 5.0), reached / 8)]


success_rate = Exercise(
    reference=evaluation.success_rate,
    cases=_success_cases,
    mistakes=(
        Mistake(
            "counts",
            lambda returns, goal: float((returns >= goal).sum()),
            "You counted the episodes. A rate is a share: divide by how many there are.",
        ),
        Mistake(
            "excludes the goal",
            lambda returns, goal: float((returns > goal).mean()),
            "An episode that reaches the goal exactly counts as well: use `>=`.",
        ),
        Mistake(
            "counts failures",
            lambda returns, goal: float((returns < goal).mean()),
            "That is the share that *missed* the goal. Turn the comparison round.",
        ),
        Mistake(
            "gives percent",
            lambda returns, goal: float(100 * (returns >= goal).mean()),
            "That is a percentage. The answer lies between 0 and 1.",
        ),
    ),
    hints=(
        "`returns >= goal` compares every episode at once and gives an array of booleans.",
        "The mean of booleans is the share that is true.",
        "`float((returns >= goal).mean())`",
    ),
)


def _discounted_cases(rng: np.random.Generator) -> list[Case]:
    hand = [
        Case("one reward", ([5.0], 0.9), 5.0),
        Case("two rewards", ([1.0, 1.0], 0.5), 1.5),
        Case("a reward that comes late", ([0.0, 0.0, 1.0], 0.5), 0.25),
        Case("gamma 0 sees only the first", ([2.0, 7.0, 7.0], 0.0), 2.0),
        Case("gamma 1 adds everything", ([2.0, 7.0, 7.0], 1.0), 16.0),
    ]
    rewards = rng.normal(size=6).round(2).tolist()
    gamma = float(rng.uniform(0.3, 0.95))
    total = 0.0
    for t, reward in enumerate(rewards):
        total += gamma**t * reward
    return [*hand, Case("six random rewards", (rewards, gamma), total)]


discounted_return = Exercise(
    reference=returns.discounted_return,
    cases=_discounted_cases,
    mistakes=(
        Mistake(
            "forgets the discount",
            lambda rewards, gamma: float(sum(rewards)),
            "You added the rewards as they are. Reward number t counts `gamma**t` times.",
        ),
        Mistake(
            "discounts the first reward",
            lambda rewards, gamma: float(sum(gamma ** (t + 1) * r for t, r in enumerate(rewards))),
            "You discounted the first reward too. It counts in full: the exponent starts at 0.",
        ),
        Mistake(
            "discounts the past",
            lambda rewards, gamma: float(
                sum(gamma**t * r for t, r in enumerate(reversed(rewards)))
            ),
            "You discounted from the wrong end: the *last* reward is the furthest away, so it "
            "takes the largest power of gamma.",
        ),
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
