"""The widget of lesson 03: the numbers behind the picture, and the sliders that change them."""

import numpy as np
import pytest
import torch

from course_lib.lessons.actor_critic.widget import AdvantageExplorer
from course_lib.rl import returns
from course_lib.rl.rollout import Rollout

VIEW = "application/vnd.jupyter.widget-view+json"
STEPS = 9


def stretch(ends=True):
    """Two environments; only the second sees both ends: terminated at 2, truncated at 6."""
    terminated, truncated = torch.zeros(2, STEPS, 2, dtype=torch.bool)
    valid = torch.ones(STEPS, 2, dtype=torch.bool)
    if ends:
        terminated[2, 1] = truncated[6, 1] = terminated[4, 0] = True
        valid[3, 1] = valid[7, 1] = valid[5, 0] = False
    rewards = valid.float()
    values = torch.arange(STEPS * 2.0).view(STEPS, 2)
    empty = torch.zeros(STEPS, 2)
    return Rollout(
        empty[..., None],
        empty.long(),
        empty,
        values,
        values + 2,
        rewards,
        terminated,
        truncated,
        valid,
    )


def control(box, name):
    return next(c for c in box.children if getattr(c, "description", None) == name)


def test_it_shows_the_environment_with_both_ends_without_its_reset_rows():
    explorer = AdvantageExplorer(stretch())
    assert len(explorer.advantages()) == STEPS - 2
    assert explorer.last_steps().keys() == {"terminated", "truncated"}
    # Values of the second environment are 1, 3, 5, ...: at the fall 1 - 5, at the cut 1 + 15 - 13.
    explorer.set(gamma=1.0, lam=0.0)
    assert explorer.last_steps() == {"terminated": -4.0, "truncated": 3.0}
    assert list(AdvantageExplorer(stretch(), i=0).last_steps()) == ["terminated"]
    with pytest.raises(ValueError, match="both a termination and a truncation"):
        AdvantageExplorer(stretch(ends=False))


def test_the_advantages_are_those_of_the_function_it_is_given():
    rollout = stretch()
    explorer = AdvantageExplorer(rollout, gamma=0.9, lam=0.8)
    ends = rollout.terminated, rollout.truncated
    values = rollout.values, rollout.next_values
    whole = returns.gae(rollout.rewards, *values, *ends, 0.9, 0.8)
    expected = whole[:, 1][rollout.valid[:, 1]].numpy()
    np.testing.assert_allclose(explorer.advantages(), expected, rtol=1e-6)
    own = AdvantageExplorer(rollout, gae=lambda *args: args[0] * 7)
    assert (own.advantages() == 7).all()


def test_it_says_in_words_how_far_lambda_looks():
    explorer = AdvantageExplorer(stretch())
    assert "only the next TD error counts" in explorer.set(lam=0.0)
    assert "all TD errors to come count in full" in explorer.set(gamma=1.0, lam=1.0)
    assert "halves every 1.0 steps" in explorer.set(gamma=1.0, lam=0.5)
    assert "The step at which the pole fell" in repr(explorer)
    with pytest.raises(ValueError, match=r"lam must lie in \[0, 1\], got 2"):
        explorer.set(lam=2)


def test_moving_a_slider_changes_picture_and_words():
    explorer = AdvantageExplorer(stretch())
    box = explorer.widget()
    before = bytes(box.children[2].value), box.children[3].value
    control(box, "lambda").value = 0.1
    assert explorer.lam == 0.1 and explorer.gamma == 0.99
    assert bytes(box.children[2].value).startswith(b"\x89PNG")
    assert bytes(box.children[2].value) != before[0] and box.children[3].value != before[1]


def test_the_stored_output_reads_well_without_a_kernel():
    explorer = AdvantageExplorer(stretch())
    stored = explorer._repr_mimebundle_()
    assert stored[VIEW]["model_id"] and stored["image/png"]
    assert stored["text/plain"] == repr(explorer)
