"""Lesson 06's model in the browser: it writes while you watch, and stops when it is told to."""

from tests.browser.lab import Notebook


def test_it_answers_and_stops_when_told(page, server):
    notebook = Notebook(page, server, "notebooks/06_adaptation.ipynb")
    widget = "chat = talk(model, tokenizer)"
    notebook.run_short(["model, tokenizer = smollm2()", widget], {})
    cell = notebook.cell(notebook.find(widget))
    notebook.shoot("06_talk")
    question = cell.locator("textarea")
    send, stop = (cell.get_by_role("button", name=name) for name in ("Send", "Stop"))
    question.fill("Write a long story about the sea.")
    send.click()
    status = cell.get_by_text("of reading; still writing")
    status.wait_for(timeout=30_000)
    assert "LoRA" not in status.inner_text(), "the notebook must give the model back as it was"
    assert stop.is_enabled() and send.is_disabled()
    notebook.shoot("06_talk_writing")
    stop.click()
    cell.get_by_text("of reading; cut off").wait_for(timeout=30_000)
    assert send.is_enabled() and stop.is_disabled()
    question.fill(" ")
    send.click()
    cell.get_by_text("The question is empty: type something first.").wait_for(timeout=10_000)
