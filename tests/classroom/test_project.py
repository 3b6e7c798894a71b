"""A project shows its number to beat, measures an answer on the same seeds, and says how it is."""

import sys
from dataclasses import replace

import nbformat
import pytest

import course_lib.lessons  # noqa: F401, it hands the classroom its projects
from course_lib.classroom import project
from course_lib.classroom.assign import solved_copy, student_copy
from course_lib.classroom.project import Project

TASK = Project(
    lesson="q_learning",
    question="Which?",
    begin="Look.",
    answer="`f()`.",
    metric=lambda answer, seed: answer(seed),
    unit="points",
    rubric={"pass": "a", "good": "b", "excellent": "c"},
    baseline=lambda seed: 0.0,
    reference=lambda seed: 1.0,
)


@pytest.fixture(autouse=True)
def committed(monkeypatch):
    runs = [
        {"project": "q_learning", "answer": "baseline", "seed": s, "metric": 1.0 + 0.1 * (s % 2)}
        for s in range(200, 204)
    ]
    runs += [{**run, "answer": "reference", "metric": 9.0} for run in runs]
    module = sys.modules[Project.__module__]  # the package's `project` is the function
    monkeypatch.setattr(module, "committed_result", lambda _: {"runs": runs})


def test_the_card_holds_all_that_a_learner_needs():
    text = repr(TASK)
    for part in ("Which?", "f()", "Look.", "1.05 [0.958, 1.14] points over 4 seeds"):
        assert part in text
    assert [line.split(":")[0] for line in text.split("\n")[-3:]] == ["Pass", "Good", "Excellent"]
    assert "benchmarks projects" in TASK._repr_html_()


@pytest.mark.parametrize(
    ("mine", "more", "verdict"),
    [
        ([2.0, 2.2, 2.1, 2.3], True, "better"),
        ([2.0, 2.2, 2.1, 2.3], False, "worse"),
        ([0.0, 2.2, 0.1, 2.3], True, "no clear difference"),
    ],
)
def test_an_answer_is_compared_seed_by_seed(mine, more, verdict, capsys):
    values = replace(TASK, more=more).measure(lambda seed: mine[seed - 200])
    assert values == mine
    assert capsys.readouterr().out.strip().endswith(f": {verdict}.")


def test_one_seed_is_no_verdict_and_an_unknown_one_is_an_error(capsys):
    TASK.measure(lambda seed: 3.0, seeds=[201])
    assert "One seed tells little" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no run with seed 7; it has 200, 201, 202, 203"):
        TASK.measure(lambda seed: 3.0, seeds=[7])
    with pytest.raises(ValueError, match="rubric must name pass, good, excellent, got pass"):
        replace(TASK, rubric={"pass": "a"})


def test_only_instructors_get_the_reference():
    cell = nbformat.v4.new_code_cell('task = project("q_learning")\ntask')
    notebook = nbformat.v4.new_notebook(cells=[cell])
    reference = project("q_learning").reference
    assert len(student_copy(notebook).cells) == 1
    added = solved_copy(notebook).cells[1].source
    space: dict = {}
    exec(added, space)
    assert space["reference"].__code__.co_code == reference.__code__.co_code


def test_a_lesson_without_a_project_is_an_error():
    with pytest.raises(KeyError, match="no lesson named 'sailing' has a project"):
        project("sailing")
