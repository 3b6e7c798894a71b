"""Wrong answers that no exercise names are refused too, with no hint that speaks of another."""

import pytest

from course_lib.classroom.check import check
from tests.lessons.test_every_exercise import ALL, LESSONS
from tests.lessons.unforeseen import UNFORESEEN

SHOWN_SEED, HIDDEN_SEEDS = 0, range(1, 6)
ANSWERS = [(name, title) for name, answers in UNFORESEEN.items() for title in answers]


@pytest.mark.parametrize(("name", "title"), ANSWERS, ids=[f"{n}-{t}" for n, t in ANSWERS])
def test_it_is_refused_for_shown_and_hidden_seeds(name, title):
    for seed in (SHOWN_SEED, *HIDDEN_SEEDS):
        verdict = check(UNFORESEEN[name][title], ALL[name], seed)
        assert verdict.status == "wrong", f"seed {seed} accepts it"
        assert verdict.mistake is None, f"seed {seed} takes it for {verdict.mistake!r}"
        assert "It raised" not in verdict.reason, verdict.reason


def test_there_are_enough_and_every_lesson_has_some():
    assert len(ANSWERS) >= 60
    assert {name.split(".")[0] for name in UNFORESEEN} == set(LESSONS)
