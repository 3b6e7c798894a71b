"""The widget of lesson 04: objective and gradient of one action, its sentence, its sliders."""

import numpy as np
import pytest

from course_lib.lessons.ppo.exercises import clipped_surrogate
from course_lib.lessons.ppo.widget import LIMITS, ClipExplorer

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "gradient", "words"),
    [
        (1.1, 2.0, 2.2, 2.0, "within the clip, so the gradient is the advantage"),
        (1.1, -2.0, -2.2, -2.0, "the action is made less probable"),
        (1.5, 2.0, 2.4, 0.0, "better than expected, but its ratio already lies above 1 + clip"),
        (0.5, -2.0, -1.6, 0.0, "worse than expected, but its ratio already lies below 1 - clip"),
        (0.5, 2.0, 1.0, 2.0, "much less probable: the wrong direction is never clipped"),
        (1.5, -2.0, -3.0, -2.0, "much more probable: the wrong direction is never clipped"),
        (1.5, 0.0, 0.0, 0.0, "just as good as expected"),
    ],
)
def test_each_region_by_hand(ratio, advantage, objective, gradient, words):
    explorer = ClipExplorer(ratio, advantage, clip=0.2)
    assert explorer.point() == pytest.approx((objective, gradient), abs=1e-7)
    assert words in explorer.reason() and explorer.reason().count(". ") == 0
    assert explorer.reason() in repr(explorer)


@pytest.mark.parametrize("advantage", [-1.5, 0.7])
def test_the_gradient_is_the_slope_of_the_curve(advantage):
    curve = ClipExplorer(advantage=advantage, clip=0.3).curve()
    slopes = np.diff(curve.objective) / np.diff(curve.ratios)
    away = np.abs(np.abs(curve.ratios[:-1] - 1) - 0.3) > 0.01  # the corner has two slopes
    np.testing.assert_allclose(slopes[away], curve.gradient[:-1][away], atol=1e-6)
    flat = curve.ratios > 1.301 if advantage > 0 else curve.ratios < 0.699
    np.testing.assert_array_equal(np.abs(curve.gradient) < 1e-9, flat)


@pytest.mark.parametrize("advantage", [-1.0, 1.0])
def test_a_corner_counts_as_inside_however_it_is_rounded(advantage):
    for clip in np.arange(5, 51) / 100:
        for ratio in (1 - clip, 1 + clip, round(1 - clip, 2), round(1 + clip, 2)):
            explorer = ClipExplorer(ratio, advantage, clip)
            assert explorer.point()[1] == pytest.approx(advantage)
            assert "within the clip" in explorer.reason()


def test_words_and_gradient_agree_at_every_stop_of_the_sliders():
    for ratio in np.arange(40, 161, 3) / 100:
        for clip in (0.05, 0.1, 0.2, 0.3, 0.5):
            for advantage in (-2.0, -0.1, 0.1, 2.0):
                explorer = ClipExplorer(ratio, advantage, clip)
                vanishes = abs(explorer.point()[1]) < 1e-9
                assert ("gradient is 0" in explorer.reason()) == vanishes
                assert "Your function" not in explorer.reason()


def test_the_function_given_is_the_one_at_work():
    wrong = clipped_surrogate.mistake("never clips")
    explorer = ClipExplorer(1.5, 1.0, 0.2, clipped_surrogate=wrong)
    assert explorer.point() == pytest.approx((1.5, 1.0))
    assert "Your function has the gradient +1.00 here" in explorer.reason()
    assert "objective is 0." in explorer.reason()
    everywhere = ClipExplorer(
        0.5, 1.0, 0.2, clipped_surrogate=clipped_surrogate.mistake("clips everywhere")
    )
    assert "Your function has the gradient 0 here" in everywhere.reason()


def test_wrong_settings_get_a_sentence():
    explorer = ClipExplorer()
    with pytest.raises(ValueError, match="no setting 'gamma'; there are: ratio, advantage, clip"):
        explorer.set(gamma=1)
    with pytest.raises(ValueError, match=r"ratio must lie in \[0.4, 1.6\], got 3"):
        explorer.set(ratio=3)
    with pytest.raises(ValueError, match=r"clip must lie in \[0.05, 0.5\], got 0"):
        explorer.set(clip=0)


def test_the_flat_part_is_shaded_and_no_other():
    def shaded(**settings):
        ax = ClipExplorer(**settings).figure().axes[0]
        (area,) = (c for c in ax.collections if c.get_label() == "gradient 0")
        edges = [path.vertices[:, 0] for path in area.get_paths()]
        return (edges[0].min(), edges[0].max()) if edges and len(edges[0]) else None

    assert shaded(advantage=1.0, clip=0.2) == pytest.approx((1.205, 1.6))
    assert shaded(advantage=-1.0, clip=0.2) == pytest.approx((0.4, 0.795))
    assert shaded(advantage=0.0) == pytest.approx(LIMITS["ratio"])


def test_moving_a_slider_changes_words_and_picture():
    explorer = ClipExplorer()
    box = explorer.widget()
    *sliders, image, words = box.children
    assert [s.description for s in sliders] == list(LIMITS)
    assert [(s.min, s.max) for s in sliders] == list(LIMITS.values())
    for slider, value in zip(sliders, (0.5, -2.0, 0.4), strict=True):
        before = bytes(image.value), words.value
        slider.value = value
        assert explorer.settings[slider.description] == value
        assert bytes(image.value) != before[0] and words.value != before[1]
        assert bytes(image.value).startswith(b"\x89PNG")
    assert words.value == repr(explorer)
    assert "ratio 0.50, advantage -2.00, clip 0.40" in words.value


def test_the_stored_output_reads_well_without_a_kernel():
    explorer = ClipExplorer()
    stored = explorer._repr_mimebundle_()
    assert stored[VIEW]["model_id"]
    assert stored["text/plain"] == repr(explorer)
    assert stored["image/png"]
