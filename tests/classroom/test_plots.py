"""Figures: the numbers behind them, and what they say to those who cannot see them."""

import io
import json

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from course_lib.classroom import History, plots, style
from course_lib.evaluation import t_interval

nan = np.nan


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def runs(curves, steps=None):
    steps = np.arange(curves.shape[1]) if steps is None else steps
    return [History({"steps": steps, "return": curve}) for curve in curves]


def band_of(ax):
    """Lower and upper edge of the first band as drawn, by x."""
    corners = ax.collections[0].get_paths()[0].vertices
    xs = np.unique(corners[:, 0])
    low = [corners[corners[:, 0] == x, 1].min() for x in xs]
    high = [corners[corners[:, 0] == x, 1].max() for x in xs]
    return np.array(low), np.array(high)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_line_and_band_are_numpys_median_and_quartiles():
    curves = np.random.default_rng(0).normal(size=(7, 20))
    ax = plots.learning_curves({"DQN": runs(curves)})
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(curves, axis=0))
    low, high = band_of(ax)
    np.testing.assert_allclose(low, np.percentile(curves, 25, axis=0))
    np.testing.assert_allclose(high, np.percentile(curves, 75, axis=0))
    assert "middle half" in ax.get_legend().get_title().get_text()
    assert "7 seeds" in ax.get_legend().get_texts()[0].get_text()


def test_the_bands_over_the_mean_hold_it_and_repeat():
    curves = np.random.default_rng(1).normal(size=(10, 5))
    middle, low, high = plots.curve_band(curves, "bootstrap")
    np.testing.assert_allclose(middle, curves.mean(axis=0))
    assert (low < middle).all() and (middle < high).all()
    # The width agrees with the normal approximation of the standard error of a mean.
    expected = 2 * 1.96 * curves.std(axis=0) / np.sqrt(10)
    np.testing.assert_allclose(high - low, expected, rtol=0.2)
    np.testing.assert_array_equal(plots.curve_band(curves, "bootstrap")[1], low)
    ax = plots.learning_curves({"DQN": runs(curves)}, band="bootstrap")
    assert "bootstrap" in ax.get_legend().get_title().get_text()
    middle, low, high = plots.curve_band(curves, "t")
    np.testing.assert_allclose((middle, low, high), t_interval(curves))
    ax = plots.learning_curves({"DQN": runs(curves)}, band="t")
    assert "t interval" in ax.get_legend().get_title().get_text()
    with pytest.raises(ValueError, match='band must be "iqr", "t" or "bootstrap", got \'std\''):
        plots.curve_band(curves, "std")


def test_seeds_on_different_steps_meet_on_their_common_range():
    one = History({"steps": [0, 10, 20], "return": [0, 10, 20]})
    two = History({"steps": [5, 15, 40], "return": [10, 30, 80]})
    grid, curves = plots.align_curves([one, two])
    assert (grid[0], grid[-1]) == (5, 20)
    np.testing.assert_allclose(curves[0], grid)
    np.testing.assert_allclose(curves[1], 2 * grid)


def test_records_without_a_value_are_left_out_and_empty_runs_named():
    run = History({"steps": [1, 2, 3], "return": [nan, 4, 5], "loss": [nan, nan, nan]})
    grid, curves = plots.align_curves([run])
    assert grid.tolist() == [2, 3] and curves.tolist() == [[4, 5]]
    with pytest.raises(ValueError, match="a run holds no value of 'loss'"):
        plots.align_curves([run], y="loss")
    with pytest.raises(ValueError, match="there is no run to draw"):
        plots.align_curves([])


def test_runs_may_come_from_a_results_file():
    record = json.loads('{"steps": [1, 2, 3], "return": [4, 5, 6]}')
    ax = plots.learning_curves({"DQN": [record]})
    assert ax.lines[0].get_ydata().tolist() == [4, 5, 6]


def test_a_smoothed_single_run_shows_the_raw_curve_too():
    curve = np.random.default_rng(2).normal(size=(1, 30))
    run = runs(curve)[0]
    ax = run.plot("return", smooth=5)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), curve[0])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), run.smoothed("return", 5))


