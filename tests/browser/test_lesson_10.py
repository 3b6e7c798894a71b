"""Lesson 10 in a browser: run it untouched, move the widget, answer wrongly, then rightly.

The notebook trains for minutes, so it runs once and the tests share it, in the order they stand.
"""

import pytest

from tests.browser.lab import Notebook, turn

EXERCISES = ("best_of_n_kl", "best_value", "dual_update", "stop_at")
HEAD = '@exercise("alignment.dual_update")\ndef dual_update(price, cost, limit, rate):\n    return '


@pytest.fixture(scope="module")
def lesson(page, server) -> Notebook:
    notebook = Notebook(page, server, "notebooks/10_alignment.ipynb")
    notebook.run_all(600)  # at most 180 s on one core of its own
    return notebook


def test_runs_untouched_without_an_error(lesson):
    assert lesson.errors() == []
    lesson.shoot("10_ran")


@pytest.mark.parametrize("name", EXERCISES)
def test_untouched_exercises_say_so(name, lesson):
    assert "Not attempted yet" in lesson.text(lesson.find(f'@exercise("alignment.{name}")'))


def test_training_shows_its_progress(lesson):
    for label, name in (("PPO without a penalty", "ppo"), ("mood", "mood")):
        training = lesson.cell(lesson.find(f'label="{label}"'))
        training.get_by_text("finished").first.wait_for(timeout=10_000)
        lesson.shoot(f"10_{name}")


def test_the_widget_hides_the_truth_until_it_is_asked_for(lesson):
    cell = lesson.cell(lesson.find("explorer = GoodhartExplorer(run)"))
    cell.get_by_text("Update 1: proxy").wait_for(timeout=10_000)
    lesson.shoot("10_widget")
    turn(cell.locator(".widget-slider"), "ArrowRight", 5)
    cell.get_by_text("Update 6: proxy").wait_for(timeout=10_000)
    assert cell.get_by_text("true reward +").count() + cell.get_by_text("reward -").count() == 0
    cell.locator("input[type=checkbox]").check()
    cell.get_by_text("The best you could have kept was update").wait_for(timeout=10_000)
    lesson.shoot("10_widget_truth")


def test_a_turned_sign_is_named_and_the_right_answer_is_taken(lesson):
    index = lesson.find('@exercise("alignment.dual_update")')
    lesson.type(index, HEAD + "max(0.0, price - rate * (cost - limit))")
    cell = lesson.cell(index)
    cell.get_by_text("Your price falls while the limit is exceeded").wait_for(timeout=30_000)
    assert "Until it is right the notebook goes on with the library's version" in lesson.text(index)
    lesson.shoot("10_wrong")
    lesson.type(index, HEAD + "max(0.0, price + rate * (cost - limit))")
    cell.get_by_text("From here on the notebook uses your version.").wait_for(timeout=30_000)
    lesson.shoot("10_right")
    standing = lesson.find("progress()")
    lesson.type(standing, "progress()")
    lesson.cell(standing).get_by_text("1 of 4 exercises right").wait_for(timeout=30_000)
    lesson.shoot("10_progress")
