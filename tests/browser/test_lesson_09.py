"""Lesson 09 in a browser: run it untouched, move the widget, answer wrongly, then rightly.

The notebook trains for minutes, so it runs once and the tests share it, in the order they stand.
"""

import pytest

from tests.browser.lab import Notebook

EXERCISES = ("pair_loss", "group_advantages", "token_weights", "kl_estimate")
HEAD = '@exercise("dpo_grpo.kl_estimate")\ndef kl_estimate(logp, ref_logp, kind):\n'
HEAD += "    d = logp - ref_logp\n"


@pytest.fixture(scope="module")
def lesson(page, server) -> Notebook:
    notebook = Notebook(page, server, "notebooks/09_dpo_grpo.ipynb")
    notebook.run_all(900)  # at most 180 s on one core of its own
    return notebook


def test_runs_untouched_without_an_error(lesson):
    assert lesson.errors() == []
    lesson.shoot("09_ran")


@pytest.mark.parametrize("name", EXERCISES)
def test_untouched_exercises_say_so(name, lesson):
    assert "Not attempted yet" in lesson.text(lesson.find(f'@exercise("dpo_grpo.{name}")'))


def test_both_trainings_show_their_progress(lesson):
    for label in ("DPO", "GRPO"):
        training = lesson.cell(lesson.find(f'label="{label}"'))
        training.get_by_text("finished").first.wait_for(timeout=10_000)
        lesson.shoot(f"09_training_{label}")


def test_the_menu_moves_the_sliders_and_the_words(lesson):
    cell = lesson.cell(lesson.find("group = GroupExplorer()"))
    cell.get_by_text("the prompt is hard").first.wait_for(timeout=10_000)
    cell.locator("select").select_option("tied")
    cell.get_by_text("this prompt teaches nothing").first.wait_for(timeout=10_000)
    lesson.shoot("09_tied")
    cell.locator("select").select_option("half right")
    cell.get_by_text("about half solved").first.wait_for(timeout=10_000)
    lesson.shoot("09_half_right")


def test_a_wrong_estimate_is_named_and_the_right_one_is_taken(lesson):
    index = lesson.find('@exercise("dpo_grpo.kl_estimate")')
    parts = (
        '    if kind == "k1":\n        return d\n    if kind == "k2":\n        return d**2 / 2\n'
    )
    lesson.type(index, HEAD + parts + "    return torch.exp(d) - d - 1")
    cell = lesson.cell(index)
    cell.get_by_text("Your k3 has exp(d)").wait_for(timeout=30_000)
    assert "Until it is right the notebook goes on with the library's version" in lesson.text(index)
    lesson.shoot("09_wrong")
    lesson.type(index, HEAD + parts + "    return torch.exp(-d) + d - 1")
    cell.get_by_text("From here on the notebook uses your version.").wait_for(timeout=30_000)
    lesson.shoot("09_right")
    standing = lesson.find("progress()")
    lesson.type(standing, "progress()")
    lesson.cell(standing).get_by_text("1 of 4 exercises right").wait_for(timeout=30_000)
    lesson.shoot("09_progress")
