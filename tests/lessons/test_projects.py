"""Every project: a number to beat that a script measured, a reference that beats it, a notebook."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.kit import projects
from course_lib import lessons
from course_lib.classroom.project import BASELINE, REFERENCE
from course_lib.evaluation import committed_result, t_interval

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=lessons.WITH_PROJECT)
def task(request):
    return lessons.project_of(request.param)


def test_the_reference_is_better_than_the_baseline_on_ten_seeds(task):
    theirs, mine = task.runs(BASELINE), task.runs(REFERENCE)
    assert theirs.keys() == mine.keys() and len(theirs) >= 10
    gain = np.subtract(list(mine.values()), list(theirs.values())) * (1 if task.more else -1)
    assert t_interval(gain)[1] > 0


def test_the_number_to_beat_can_be_had_again(task):
    seed = next(iter(task.runs()))
    assert task.metric(task.baseline, seed) == pytest.approx(task.runs()[seed], rel=1e-6)


def test_its_notebook_shows_it_and_not_its_reference(task):
    (path,) = (ROOT / "notebooks").glob(f"[0-9][0-9]_{task.lesson}.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    assert any(f'project("{task.lesson}")' in source for source in sources)
    assert any(source.startswith("### A project: ") for source in sources)
    assert not any("project.reference" in source for source in sources)
    card = str([cell.get("outputs") for cell in cells])
    assert all(part in card for part in (task.question[:40], task.unit[:20]))


def test_the_benchmark_knows_them_all():
    measured = {run["project"] for run in committed_result("projects")["runs"]}
    assert measured == set(lessons.WITH_PROJECT)
    assert all(goal.met for goal in projects.judge(committed_result("projects")))
