"""Lesson 08 in a browser: run it untouched, use the account, answer wrongly, then rightly.

The notebook trains for minutes, so it runs once and the tests share it, in the order they stand.
"""

import pytest

from tests.browser.lab import Notebook

EXERCISES = ("token_logp", "terminal_rewards", "kl_shaped_rewards", "whiten_advantages")
HEAD = '@exercise("rlhf_ppo.terminal_rewards")\ndef terminal_rewards(scores, response_mask):\n'
HEAD += "    column = torch.arange(response_mask.shape[1])\n    last = "
TAIL = "\n    return torch.where(column == last, scores[:, None], 0.0)"


@pytest.fixture(scope="module")
def lesson(page, server) -> Notebook:
    notebook = Notebook(page, server, "notebooks/08_rlhf_ppo.ipynb")
    notebook.run_all(900)  # at most 180 s on one core of its own
    return notebook


def test_runs_untouched_without_an_error(lesson):
    assert lesson.errors() == []
    lesson.shoot("08_ran")


@pytest.mark.parametrize("name", EXERCISES)
def test_untouched_exercises_say_so(name, lesson):
    assert "Not attempted yet" in lesson.text(lesson.find(f'@exercise("rlhf_ppo.{name}")'))


def test_training_shows_its_progress(lesson):
    training = lesson.cell(lesson.find('label="PPO"'))
    training.get_by_text("finished").first.wait_for(timeout=10_000)
    lesson.shoot("08_training")
    lesson.cell(lesson.find("def draw(histories, alt)"))
    lesson.shoot("08_curves")


def test_the_account_draws_another_reply_and_knows_the_price(lesson):
    index = lesson.find("pupil, ppo.Critic(pupil)")
    cell = lesson.cell(index)
    table = cell.locator("table").last
    table.wait_for(timeout=20_000)
    lesson.shoot("08_account")
    before = table.inner_text()
    assert "advantage" in before and "<end>" in before
    cell.get_by_role("button", name="Another reply").click()
    lesson.page.wait_for_timeout(2_000)
    assert cell.locator("table").last.inner_text() != before
    asked = cell.locator("select")
    asked.select_option(index=3)
    cell.get_by_text(asked.input_value()).last.wait_for(timeout=10_000)
    handle = cell.locator(".noUi-handle")
    handle.focus()
    for _ in range(2):
        handle.press("ArrowLeft")
    cell.get_by_text("at 0 points each").wait_for(timeout=10_000)
    lesson.shoot("08_account_free")


def test_a_score_on_padding_is_named_and_the_right_answer_is_taken(lesson):
    index = lesson.find('@exercise("rlhf_ppo.terminal_rewards")')
    lesson.type(index, HEAD + "torch.full((len(scores), 1), response_mask.shape[1] - 1)" + TAIL)
    cell = lesson.cell(index)
    cell.get_by_text("You put every score into the last column.").wait_for(timeout=30_000)
    assert "Until it is right the notebook goes on with the library's version" in lesson.text(index)
    lesson.shoot("08_wrong")
    right = "torch.where(response_mask, column, -1).amax(dim=1, keepdim=True)"
    lesson.type(index, HEAD + right + TAIL)
    cell.get_by_text("From here on the notebook uses your version.").wait_for(timeout=30_000)
    lesson.shoot("08_right")
    standing = lesson.find("progress()")
    lesson.type(standing, "progress()")
    lesson.cell(standing).get_by_text("1 of 4 exercises right").wait_for(timeout=30_000)
    lesson.shoot("08_progress")
