"""Every slip of every reference is refused, or makes no difference, and a reason says why.

Slips are small automatic changes of a function: `course_lib.classroom.slips`. Those that make no
difference stand in `equivalent.py` of the lesson's tests.
"""

import pytest

from course_lib.classroom.check import check
from course_lib.classroom.slips import slips
from tests.lessons import room
from tests.lessons.test_every_exercise import ALL

SEEDS = range(20)


@pytest.mark.filterwarnings("ignore")  # of 0 divided by 0 in a slip
@pytest.mark.parametrize("name", ALL)
def test_each_is_refused_or_makes_no_difference(name):
    lesson, _, title = name.partition(".")
    accepted = set()
    for slip in slips(ALL[name].reference):
        verdicts = (check(slip.function, ALL[name], seed) for seed in SEEDS)
        wrong = next((verdict for verdict in verdicts if verdict.status == "wrong"), None)
        if wrong is None:
            accepted.add(slip.change)
    assert accepted == set(room.module(lesson, "equivalent").EQUIVALENT.get(title, {}))
