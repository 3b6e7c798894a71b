"""The first notebook, as a newcomer meets it: run everything, move the slider, take the quiz."""

import pytest

from tests.browser.lab import Notebook, slider, turn


@pytest.fixture(scope="module")
def lesson(page, server) -> Notebook:
    notebook = Notebook(page, server, "notebooks/00_start_here.ipynb")
    notebook.run_all(120)
    return notebook


def test_runs_untouched_without_an_error(lesson):
    assert lesson.errors() == []
    assert "Not attempted yet" in lesson.text(lesson.find('"start_here.discounted_return"'))
    lesson.shoot("00_ran")


def test_slider_changes_the_sentence(lesson):
    cell = lesson.cell(lesson.find("DiscountExplorer(gamma=0.9)"))
    sentence = cell.locator(".widget-html-content").filter(has_text="Half of it")
    assert sentence.inner_text().startswith("gamma 0.90:")
    turn(slider(cell, "gamma"), "ArrowRight", 5)
    cell.get_by_text("gamma 0.95: the return of 100 rewards is 19.9").wait_for(timeout=10_000)
    lesson.shoot("00_slider")


def test_quiz_explains_a_wrong_answer_and_then_a_right_one(lesson):
    cell = lesson.cell(lesson.find('"start_here.1"'))
    cell.get_by_role("button", name="A", exact=True).click()
    cell.get_by_text("It does not stop.").last.wait_for(timeout=10_000)
    cell.get_by_text("1 answer so far, not solved yet.").wait_for(timeout=10_000)
    lesson.shoot("00_quiz_wrong")
    cell.get_by_role("button", name="B", exact=True).click()
    cell.get_by_text("Solved with 2 answers.").wait_for(timeout=10_000)
    lesson.shoot("00_quiz_right")