def test_methods_differ_in_line_and_marker_as_well_as_colour():
    curves = np.zeros((3, 4))
    ax = plots.learning_curves({name: runs(curves) for name in "abcdef"})
    assert len({line.get_color() for line in ax.lines}) == 6
    assert len({line.get_marker() for line in ax.lines}) == 6
    # Matplotlib reports every dash pattern of our own as "--".
    assert len({str(line) for line in plots.LINES[:6]}) == 6
    assert {line.get_linestyle() for line in ax.lines} >= {"-", "--", "-."}


def all_figures():
    values, curves = np.linspace(0, 1, 16), np.zeros((2, 5))
    return {
        "curves": plots.learning_curves({"DQN": runs(curves)}, goal=1),
        "map": plots.value_map(values, plots.FROZEN_LAKE),
        "distributions": plots.before_after([1, 2, 3], [4, 5, 6], goal=5),
        "bars": plots.bars_with_intervals({"DQN": (2, 1, 3)}, label="return", goal=2),
    }


@pytest.mark.parametrize("name", ["curves", "map", "distributions", "bars"])
def test_axes_are_labelled_and_letters_large_enough_for_a_projector(name):
    ax = all_figures()[name]
    assert ax.get_xlabel()
    assert ax.get_ylabel() or [t for t in ax.get_yticklabels() if t.get_text().isalpha()]
    ax.figure.canvas.draw()
    for text in ax.figure.findobj(matplotlib.text.Text):
        if text.get_visible() and text.get_text().strip():
            assert text.get_fontsize() >= 11, text.get_text()


def arrows_at(ax, row, column):
    """Directions of the arrows drawn in one tile."""
    found = set()
    for arrow in ax.texts:
        if not hasattr(arrow, "xyann") or abs(arrow.xyann[0] - column) > 0.01:
            continue
        if abs(arrow.xyann[1] - row) > 0.3:
            continue
        dx, dy = np.sign(np.round(np.subtract(arrow.xy, arrow.xyann), 6))
        found.add({(-1, 0): "left", (1, 0): "right", (0, -1): "up", (0, 1): "down"}[dx, dy])
    return found


@pytest.mark.parametrize(
    ("grid", "directions"),
    [
        (plots.FROZEN_LAKE, ["left", "down", "right", "up"]),
        (plots.CLIFF_WALKING, ["up", "right", "down", "left"]),
    ],
)
def test_arrows_point_where_the_environment_moves(grid, directions):
    height, width = grid.shape
    policy = np.zeros(height * width, dtype=int)
    policy[:4] = range(4)
    ax = plots.value_map(np.zeros(height * width), grid, policy=policy)
    assert [arrows_at(ax, 0, column) for column in range(4)] == [{d} for d in directions]


def test_equal_probabilities_give_one_arrow_each():
    policy = np.tile([0.5, 0.0, 0.5, 0.0], (16, 1))
    ax = plots.value_map(np.zeros(16), plots.FROZEN_LAKE, policy=policy)
    assert arrows_at(ax, 0, 1) == {"left", "right"}


@pytest.mark.parametrize(
    ("name", "options", "grid"),
    [
        ("FrozenLake-v1", {}, plots.FROZEN_LAKE),
        ("FrozenLake-v1", {"map_name": "8x8"}, plots.FROZEN_LAKE_8X8),
    ],
)
def test_the_lakes_are_gymnasiums(name, options, grid):
    import gymnasium as gym

    rows = [
        "".join(tile.decode() for tile in row) for row in gym.make(name, **options).unwrapped.desc
    ]
    assert tuple(rows) == grid.rows


@pytest.mark.parametrize("grid", [plots.FROZEN_LAKE, plots.CLIFF_WALKING])
def test_the_actions_move_as_in_gymnasium(grid):
    import gymnasium as gym

    name, options = ("FrozenLake-v1", {"is_slippery": False})
    if grid is plots.CLIFF_WALKING:
        name, options = "CliffWalking-v1", {}
    table = gym.make(name, **options).unwrapped.P
    width = grid.shape[1]
    state = width + (2 if grid is plots.FROZEN_LAKE else 5)  # all four moves stay on the board
    for action, move in enumerate(grid.moves):
        offset = {"L": -1, "R": 1, "U": -width, "D": width}[move]
        assert table[state][action][0][1] == state + offset


