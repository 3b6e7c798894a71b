"""Lesson 01 in a browser: run it untouched, sweep, answer wrongly, then rightly."""

import pytest

from tests.browser.lab import Notebook

HEAD = '@exercise("q_learning.q_update")\ndef q_update(value, target, alpha):\n    return '


@pytest.fixture(scope="module")
def lesson(page, server) -> Notebook:
    notebook = Notebook(page, server, "notebooks/01_q_learning.ipynb")
    notebook.run_all(300)  # about 15 s on one core of its own
    return notebook


def test_runs_untouched_without_an_error(lesson):
    assert lesson.errors() == []
    assert "Not attempted yet" in lesson.text(lesson.find('@exercise("q_learning.q_update")'))
    lesson.shoot("01_ran")


def test_a_sweep_moves_the_values(lesson):
    cell = lesson.cell(lesson.find("BellmanExplorer()"))
    cell.get_by_role("button", name="one sweep").click()
    cell.get_by_text("1 sweep with gamma 0.95").wait_for(timeout=20_000)
    cell.get_by_role("button", name="ten sweeps").click()
    cell.get_by_text("11 sweeps with gamma 0.95").wait_for(timeout=20_000)
    lesson.wait_idle(30)  # the picture follows the words
    lesson.shoot("01_swept")


def test_a_wrong_update_is_named_and_the_right_one_is_taken(lesson):
    index = lesson.find('@exercise("q_learning.q_update")')
    cell = lesson.cell(index)
    lesson.type(index, HEAD + "target")
    cell.get_by_text("You replaced the value by the target.").wait_for(timeout=30_000)
    lesson.shoot("01_wrong")
    lesson.type(index, HEAD + "value + alpha * (target - value)")
    cell.get_by_text("From here on the notebook uses your version.").wait_for(timeout=30_000)
    lesson.shoot("01_right")
