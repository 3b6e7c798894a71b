"""Every exercise keeps its promises: the reference passes, each mistake is told by its own name."""

import ast
import inspect
import textwrap

import numpy as np
import pytest

from course_lib.classroom.check import check
from course_lib.lessons import NAMES as LESSONS, exercises_of

SHOWN_SEED, HIDDEN_SEEDS = 0, range(1, 21)
ALL = {f"{lesson}.{name}": ex for lesson in LESSONS for name, ex in exercises_of(lesson).items()}
MISTAKES = [(name, mistake) for name, ex in ALL.items() for mistake in ex.mistakes]

each_exercise = pytest.mark.parametrize("name", ALL)


@each_exercise
def test_the_reference_is_right_for_shown_and_hidden_seeds(name):
    for seed in (SHOWN_SEED, *HIDDEN_SEEDS):
        verdict = check(ALL[name].reference, ALL[name], seed)
        assert verdict.status == "right", verdict


@each_exercise
def test_an_untouched_stub_is_not_attempted(name):
    def stub(*args):
        """Do what the exercise asks."""
        ...  # your code here

    assert check(stub, ALL[name]).status == "not attempted"


@each_exercise
def test_it_has_three_distinct_mistakes_and_two_hints(name):
    mistakes, hints = ALL[name].mistakes, ALL[name].hints
    assert len(mistakes) >= 3
    assert len({m.name for m in mistakes}) == len({m.hint for m in mistakes}) == len(mistakes)
    assert len(set(hints)) == len(hints) >= 2


@pytest.mark.parametrize(("name", "mistake"), MISTAKES, ids=[f"{n}-{m.name}" for n, m in MISTAKES])
def test_a_named_mistake_is_told_by_its_own_hint(name, mistake):
    for seed in (SHOWN_SEED, *HIDDEN_SEEDS):
        verdict = check(mistake.function, ALL[name], seed)
        assert verdict.status == "wrong", f"seed {seed} accepts it"
        assert (verdict.mistake, verdict.reason) == (mistake.name, mistake.hint), seed


@each_exercise
def test_the_answers_of_the_cases_are_not_computed_by_the_reference(name):
    exercise = ALL[name]
    tree = ast.parse(textwrap.dedent(inspect.getsource(exercise.cases)))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert exercise.reference.__name__ not in used


@each_exercise
def test_another_seed_draws_other_cases(name):
    shown, hidden = (
        [repr(case.args) for case in ALL[name].cases(np.random.default_rng(seed))]
        for seed in (SHOWN_SEED, 1)
    )
    assert shown != hidden, "hidden seeds must ask something new"
    assert len(shown) >= 3


def test_lessons_have_enough_exercises():
    for lesson in LESSONS:
        assert len(exercises_of(lesson)) >= (2 if lesson == "start_here" else 4), lesson
