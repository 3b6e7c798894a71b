"""Wrong loops that look right on most seeds: each fails on every seed, and is told why."""

import numpy as np
import pytest

from course_lib.classroom.check import check
from course_lib.classroom.edits import Edit, apply
from course_lib.lessons.q_learning.build import learn_from_steps
from tests.lessons import room

UPDATE = "alpha / (1 + alpha_decay * visits[state, action])"
WRONG = {  # what is changed: the mistake whose hint it gets
    "explores too often": ("(q[state], epsilon)", "(q[state], 2 * epsilon)"),
    "never lowers alpha": (UPDATE, "alpha / (1 + alpha_decay) ** visits[state, action]"),
    "takes the clock for an end": (
        "future = 0.0",
        "next_state = env.reset()[0] if truncated else next_state; future = 0.0",
    ),
    "forgets the discount": ("(reward + gamma * future", "(gamma * (reward + future)"),
    "never looks ahead": ("state = next_state", "pass"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_it_is_refused_on_every_seed(mistake):
    wrong = apply(learn_from_steps.reference, Edit("wrong", (WRONG[mistake],), ""))
    for seed in range(6):
        assert check(wrong, learn_from_steps, seed).mistake == mistake


def test_sarsa_is_not_q_learning():
    sarsa = room.module("q_learning", "unforeseen").sarsa
    for seed in range(20):
        assert check(sarsa, learn_from_steps, seed).mistake == "learns about what it does"


def test_right_loops_pass_on_many_seeds():
    for seed in range(100, 120):
        assert check(learn_from_steps.reference, learn_from_steps, seed).status == "right", seed
    assert np.all([probe.isolates for probe in learn_from_steps.cases(np.random.default_rng(0))])
