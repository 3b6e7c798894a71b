"""Lesson 11 in a browser: run it untouched, use the dream, answer wrongly, then rightly.

The notebook trains for a minute or two, so it runs once and the tests share it, in the order they
stand.
"""

import re

import pytest

from tests.browser.lab import Notebook, slider, turn

EXERCISES = ("dyna_update", "gaussian_nll", "elite_update", "horizon_weights")
HEAD = """@exercise("world_models.dyna_update")
def dyna_update(q, model, pairs, alpha, gamma):
    q = q.copy()
    for state, action in pairs:
        memory = model[state, action]
        """
TAIL = """
        q[state, action] += alpha * (memory.reward + gamma * future - q[state, action])
    return q"""
FUTURE = "future = q[memory.next_state].max()"


@pytest.fixture(scope="module")
def lesson(page, server) -> Notebook:
    notebook = Notebook(page, server, "notebooks/11_world_models.ipynb")
    notebook.run_all(900)  # at most 180 s on one core of its own
    return notebook


def test_runs_untouched_without_an_error(lesson):
    assert lesson.errors() == []
    lesson.shoot("11_ran")


@pytest.mark.parametrize("name", EXERCISES)
def test_untouched_exercises_say_so(name, lesson):
    cell = lesson.find(f'@exercise("world_models.{name}")')
    assert "Not attempted yet" in lesson.text(cell)


def test_training_shows_its_progress_and_the_films_play(lesson):
    training = lesson.cell(lesson.find('label="pendulum"'))
    training.get_by_text("finished").last.wait_for(timeout=10_000)
    lesson.shoot("11_training")
    films = lesson.cell(lesson.find("video.show(film"))
    films.locator("video").nth(2).wait_for(timeout=10_000)
    assert films.locator("video").count() == 3
    lesson.shoot("11_films")


def test_the_dream_follows_its_sliders(lesson):
    cell = lesson.cell(lesson.find("explorer = DreamExplorer"))
    words = cell.get_by_text(re.compile("^Start .+ from upright")).last
    words.wait_for(timeout=20_000)
    lesson.shoot("11_dream")
    assert "model of 300 real steps. After 40 imagined steps" in words.inner_text()
    turn(slider(cell, "training data"), "ArrowRight")
    cell.get_by_text("model of 1,000 real steps").last.wait_for(timeout=10_000)
    turn(slider(cell, "horizon"), "ArrowLeft", 2)
    cell.get_by_text("After 38 imagined steps (1.90 s)").last.wait_for(timeout=10_000)
    turn(slider(cell, "start, degrees"), "ArrowLeft")
    cell.get_by_text("Start 30° from upright").last.wait_for(timeout=10_000)
    before = words.inner_text()
    cell.get_by_role("button", name="Other torques").click()
    lesson.page.wait_for_timeout(2_000)
    assert words.inner_text() != before
    lesson.shoot("11_dream_moved")


def test_a_future_after_the_end_is_named_and_the_right_answer_is_taken(lesson):
    index = lesson.find('@exercise("world_models.dyna_update")')
    lesson.type(index, HEAD + FUTURE + TAIL)
    cell = lesson.cell(index)
    cell.get_by_text("You added a future after the end.").wait_for(timeout=30_000)
    assert "Until it is right the notebook goes on with the library's version" in lesson.text(index)
    lesson.shoot("11_wrong")
    lesson.type(index, HEAD + FUTURE + " * (1 - memory.terminated)" + TAIL)
    cell.get_by_text("From here on the notebook uses your version.").wait_for(timeout=30_000)
    lesson.shoot("11_right")
    standing = lesson.find("progress()")
    lesson.type(standing, "progress()")
    lesson.cell(standing).get_by_text("1 of 4 exercises right").wait_for(timeout=30_000)
    lesson.shoot("11_progress")
