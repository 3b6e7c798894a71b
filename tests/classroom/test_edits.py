"""Mistakes as edits of the reference: what may be written, and what is refused at import."""

import pytest

from course_lib.classroom import edits
from course_lib.rl import dqn


def apply(text):
    (edit,) = edits.read(text)
    return edits.apply(dqn.epsilon_schedule, edit)


def test_an_edit_changes_the_function_and_nothing_else():
    wrong = apply(
        """
        never stops falling: `min(step / decay_steps, 1.0)` becomes `step / decay_steps`.
            It falls below its end: `min` keeps it there.
        """
    )
    assert dqn.epsilon_schedule(20, 1.0, 0.5, 10) == 0.5
    assert wrong(20, 1.0, 0.5, 10) == 0.0
    assert wrong.__globals__ is vars(dqn)


def test_several_changes_deletions_and_broken_lines_are_read():
    one, two = edits.read(
        """
        first: `a` becomes `b`, ` +
        c` goes. The hint; `x` becomes `y` in it is no change.

        second: `a` becomes ``. Words.
        """
    )
    assert one.changes == (("a", "b"), (" + c", ""))
    assert one.hint == "The hint; `x` becomes `y` in it is no change."
    assert two.changes == (("a", ""),)


@pytest.mark.parametrize("text", ["no change at all. A hint.", "name: `a` becomes `b`."])
def test_another_form_is_refused(text):
    with pytest.raises(ValueError, match="an edit reads"):
        edits.read(text)


@pytest.mark.parametrize("old", ["start", "Chance of a random action", "nowhere"])
def test_a_piece_that_does_not_occur_exactly_once_is_refused(old):
    with pytest.raises(ValueError, match="exactly once"):
        apply(f"name: `{old}` becomes `x`. Hint.")
