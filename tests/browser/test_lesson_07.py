"""Lesson 07 in a browser: run it untouched, label by click and key, lose the kernel, go on.

The notebook trains for a minute, so it runs once and the tests share it, in the order they stand.
"""

import os
import shutil
import signal

import pytest

from course_lib.rlhf.preferences import LabelFile, load_pairs
from tests.browser.lab import CELLS, Notebook

EXERCISES = ("pairwise_nll", "last_token", "accuracy", "noisy_nll")
HEAD = '@exercise("reward_models.last_token")\ndef last_token(values, valid_mask):\n'
WIDGET = "mine = widget.label_pairs("


@pytest.fixture(scope="module")
def folder(server):
    """The folder of the notebook, without labels that somebody gave in this checkout."""
    folder = server.folder / "notebooks"
    shutil.rmtree(folder / "my_labels", ignore_errors=True)
    return folder


@pytest.fixture(scope="module")
def lesson(page, server, folder) -> Notebook:
    notebook = Notebook(page, server, "notebooks/07_reward_models.ipynb")
    notebook.run_all(600)  # at most 180 s on one core of its own
    return notebook


def saved(folder) -> dict[int, float]:
    pairs = load_pairs(folder / "labels" / "07_pairs.jsonl")
    return LabelFile(folder / "my_labels" / "07.jsonl", pairs).labels


def test_runs_untouched_without_an_error(lesson, folder):
    assert lesson.errors() == []
    assert not (folder / "my_labels").exists(), "looking saves nothing"
    lesson.cell(lesson.find(WIDGET))
    lesson.shoot("07_ran")


@pytest.mark.parametrize("name", EXERCISES)
def test_untouched_exercises_say_so(name, lesson):
    assert "Not attempted yet" in lesson.text(lesson.find(f'@exercise("reward_models.{name}")'))


def test_it_says_whose_labels_it_trains_on(lesson):
    assert "30 labels by a simulated human" in lesson.text(lesson.find('label="your reward model"'))


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
    imports = lesson.find("from functools import partial")
    lesson.type(imports, lesson.sources[imports])
    lesson.wait_idle(60)
    lesson.type(lesson.find(WIDGET), lesson.sources[lesson.find(WIDGET)])
    cell = lesson.cell(lesson.find(WIDGET))
    box = cell.locator(".preferences")
    box.get_by_text("5 of 30 labelled, saved").wait_for(timeout=30_000)
    lesson.shoot("07_resumed")
    box.focus()
    lesson.page.keyboard.press("b")
    box.get_by_text("6 of 30 labelled, saved").wait_for(timeout=10_000)
    assert {k: saved(folder)[k] for k in before} == before and len(saved(folder)) == 6


def test_a_wrong_place_is_named_and_the_right_answer_is_taken(lesson):
    index = lesson.find('@exercise("reward_models.last_token")')
    lesson.type(index, HEAD + "    return values[:, -1]")
    cell = lesson.cell(index)
    cell.get_by_text("You read the last column.").wait_for(timeout=30_000)
    assert "Until it is right the notebook goes on with the library's version" in lesson.text(index)
    lesson.shoot("07_wrong")
    right = (
        "    column = torch.arange(values.shape[1])\n"
        "    last = torch.where(valid_mask, column, -1).amax(dim=1)\n"
        "    picked = values.gather(1, last.clamp(min=0)[:, None])[:, 0]\n"
        "    return torch.where(last >= 0, picked, 0.0)"
    )
    lesson.type(index, HEAD + right)
    cell.get_by_text("From here on the notebook uses your version.").wait_for(timeout=30_000)
    lesson.shoot("07_right")
