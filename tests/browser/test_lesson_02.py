"""Lesson 02 as a learner works through it: run everything once, move a widget, solve an exercise.

The notebook trains for minutes, so it runs once and the tests share it, in the order they stand.
"""

import pytest

from tests.browser.lab import Notebook, slider, turn

EXERCISES = ("epsilon_schedule", "ring_indices", "td_target", "n_step_target", "double_dqn_target")
HEAD = '@exercise("dqn.td_target")\ndef td_target(rewards, terminated, next_q, gamma):\n    return '


@pytest.fixture(scope="module")
def lesson(page, server) -> Notebook:
    notebook = Notebook(page, server, "notebooks/02_dqn.ipynb")
    notebook.run_all(600)  # about 150 s on one core of its own
    return notebook


def test_runs_untouched_without_an_error(lesson):
    assert lesson.errors() == []
    lesson.shoot("02_ran")


def test_training_shows_its_progress_and_the_agent_plays(lesson):
    training = lesson.cell(lesson.find("config = dqn.CARTPOLE"))
    training.get_by_text("CartPole").first.wait_for()
    lesson.shoot("02_training")
    playing = lesson.cell(lesson.find("video.record(untrained.act"))
    assert playing.locator("video").count() == 2
    seconds = playing.locator("video").last.evaluate(
        "async (v) => { while (v.readyState < 1) await new Promise((r) => setTimeout(r, 100));"
        " return v.duration; }"
    )
    assert seconds > 5, "the browser can read the video"
    lesson.shoot("02_video")


@pytest.mark.parametrize("name", EXERCISES)
def test_untouched_exercises_say_so(name, lesson):
    assert "Not attempted yet" in lesson.text(lesson.find(f'@exercise("dqn.{name}")'))


def test_sliders_change_the_arithmetic(lesson):
    cell = lesson.cell(lesson.find("TargetExplorer()"))
    cell.get_by_text("= 1 + 0.99 * 1 * 24.0 = 24.76").wait_for(timeout=10_000)
    turn(slider(cell, "gamma"), "ArrowLeft", 9)
    cell.get_by_text("= 1 + 0.90 * 1 * 24.0 = 22.60").wait_for(timeout=10_000)
    turn(slider(cell, "target right"), "ArrowLeft", 2)
    cell.get_by_text("= 1 + 0.90 * 1 * 23.0 = 21.70").wait_for(timeout=10_000)
    lesson.shoot("02_slider")
    cell.locator("select").select_option("terminated: the pole fell")
    cell.get_by_text("= 1 + 0.90 * 0 * 23.0 = 1.00").wait_for(timeout=10_000)
    lesson.shoot("02_terminated")


def test_map_of_values_follows_its_slider(lesson):
    cell = lesson.cell(lesson.find("chart = QMap(agent)"))
    picture = cell.locator("img.widget-image")
    before = picture.get_attribute("src")
    turn(slider(cell, "position"), "ArrowRight", 20)
    lesson.page.wait_for_function(
        "([image, before]) => image.src !== before",
        arg=[picture.element_handle(), before],
        timeout=20_000,
    )
    lesson.wait_idle(30)
    lesson.shoot("02_map")


def test_a_wrong_answer_gets_the_hint_of_its_mistake(lesson):
    index = lesson.find('@exercise("dqn.td_target")')
    lesson.type(index, HEAD + "rewards + gamma * next_q.max(dim=1).values")
    cell = lesson.cell(index)
    cell.get_by_text("You bootstrapped through a terminal state").wait_for(timeout=30_000)
    assert "Until it is right the notebook goes on with the library's version" in lesson.text(index)
    lesson.shoot("02_wrong")


def test_the_right_answer_is_taken(lesson):
    index = lesson.find('@exercise("dqn.td_target")')
    lesson.type(index, HEAD + "rewards + gamma * (1 - terminated) * next_q.max(dim=1).values")
    cell = lesson.cell(index)
    cell.get_by_text("From here on the notebook uses your version.").wait_for(timeout=30_000)
    lesson.shoot("02_right")
    standing = lesson.find("progress()")
    lesson.type(standing, "progress()")
    lesson.cell(standing).get_by_text("1 of 5 exercises right").wait_for(timeout=30_000)
    lesson.shoot("02_progress")
