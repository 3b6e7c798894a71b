"""A right answer drives the training run of its lesson: the library calls it, and it matters.

`tests/lessons/NAME/drives.py` holds ``RUNS``: for each exercise a small version of the run that the
notebook makes with it, and a named mistake that changes that run. A run returns its metrics (a list
of dicts, or anything that can be compared). ``CALLED`` names exercises that the notebook's own code
calls, where there is no run of the library to put them into.
"""

import inspect
import re

import numpy as np
import pytest
import torch

from course_lib.classroom import use
from course_lib.classroom.answer import gradients
from course_lib.lessons import NAMES
from tests.lessons import room
from tests.lessons.test_every_exercise import ALL

DRIVES = {lesson: room.module(lesson, "drives") for lesson in NAMES}
RUNS = {f"{n}.{name}": run for n, m in DRIVES.items() for name, run in m.RUNS.items()}
CALLED = {f"{n}.{name}" for n, m in DRIVES.items() for name in getattr(m, "CALLED", ())}


def test_every_exercise_has_its_run():
    assert RUNS.keys() | CALLED == set(ALL)
    assert not RUNS.keys() & CALLED


@pytest.mark.parametrize("name", RUNS)
def test_the_run_calls_the_learners_function_and_a_wrong_one_changes_it(name):
    run, mistake = RUNS[name]
    reference, calls, carry = ALL[name].reference, [], set()

    def counted(*args, **kwargs):
        calls.append(1)
        if torch.is_grad_enabled():
            given = inspect.signature(reference).bind(*args, **kwargs).arguments
            carry.update(k for k, v in given.items() if getattr(v, "requires_grad", False))
        return reference(*args, **kwargs)

    with use({reference: counted}):
        right = run()
    assert calls, "the run never calls it"
    named = set(ALL[name].differentiated.split())
    assert carry <= named, "training differentiates something else"
    assert named - carry <= _constants(ALL[name]), "training sends no gradient through it"
    with use(ALL[name].mistake(mistake)):
        wrong = run()
    assert not _same(right, wrong), f"{mistake!r} changes nothing"


@pytest.mark.parametrize("name", ALL)
def test_the_notebook_uses_it(name):
    lesson, short = name.split(".")
    code = room.code(lesson)
    after = code.split(f'@exercise("{name}")')[-1].split("\n", 2)[2]
    if name in CALLED:
        assert re.search(rf"\b{short}\(", after), "no later cell calls it"
    else:
        used = re.findall(r"\buse(?:=\[|\()([^\])]*)", after)
        used += re.findall(r"^yours = (.*)", after, re.M)
        assert any(re.search(rf"\b{short}\b", names) for names in used), "no later cell uses it"


def _constants(exercise) -> set[str]:
    """The arguments through which the reference lets no gradient: an answer must not either."""
    names, cases = exercise.differentiated.split(), exercise.cases(np.random.default_rng(0))
    places = exercise.differentiated_places
    found = [gradients(exercise.reference, case, places, i) for i, case in enumerate(cases)]
    columns = zip(*found, strict=True) if names else ()
    return {
        name
        for name, column in zip(names, columns, strict=True)
        if not any(gradient.abs().sum() > 0 for gradient in column)
    }


def _same(right, wrong) -> bool:
    if isinstance(right, dict):
        return all(_same(right[key], wrong[key]) for key in right)
    if isinstance(right, list | tuple):
        return len(right) == len(wrong) and all(map(_same, right, wrong))
    return bool(np.array_equal(np.asarray(right), np.asarray(wrong), equal_nan=True))
