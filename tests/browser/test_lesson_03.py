"""Lesson 03 in a browser: run it untouched, move the widget, answer wrongly, then rightly."""

import pytest

from tests.browser.lab import Notebook, slider, turn

HEAD = '@exercise("actor_critic.policy_gradient_loss")\n'
HEAD += "def policy_gradient_loss(logp, advantages, mask):\n    return "


@pytest.fixture(scope="module")
def lesson(page, server) -> Notebook:
    notebook = Notebook(page, server, "notebooks/03_actor_critic.ipynb")
    notebook.run_all(300)  # about 20 s on one core of its own
    return notebook


def test_runs_untouched_without_an_error(lesson):
    assert lesson.errors() == []
    assert "Not attempted yet" in lesson.text(lesson.find('@exercise("actor_critic.gae")'))
    lesson.shoot("03_ran")


def test_lambda_changes_the_advantages(lesson):
    cell = lesson.cell(lesson.find("explorer = AdvantageExplorer(stretch)"))
    cell.get_by_text("lambda 0.95").wait_for(timeout=10_000)
    turn(slider(cell, "lambda"), "Home")
    cell.get_by_text("lambda 0.00:").wait_for(timeout=20_000)
    lesson.wait_idle(30)  # the picture follows the words
    lesson.shoot("03_lambda")


def test_a_turned_sign_is_named_and_the_right_one_is_taken(lesson):
    index = lesson.find('@exercise("actor_critic.policy_gradient_loss")')
    lesson.type(index, HEAD + "(logp * advantages * mask).sum() / mask.sum()")
    cell = lesson.cell(index)
    cell.get_by_text("Your sign is turned.").wait_for(timeout=30_000)
    lesson.shoot("03_wrong")
    lesson.type(index, HEAD + "-(logp * advantages * mask).sum() / mask.sum()")
    cell.get_by_text("From here on the notebook uses your version.").wait_for(timeout=30_000)
    lesson.shoot("03_right")
