"""Widgets of lessons 00 and 02: the functions behind the sliders, and the sliders themselves."""

import numpy as np
import pytest

from course_lib.lessons.dqn.widget import ENDINGS, QMap, TargetExplorer
from course_lib.lessons.start_here.widget import DiscountExplorer

VIEW = "application/vnd.jupyter.widget-view+json"


def control(box, name):
    return next(c for c in box.children if getattr(c, "description", None) == name)


def test_the_target_explorer_does_the_arithmetic_of_the_lesson():
    explorer = TargetExplorer()
    assert explorer.set(gamma=0.5) == 1 + 0.5 * 24  # the target network's best is right: 24
    assert explorer.set(double=True) == 1 + 0.5 * 18  # the online network prefers left: 18
    assert explorer.set(ending="terminated: the pole fell") == 1.0
    assert explorer.set(ending="truncated: the clock ran out") == 1 + 0.5 * 18
    assert set(ENDINGS) >= {explorer.settings["ending"]}
    with pytest.raises(ValueError, match="no setting 'alpha'"):
        explorer.set(alpha=1)


def test_the_target_explorer_uses_the_function_it_is_given():
    wrong = TargetExplorer(td_target=lambda rewards, terminated, next_q, gamma: rewards * 0 + 7)
    assert wrong.target() == 7


def test_moving_a_slider_changes_the_words():
    explorer = TargetExplorer()
    box = explorer.widget()
    before = box.children[-1].value
    control(box, "gamma").value = 0.1
    assert explorer.settings["gamma"] == 0.1
    assert "0.10" in box.children[-1].value != before


class LeansRight:
    """Values of an agent that likes to push right in proportion to the pole's angle."""

    def q_values(self, obs):
        return np.stack([np.zeros(len(obs)), obs[:, 2] + obs[:, 0]], axis=1)


def test_the_value_map_asks_the_agent_at_every_point():
    chart = QMap(LeansRight())
    q = chart.values()
    assert q.shape == (len(chart.SPINS), len(chart.ANGLES), 2)
    np.testing.assert_allclose(q[0, :, 1], chart.ANGLES, atol=1e-6)
    chart.move(position=1.0, velocity=0.0)
    np.testing.assert_allclose(chart.values()[0, :, 1], chart.ANGLES + 1.0, atol=1e-6)


def test_moving_the_cart_draws_another_picture():
    box = QMap(LeansRight()).widget()
    image = box.children[-1]
    before = bytes(image.value)
    control(box, "position").value = 1.5
    after = bytes(image.value)
    assert after.startswith(b"\x89PNG") and after != before


def test_the_discount_explorer_says_how_far_a_discount_sees():
    explorer = DiscountExplorer()
    assert "Half of it comes from the first 50 steps" in explorer.set(1.0)
    assert "the return of 100 rewards is 1.0" in explorer.set(0.0)
    np.testing.assert_allclose(DiscountExplorer(0.5).weights()[:3], [1, 0.5, 0.25])
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got 2"):
        explorer.set(2)
    box = explorer.widget()
    control(box, "gamma").value = 0.5
    assert "gamma 0.50" in box.children[-1].value


@pytest.mark.parametrize("widget", [DiscountExplorer(), TargetExplorer(), QMap(LeansRight())])
def test_the_stored_output_reads_well_without_a_kernel(widget):
    stored = widget._repr_mimebundle_()
    assert stored[VIEW]["model_id"]
    assert stored["text/plain"] == repr(widget)
    assert "text/html" in stored or "image/png" in stored