def test_values_stand_in_the_tiles_and_ends_are_named():
    values = np.arange(16) / 16
    ax = plots.value_map(values, plots.FROZEN_LAKE)
    written = texts(ax)
    assert written.count("hole") == 4 and written.count("goal") == 1 and "S" in written
    assert "0.25" in written and "0.31" not in written  # 4/16 is floor, 5/16 a hole
    bar = ax.figure.axes[-1]
    assert bar.get_ylabel() == "state value"


def test_a_value_map_of_the_wrong_size_is_refused():
    with pytest.raises(ValueError, match=r"values must have shape \(16,\), got \(64,\)"):
        plots.value_map(np.zeros(64), plots.FROZEN_LAKE)


def test_before_and_after_show_every_episode_and_the_means():
    before, after = [1.0, 2.0, 6.0], [10.0, 20.0, 30.0, 40.0]
    ax = plots.before_after(before, after)
    dots = [c.get_offsets()[:, 1].tolist() for c in ax.collections]
    assert dots == [before, after]
    names = [t.get_text() for t in ax.get_xticklabels()]
    assert names[0].endswith("mean 3, 3 episodes") and names[1].endswith("mean 25, 4 episodes")


def test_whiskers_end_where_the_interval_does():
    ax = plots.bars_with_intervals({"a": (2, 1, 3), "b": (5, 4, 7)}, label="return")
    whiskers = [line.get_xdata().tolist() for line in ax.lines if len(line.get_xdata()) == 2]
    assert whiskers == [[1, 3], [4, 7]]
    assert "95 % interval" in ax.get_xlabel()
    with pytest.raises(ValueError, match="a: the estimate 5 lies outside"):
        plots.bars_with_intervals({"a": (5, 1, 3)}, label="return")


@pytest.mark.parametrize("columns", [1, 3])
def test_numbers_stand_clear_of_bars_and_whiskers_on_their_own_side(columns):
    results = {
        "long": (-12345, -14000, -11000),
        "short": (-155, -200, -100),
        "across": (-1500, -6000, 3000),
        "positive": (2000, -500, 6000),
    }
    plots.use_style()
    figure, axes = plt.subplots(1, columns, squeeze=False, figsize=(4 + 4 * columns, 4))
    for ax in axes.flat:
        plots.bars_with_intervals(results, label="return", ax=ax)
    figure.canvas.draw()
    for ax in axes.flat:
        scale = ax.transData.transform
        for i, (text, (value, low, high)) in enumerate(
            zip(ax.texts, results.values(), strict=True)
        ):
            box = text.get_window_extent()
            if value < 0:
                assert box.x1 < scale((low, i))[0]
                assert box.x0 > ax.bbox.x0, "the number reaches the axis"
            else:
                assert box.x0 > scale((high, i))[0]
    plt.close(figure)


def test_show_stores_the_words_beside_the_picture_and_closes_it(monkeypatch):
    shown = []
    monkeypatch.setattr(
        style, "display", lambda data, metadata=None, raw=False: shown.append((data, metadata))
    )
    ax = plots.learning_curves({"DQN": runs(np.zeros((1, 3)))})
    figure = ax.figure
    plots.show(ax, alt="The return stays at 0.")
    data, metadata = shown[0]
    assert data["text/plain"] == "The return stays at 0."
    assert metadata == {"image/png": {"alt": "The return stays at 0."}}
    assert not plt.fignum_exists(figure.number)
    with pytest.raises(ValueError, match="alt must say in words"):
        plots.show(figure, alt=" ")


def test_the_png_carries_its_description():
    figure = plots.learning_curves({"DQN": runs(np.zeros((1, 3)))}).figure
    picture = Image.open(io.BytesIO(plots.figure_png(figure, "A flat line.")))
    assert picture.text["Description"] == "A flat line."
    assert picture.width > 700
