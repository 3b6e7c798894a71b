"""Lesson 06 in a browser: run it untouched, talk to the model, answer wrongly, then rightly.

The notebook trains for minutes, so it runs once and the tests share it, in the order they stand.
"""

import pytest

from tests.browser.lab import Notebook

EXERCISES = ("few_shot_prompt", "response_mask", "lora_forward", "merge_weight", "masked_mean")
HEAD = '@exercise("adaptation.response_mask")\ndef response_mask(prompt_lengths, lengths, T):\n'
HEAD += "    column = torch.arange(T)\n    return "


@pytest.fixture(scope="module")
def lesson(page, server) -> Notebook:
    notebook = Notebook(page, server, "notebooks/06_adaptation.ipynb")
    notebook.run_all(600)  # at most 180 s on one core of its own
    return notebook


def test_runs_untouched_without_an_error(lesson):
    assert lesson.errors() == []
    lesson.shoot("06_ran")


@pytest.mark.parametrize("name", EXERCISES)
def test_untouched_exercises_say_so(name, lesson):
    assert "Not attempted yet" in lesson.text(lesson.find(f'@exercise("adaptation.{name}")'))


def test_training_shows_its_progress(lesson):
    training = lesson.cell(lesson.find('label="LoRA"'))
    training.get_by_text("finished").first.wait_for(timeout=10_000)
    lesson.shoot("06_training")
    lesson.cell(lesson.find("costs = {"))
    lesson.shoot("06_forgot")


def test_it_answers_and_stops_when_told(lesson):
    cell = lesson.cell(lesson.find("chat = talk(model, tokenizer)"))
    lesson.shoot("06_talk")
    question, send, stop = (
        cell.locator("textarea"),
        cell.get_by_role("button", name="Send"),
        cell.get_by_role("button", name="Stop"),
    )
    question.fill("Write a long story about the sea.")
    send.click()
    status = cell.get_by_text("of reading; still writing")
    status.wait_for(timeout=30_000)
    assert "LoRA" not in status.inner_text(), "the notebook must give the model back as it was"
    assert stop.is_enabled() and send.is_disabled()
    lesson.shoot("06_talk_writing")
    stop.click()
    cell.get_by_text("of reading; cut off").wait_for(timeout=30_000)
    assert send.is_enabled() and stop.is_disabled()
    question.fill(" ")
    send.click()
    cell.get_by_text("The question is empty: type something first.").wait_for(timeout=10_000)
    lesson.shoot("06_talk_empty")


def test_a_missing_end_is_named_and_the_right_answer_is_taken(lesson):
    index = lesson.find('@exercise("adaptation.response_mask")')
    after = "(column >= prompt_lengths[:, None])"
    lesson.type(index, HEAD + after + " & (column < lengths[:, None] - 1)")
    cell = lesson.cell(index)
    cell.get_by_text("The last token of each response is missing.").wait_for(timeout=30_000)
    assert "Until it is right the notebook goes on with the library's version" in lesson.text(index)
    lesson.shoot("06_wrong")
    lesson.type(index, HEAD + after + " & (column < lengths[:, None])")
    cell.get_by_text("From here on the notebook uses your version.").wait_for(timeout=30_000)
    lesson.shoot("06_right")
    standing = lesson.find("progress()")
    lesson.type(standing, "progress()")
    lesson.cell(standing).get_by_text("1 of 5 exercises right").wait_for(timeout=30_000)
    lesson.shoot("06_progress")
