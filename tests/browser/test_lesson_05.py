"""Lesson 05 in a browser: run it untouched, move both widgets, answer wrongly, then rightly.

The notebook trains for minutes, so it runs once and the tests share it, in the order they stand.
"""

import pytest

from tests.browser.lab import Notebook, slider, turn

EXERCISES = ("attention", "causal_mask", "residual_block", "next_token_nll", "top_p_filter")
HEAD = '@exercise("transformer.top_p_filter")\ndef top_p_filter(logits, p):\n'
HEAD += "    ordered, order = logits.sort(dim=-1, descending=True)\n"
HEAD += "    shares = ordered.softmax(dim=-1)\n"
HEAD += "    before = shares.cumsum(dim=-1) - shares\n"
HEAD += "    ordered = ordered.masked_fill(before >= p, -torch.inf)\n    return "


@pytest.fixture(scope="module")
def lesson(page, server) -> Notebook:
    notebook = Notebook(page, server, "notebooks/05_transformer.ipynb")
    notebook.run_all(600)  # at most 180 s on one core of its own
    return notebook


def test_runs_untouched_without_an_error(lesson):
    assert lesson.errors() == []
    lesson.shoot("05_ran")


@pytest.mark.parametrize("name", EXERCISES)
def test_untouched_exercises_say_so(name, lesson):
    assert "Not attempted yet" in lesson.text(lesson.find(f'@exercise("transformer.{name}")'))


def test_training_shows_its_progress_and_then_the_model_writes(lesson):
    training = lesson.cell(lesson.find('label="GPT"'))
    training.get_by_text("2,600 of 2,600 steps").wait_for(timeout=10_000)
    lesson.shoot("05_training")
    diary = lesson.find("for steps, text in diary.items()")
    assert "--- after 2,600 updates ---" in lesson.text(diary)
    lesson.cell(diary)
    lesson.shoot("05_writes")


def test_another_word_looks_elsewhere(lesson):
    cell = lesson.cell(lesson.find("attention_by_hand()"))
    cell.get_by_text('"his" asks, and sees itself and earlier words').wait_for(timeout=10_000)
    lesson.shoot("05_attention")
    cell.locator("select").select_option("crown")
    cell.get_by_text('"crown" asks').wait_for(timeout=20_000)
    turn(slider(cell, "divisor"), "Home")
    cell.get_by_text("divided by 0.25").wait_for(timeout=20_000)
    lesson.wait_idle(30)  # the picture follows the words
    lesson.shoot("05_attention_moved")


def test_temperature_changes_what_is_written(lesson):
    cell = lesson.cell(lesson.find("What is thy name"))
    cell.get_by_text("At temperature 0.80").wait_for(timeout=10_000)
    lesson.shoot("05_temperature")
    turn(slider(cell, "temperature"), "Home")
    cell.get_by_text("At temperature 0.00").wait_for(timeout=20_000)
    lesson.wait_idle(30)
    lesson.shoot("05_temperature_moved")


def test_a_sort_that_is_not_undone_is_named_and_the_right_answer_is_taken(lesson):
    index = lesson.find('@exercise("transformer.top_p_filter")')
    lesson.type(index, HEAD + "ordered")
    cell = lesson.cell(index)
    cell.get_by_text("The right logits, in the wrong places").wait_for(timeout=30_000)
    assert "Until it is right the notebook goes on with the library's version" in lesson.text(index)
    lesson.shoot("05_wrong")
    lesson.type(index, HEAD + "torch.empty_like(logits).scatter(-1, order, ordered)")
    cell.get_by_text("From here on the notebook uses your version.").wait_for(timeout=30_000)
    lesson.shoot("05_right")
    standing = lesson.find("progress()")
    lesson.type(standing, "progress()")
    lesson.cell(standing).get_by_text("1 of 5 exercises right").wait_for(timeout=30_000)
    lesson.shoot("05_progress")
