"""The widgets of lesson 01: what their buttons and sliders do, called directly and clicked."""

import numpy as np
import pytest

from course_lib.classroom import live
from course_lib.lessons.q_learning.widget import BellmanExplorer, QLearningExplorer
from course_lib.rl import q_learning as tabular

VIEW = "application/vnd.jupyter.widget-view+json"


def parts(widget):
    box = widget.widget()
    buttons = {button.description: button for button in box.children[0].children}
    sliders = {slider.description: slider for slider in box.children[1:-2]}
    return buttons, sliders, box.children[-2], box.children[-1]


def test_values_spread_from_the_goal_one_square_per_sweep():
    explorer = BellmanExplorer(slippery=False, gamma=0.5)
    assert "0 of 11 squares" in repr(explorer)
    explorer.sweep()
    assert np.flatnonzero(explorer.values).tolist() == [14]
    explorer.sweep()
    assert np.flatnonzero(explorer.values).tolist() == [10, 13, 14]
    explorer.sweep(10)
    assert explorer.values[0] == pytest.approx(0.5**5)  # six steps, the reward on the last
    assert explorer.change == 0


def test_many_sweeps_reach_the_exact_values():
    explorer = BellmanExplorer()
    explorer.sweep(500)
    exact = tabular.value_iteration(explorer.model, 0.95)
    np.testing.assert_allclose(explorer.values, exact.max(axis=1), atol=1e-8)


def test_another_discount_repeats_the_same_sweeps():
    explorer = BellmanExplorer(gamma=0.9)
    explorer.sweep(7)
    explorer.set(0.99)
    fresh = BellmanExplorer(gamma=0.99)
    fresh.sweep(7)
    np.testing.assert_array_equal(explorer.values, fresh.values)
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got 2"):
        explorer.set(2)
    assert "0 sweeps" in explorer.reset() and not explorer.values.any()


def test_the_backup_given_is_the_one_at_work():
    explorer = BellmanExplorer(backup=lambda transitions, rewards, values, gamma: rewards + 7)
    explorer.sweep()
    assert explorer.values.min() == 7


def test_the_learner_approaches_the_exact_values():
    explorer = QLearningExplorer(alpha=0.2, epsilon=1.0)
    before = explorer.error()
    explorer.episodes(2000)
    explorer.set(alpha=0.02)
    explorer.episodes(2000)
    assert explorer.played == 4000 and explorer.reached > 10
    assert explorer.error() < before / 3


def test_alpha_zero_learns_nothing_and_reset_repeats_the_run():
    explorer = QLearningExplorer(alpha=0.0)
    explorer.episodes(300)
    assert not explorer.q.any()
    explorer.set(alpha=0.5)
    explorer.reset()
    first = explorer.episodes(300)
    explorer.reset()
    assert explorer.episodes(300) == first
    with pytest.raises(ValueError, match="no setting 'gamma'; there are: alpha, epsilon"):
        explorer.set(gamma=1)
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\], got -1"):
        explorer.set(alpha=-1)


def test_the_functions_given_are_the_ones_at_work():
    explorer = QLearningExplorer(
        target=lambda *args: 5.0, update=lambda value, target, alpha: target
    )
    explorer.episodes(1)
    assert set(np.unique(explorer.q)) == {0.0, 5.0}


def test_buttons_and_sliders_do_what_they_say():
    explorer = BellmanExplorer()
    buttons, sliders, image, words = parts(explorer)
    before = bytes(image.value)
    buttons["one sweep"].click()
    buttons["ten sweeps"].click()
    assert explorer.sweeps == 11 and "11 sweeps" in words.value
    assert bytes(image.value).startswith(b"\x89PNG") and bytes(image.value) != before
    sliders["gamma"].value = 0.5
    assert explorer.gamma == 0.5 and explorer.sweeps == 11 and "gamma 0.50" in words.value
    buttons["reset"].click()
    assert explorer.sweeps == 0

    learner = QLearningExplorer()
    buttons, sliders, image, words = parts(learner)
    buttons["10 episodes"].click()
    buttons["100 episodes"].click()
    assert learner.played == 110 and "110 episodes" in words.value
    sliders["alpha"].value, sliders["epsilon"].value = 0.7, 0.3
    assert learner.settings == {"alpha": 0.7, "epsilon": 0.3}
    buttons["reset"].click()
    assert learner.played == 0


@pytest.mark.parametrize(
    ("make", "button"), [(BellmanExplorer, "ten sweeps"), (QLearningExplorer, "100 episodes")]
)
def test_a_click_draws_one_picture(make, button, monkeypatch):
    """Drawing is what a click costs: ten sweeps must not draw ten times."""
    buttons, *_ = parts(make())
    drawn, to_png = [], live.to_png
    monkeypatch.setattr(live, "to_png", lambda figure: drawn.append(figure) or to_png(figure))
    buttons[button].click()
    assert len(drawn) == 1


@pytest.mark.parametrize("make", [BellmanExplorer, QLearningExplorer])
def test_the_stored_output_reads_well_without_a_kernel(make):
    widget = make()
    stored = widget._repr_mimebundle_()
    assert stored[VIEW]["model_id"]
    assert stored["text/plain"] == repr(widget)
    assert stored["image/png"]
