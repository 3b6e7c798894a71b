"""Right answers in other styles than the library's are accepted, as a student would write them.

`right.py` of each lesson's tests is cells, each headed `# %% exercise: what is different`. The
first cell imports; each of the others runs after it alone.
"""

import re

import pytest

from course_lib.classroom.check import check
from course_lib.classroom.grade import sandbox
from course_lib.classroom.grade.submission import grade, hidden_seeds
from tests.classroom import hostile
from tests.lessons import room
from tests.lessons.test_every_exercise import ALL

SEEDS = range(20)


def cells(lesson):
    """The imports, and (exercise, style, code) of every other cell."""
    text = (room.HERE / lesson / "right.py").read_text(encoding="utf-8")
    first, *others = re.split(r"^# %% ", text, flags=re.MULTILINE)[1:]
    imports = first.partition("\n")[2]
    found = []
    for cell in others:
        heading, _, code = cell.partition("\n")
        name, _, style = heading.partition(": ")
        found.append((name, style, code))
    return imports, found


RIGHT = {
    f"{lesson}.{name}: {style}": (f"{lesson}.{name}", imports + code)
    for lesson in sorted({name.partition(".")[0] for name in ALL})
    for imports, found in [cells(lesson)]
    for name, style, code in found
}


@pytest.mark.parametrize("title", RIGHT)
def test_it_is_accepted(title):
    name, code = RIGHT[title]
    namespace = {}
    exec(code, namespace)
    function = namespace[name.partition(".")[2]]
    for seed in SEEDS:
        verdict = check(function, ALL[name], seed)
        assert verdict.status == "right", f"seed {seed}: {verdict.reason}"


def test_every_exercise_has_three():
    for name in ALL:
        assert sum(exercise == name for exercise, _ in RIGHT.values()) >= 3, name


@pytest.mark.skipif(not sandbox.available(), reason="bubblewrap cannot confine a process here")
@pytest.mark.parametrize("style", range(3))
def test_the_grader_accepts_them_too(style):
    by_exercise = {name: [code for n, code in RIGHT.values() if n == name] for name in ALL}
    cells = []
    for name, codes in by_exercise.items():
        function = name.partition(".")[2]
        head = f'@exercise("{name}")\n'
        cells.append(re.sub(rf"^(?=def {function}\b)", head, codes[style], flags=re.MULTILINE))
    grades = grade(hostile.notebook(*cells), hidden_seeds(style))
    assert {g.exercise: g.note or g.status for g in grades} == dict.fromkeys(ALL, "passed")
