"""Lesson 04 as a learner works through it: run everything once, move a widget, solve an exercise.

The notebook trains for minutes, so it runs once and the tests share it, in the order they stand.
"""

import pytest

from tests.browser.lab import Notebook, slider, turn

EXERCISES = ("probability_ratio", "clipped_surrogate", "value_loss", "approx_kl", "gaussian_logp")
HEAD = '@exercise("ppo.clipped_surrogate")\ndef clipped_surrogate(ratio, advantages, clip):\n    '
HEAD += "both = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages\n    return "


@pytest.fixture(scope="module")
def lesson(page, server) -> Notebook:
    notebook = Notebook(page, server, "notebooks/04_ppo.ipynb")
    notebook.run_all(600)  # about 120 s on one core of its own
    return notebook


def test_runs_untouched_without_an_error(lesson):
    assert lesson.errors() == []
    lesson.shoot("04_ran")


def test_training_shows_its_progress_and_the_lander_lands(lesson):
    training = lesson.cell(lesson.find('label="CartPole"'))
    training.get_by_text("CartPole").first.wait_for()
    lesson.shoot("04_training")
    flying = lesson.cell(lesson.find('video.record(pilot.act, "LunarLander-v3"'))
    assert flying.locator("video").count() == 2
    seconds = flying.locator("video").last.evaluate(
        "async (v) => { while (v.readyState < 1) await new Promise((r) => setTimeout(r, 100));"
        " return v.duration; }"
    )
    assert seconds > 2, "the browser can read the video"
    lesson.shoot("04_lander")
    robot = lesson.cell(lesson.find("film.append(picture(obs[0]))"))
    assert robot.locator("video").count() == 2
    lesson.shoot("04_robot")


@pytest.mark.parametrize("name", EXERCISES)
def test_untouched_exercises_say_so(name, lesson):
    assert "Not attempted yet" in lesson.text(lesson.find(f'@exercise("ppo.{name}")'))


def test_sliders_move_the_ratio_past_the_clip(lesson):
    cell = lesson.cell(lesson.find("ClipExplorer()"))
    cell.get_by_text("objective +1.200, gradient 0.").wait_for(timeout=10_000)
    picture = cell.locator("img.widget-image")
    before = picture.get_attribute("src")
    turn(slider(cell, "ratio"), "ArrowLeft", 30)
    cell.get_by_text("objective +1.050, gradient +1.00").wait_for(timeout=10_000)
    lesson.page.wait_for_function(
        "([image, before]) => image.src !== before",
        arg=[picture.element_handle(), before],
        timeout=20_000,
    )
    lesson.wait_idle(30)  # the picture follows the words
    lesson.shoot("04_slider")


def test_a_wrong_answer_gets_the_hint_of_its_mistake(lesson):
    index = lesson.find('@exercise("ppo.clipped_surrogate")')
    lesson.type(index, HEAD + "-torch.max(*both)")
    cell = lesson.cell(index)
    cell.get_by_text("You let the larger of the two objectives count").wait_for(timeout=30_000)
    assert "Until it is right the notebook goes on with the library's version" in lesson.text(index)
    lesson.shoot("04_wrong")


def test_the_right_answer_is_taken(lesson):
    index = lesson.find('@exercise("ppo.clipped_surrogate")')
    lesson.type(index, HEAD + "-torch.min(*both)")
    cell = lesson.cell(index)
    cell.get_by_text("From here on the notebook uses your version.").wait_for(timeout=30_000)
    lesson.shoot("04_right")
    standing = lesson.find("progress()")
    lesson.type(standing, "progress()")
    lesson.cell(standing).get_by_text("1 of 5 exercises right").wait_for(timeout=30_000)
    lesson.shoot("04_progress")
