"""Exercises that are built: judged by what they do in worlds that each isolate one mistake."""

import numpy as np
import pytest

from course_lib.classroom.check import Case, Exercise, check
from course_lib.worlds.tables import TableWorld


def _mean_rewards(world, pulls):
    """The mean reward of each arm of a bandit, each pulled so often in turn."""
    means = np.zeros(world.action_space.n)
    for pull in range(pulls * len(means)):
        arm = pull % len(means)
        world.reset()
        reward = world.step(arm)[1]
        means[arm] += (reward - means[arm]) / (pull // len(means) + 1)
    return means


def _probes(rng):
    def bandit(*arms):
        return TableWorld([[(1.0, 0, reward, True)] for reward in arms])

    lucky = TableWorld([[(0.5, 0, 0.0, True), (0.5, 0, 1.0, True)]], seed=int(rng.integers(99)))
    return [
        Case("one arm", (bandit(3.0), 1), np.array([3.0]), isolates="begins at one"),
        Case("two arms", (bandit(3.0, 5.0), 1), np.array([3.0, 5.0]), isolates="one arm for all"),
        Case("chance", (lucky, 400), np.array([0.5]), atol=0.1, isolates="keeps the last reward"),
    ]


BANDIT = Exercise(
    reference=_mean_rewards,
    cases=_probes,
    seconds=1.0,
    edits="""
    begins at one: `np.zeros(world.action_space.n)` becomes `np.ones(world.action_space.n)`,
        `means[arm] += (reward - means[arm]) / (pull // len(means) + 1)` becomes
        `means[arm] += (reward - means[arm]) / (pull // len(means) + 2)`. A first reward of 3 is a
        mean of 3.

    one arm for all: `arm = pull % len(means)` becomes `arm = 0`. The second arm was never pulled.

    keeps the last reward: `(reward - means[arm]) / (pull // len(means) + 1)` becomes
        `(reward - means[arm])`. Half of the pulls pay 1, the others 0: the mean is near 0.5.
    """,
)


@pytest.mark.parametrize("seed", range(5))
def test_the_probe_that_fails_names_the_mistake(seed):
    assert check(BANDIT.reference, BANDIT, seed).status == "right"
    for mistake in BANDIT.mistakes:
        verdict = check(mistake.function, BANDIT, seed)
        assert (verdict.mistake, verdict.reason) == (mistake.name, mistake.hint)


def test_it_names_the_world_and_does_not_print_it():
    verdict = check(BANDIT.mistakes[1].function, BANDIT)
    assert verdict.case == "two arms"


def test_an_answer_of_another_form_is_told_as_such():
    verdict = check(lambda world, pulls: None, BANDIT)
    assert verdict.mistake is None and "returned None" in verdict.reason
    verdict = check(lambda world, pulls: np.zeros(7), BANDIT)
    assert verdict.mistake is None and verdict.reason.startswith("The shape is off")


def test_misuse_of_the_world_is_told_in_its_own_words():
    def never_resets(world, pulls):
        return np.array([world.step(0)[1]])

    assert "call reset() first" in check(never_resets, BANDIT).reason


def test_it_has_a_time_limit_of_its_own():
    def for_ever(world, pulls):
        while True:
            pass

    verdict = check(for_ever, BANDIT)
    assert verdict.status == "wrong" and "1 s" in verdict.reason
