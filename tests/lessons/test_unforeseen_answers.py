"""Wrong answers that no exercise names are refused too, with no hint that speaks of another."""

import pytest

from course_lib.classroom.check import check
from course_lib.lessons import NAMES
from tests.lessons import room
from tests.lessons.test_every_exercise import ALL

SHOWN_SEED, HIDDEN_SEEDS = 0, range(1, 6)
UNFORESEEN = {
    (lesson, name, title): answer
    for lesson in NAMES
    for name, answers in room.module(lesson, "unforeseen").UNFORESEEN.items()
    for title, answer in answers.items()
}


@pytest.mark.parametrize("key", UNFORESEEN, ids="-".join)
def test_it_is_refused_for_shown_and_hidden_seeds(key):
    lesson, name, _ = key
    for seed in (SHOWN_SEED, *HIDDEN_SEEDS):
        verdict = check(UNFORESEEN[key], ALL[f"{lesson}.{name}"], seed)
        assert verdict.status == "wrong", f"seed {seed} accepts it"
        named = {mistake.name for mistake in ALL[f"{lesson}.{name}"].mistakes}
        assert verdict.mistake not in named, f"seed {seed} takes it for {verdict.mistake!r}"
        assert "It raised" not in verdict.reason, verdict.reason


def test_there_are_enough_and_every_lesson_has_some():
    assert len(UNFORESEEN) >= 60
    assert {lesson for lesson, _, _ in UNFORESEEN} == set(NAMES)
