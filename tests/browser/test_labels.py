"""Lesson 07's labels in the browser: given by click and key, saved at once, kept by all means."""

import os
import shutil
import signal

import pytest

from course_lib.rlhf.preferences import LabelFile, load_pairs
from tests.browser.lab import CELLS, Notebook

WIDGET = "mine = widget.label_pairs("
CELLS_BEFORE = ["questions, held_out = concierge.questions()", WIDGET]


@pytest.fixture(scope="module")
def folder(server):
    """The folder of the notebook, without labels that somebody gave in this checkout."""
    folder = server.folder / "notebooks"
    shutil.rmtree(folder / "my_labels", ignore_errors=True)
    return folder


@pytest.fixture(scope="module")
def lesson(page, server, folder) -> Notebook:
    notebook = Notebook(page, server, "notebooks/07_reward_models.ipynb")
    notebook.run_short(CELLS_BEFORE, {})
    return notebook


def saved(folder) -> dict[int, float]:
    pairs = load_pairs(folder / "labels" / "07_pairs.jsonl")
    return LabelFile(folder / "my_labels" / "07.jsonl", pairs).labels


def test_looking_saves_nothing(lesson, folder):
    assert lesson.errors() == [] and not (folder / "my_labels").exists()
    training = lesson.find('label="your reward model"')
    assert "30 labels by a simulated human" in lesson.text(training), "it says whose labels"


def test_labels_by_click_and_key_are_saved_at_once(lesson, folder):
    cell = lesson.cell(lesson.find(WIDGET))
    box = cell.locator(".preferences")
    status = box.locator(".preferences-status")
    cells = lesson.page.evaluate(f"{CELLS}.length")
    box.get_by_role("button", name="The left reply, A, is better").click()
    status.get_by_text("1 of 30 labelled, saved").wait_for(timeout=10_000)
    lesson.shoot("07_label_clicked")
    # The focus stayed inside, so keys work at once; and A inserts no cell in JupyterLab.
    for count, key in enumerate(("ArrowRight", "t", "a", "b", "ArrowLeft"), 2):
        lesson.page.keyboard.press(key)
        status.get_by_text(f"{count} of 30 labelled, saved").wait_for(timeout=10_000)
        assert len(saved(folder)) == count
    assert saved(folder)[2] == 0.5
    lesson.page.keyboard.press("u")
    status.get_by_text("5 of 30 labelled, saved").wait_for(timeout=10_000)
    assert list(saved(folder)) == [0, 1, 2, 3, 4]
    box.focus()
    lesson.shoot("07_labelling")
    now = lesson.page.evaluate(f"{CELLS}.length")
    assert now == cells, "a key meant for the labels reached JupyterLab"


def test_a_killed_kernel_loses_no_label(lesson, folder):
    before = saved(folder)
    index = lesson.find("progress()")
    lesson.type(index, "import os; print('pid', os.getpid())")
    os.kill(int(lesson.text(index).split("pid")[1]), signal.SIGKILL)
    # JupyterLab notices, says so and starts another one.
    lesson.page.get_by_role("button", name="Ok", exact=True).click(timeout=60_000)
    lesson.wait_idle(60)
    assert saved(folder) == before
    lesson.run_short(CELLS_BEFORE, {})
    box = lesson.cell(lesson.find(WIDGET)).locator(".preferences")
    box.get_by_text("5 of 30 labelled, saved").wait_for(timeout=30_000)
    lesson.shoot("07_resumed")
    box.focus()
    lesson.page.keyboard.press("b")
    box.get_by_text("6 of 30 labelled, saved").wait_for(timeout=10_000)
    assert {k: saved(folder)[k] for k in before} == before and len(saved(folder)) == 6
