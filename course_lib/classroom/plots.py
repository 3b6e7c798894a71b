"""Figures in one quiet style, readable on a projector and without colour vision.

Every plotting function labels its axes and returns the matplotlib Axes, so that a notebook can
add to it. End a figure cell with `show(ax, alt="...")`: it displays the picture together with
the same message in words. Colours: Okabe and Ito (2008), "Color Universal Design"; curves differ
in line style and marker as well.
"""

from __future__ import annotations

import html
import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from course_lib.classroom.front_end import in_notebook
from course_lib.classroom.track import History, smooth

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)), "-")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, GREY, PALE = "#222222", "#6b6b6b", "#d9d9d9"

LABELS = {
    "steps": "environment steps",
    "seconds": "wall-clock time (s)",
    "updates": "updates",
    "return": "return per episode",
    "loss": "loss",
    "epsilon": "exploration rate ε",
    "length": "episode length (steps)",
}

STYLE = {
    "figure.figsize": (8.0, 5.0),
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 13,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "legend.title_fontsize": 12,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 2.2,
    "axes.prop_cycle": plt.cycler(color=COLORS[:6]),
}


def use_style() -> None:
    """Apply the style to every figure that follows."""
    plt.rcParams.update(STYLE)


class Grid(NamedTuple):
    """A grid world for drawing: rows of tile letters, and the direction of each action.

    Tiles: S start, G goal, H hole, C cliff, anything else is floor. `moves[a]` is the direction
    of action `a`: L, D, R or U.
    """

    rows: tuple[str, ...]
    moves: str

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), len(self.rows[0])


FROZEN_LAKE = Grid(("SFFF", "FHFH", "FFFH", "HFFG"), "LDRU")
FROZEN_LAKE_8X8 = Grid(
    (
        "SFFFFFFF",
        "FFFFFFFF",
        "FFFHFFFF",
        "FFFFFHFF",
        "FFFHFFFF",
        "FHHFFFHF",
        "FHFFHFHF",
        "FFFHFFFG",
    ),
    "LDRU",
)
CLIFF_WALKING = Grid(("F" * 12, "F" * 12, "F" * 12, "S" + "C" * 10 + "G"), "URDL")


def learning_curves(
    runs: Mapping[str, History | Sequence[History]],
    *,
    x: str = "steps",
    y: str = "return",
    smooth: int = 1,
    goal: float | None = None,
    band: str = "iqr",
    ax: Axes | None = None,
) -> Axes:
    """One curve per method, with a band over its seeds.

    Args:
        runs: method name -> its runs, one per seed. A run is a `History` or anything that gives
            columns by name, such as a dict of lists from a results file.
        x, y: columns to draw.
        smooth: mean over this many records, looking back, before seeds are combined.
        goal: drawn as a horizontal line.
        band: "iqr" draws the median and the middle half of the seeds, "bootstrap" the mean and
            its 95 % bootstrap interval. The legend says which.
        ax: where to draw; a new figure if None.
    """
    ax = _axes(ax)
    most = 1
    for i, (name, seeds) in enumerate(runs.items()):
        seeds = [seeds] if isinstance(seeds, History) else list(seeds)
        grid, curves = align_curves(seeds, x=x, y=y, smooth=smooth)
        middle, low, high = curve_band(curves, band)
        look = {"color": COLORS[i % len(COLORS)], "linestyle": LINES[i % len(LINES)]}
        if len(runs) > 1:
            # Markers sit at different places on different curves: they never hide each other.
            every = max(1, len(grid) // 8)
            look["markevery"] = (min(len(grid) - 1, every * (i % 4) // 4), every)
            look["marker"] = MARKERS[i % len(MARKERS)]
        if len(curves) > 1:
            most = len(curves)
            name = f"{name} ({len(curves)} seeds)"
            ax.fill_between(grid, low, high, color=look["color"], alpha=0.18, lw=0, zorder=2)
        elif smooth > 1:  # what the smoothing hides
            raw = align_curves(seeds, x=x, y=y)[1][0]
            ax.plot(grid, raw, color=look["color"], alpha=0.3, linewidth=1, zorder=2)
        ax.plot(grid, middle, **look, markersize=7, label=name, zorder=3)
    if goal is not None:
        _goal_line(ax, goal)
    ax.set_xlabel(LABELS.get(x, x))
    ax.set_ylabel(LABELS.get(y, y))
    ax.xaxis.set_major_formatter(FuncFormatter(_thousands))
    if most > 1 or len(runs) > 1:
        _legend_below(ax, _BANDS[band] if most > 1 else None)
    return ax


_BANDS = {
    "iqr": "line: median, band: middle half of seeds",
    "bootstrap": "line: mean, band: 95 % bootstrap interval",
}


def align_curves(
    runs: Sequence[History], *, x: str = "steps", y: str = "return", smooth: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Bring the runs of several seeds onto one grid.

    Returns the grid, shape (T,), and the curves, shape (seeds, T). Runs that share their x keep
    it; others are interpolated linearly at 300 points of the range that all of them cover.
    Records without a value of y (NaN) are left out.
    """
    if not runs:
        raise ValueError("there is no run to draw")
    points = []
    for run in runs:
        xs = np.asarray(run[x], dtype=np.float64)
        ys = _smooth(run[y], smooth)
        keep = np.isfinite(xs) & np.isfinite(ys)
        if not keep.any():
            raise ValueError(f"a run holds no value of {y!r}: it ended before the first one")
        points.append((xs[keep], ys[keep]))
    first = points[0][0]
    if all(np.array_equal(xs, first) for xs, _ in points):
        return first, np.stack([ys for _, ys in points])
    start, end = max(xs[0] for xs, _ in points), min(xs[-1] for xs, _ in points)
    if end <= start:
        raise ValueError(f"the runs share no range of {x!r}: they overlap from {start} to {end}")
    grid = np.linspace(start, end, 300)
    return grid, np.stack([np.interp(grid, xs, ys) for xs, ys in points])


_smooth = smooth  # `smooth` is also the natural name of an argument


def curve_band(curves: np.ndarray, band: str = "iqr") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middle, lower and upper curve over seeds: (seeds, T) -> three of (T,).

    "iqr": median, 25th and 75th percentile. "bootstrap": mean and the percentile interval of
    1000 resamples of whole seeds (Efron 1979), always with the same random numbers.
    """
    if band == "iqr":
        low, middle, high = np.percentile(curves, [25, 50, 75], axis=0)
        return middle, low, high
    if band == "bootstrap":
        rng = np.random.default_rng(0)
        seeds = len(curves)
        means = np.stack([curves[rng.integers(seeds, size=seeds)].mean(0) for _ in range(1000)])
        low, high = np.percentile(means, [2.5, 97.5], axis=0)
        return curves.mean(axis=0), low, high
    raise ValueError(f'band must be "iqr" or "bootstrap", got {band!r}')


def value_map(
    values: np.ndarray,
    grid: Grid,
    *,
    policy: np.ndarray | None = None,
    label: str = "state value",
    limits: tuple[float, float] | None = None,
    numbers: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """State values of a grid world as colours and numbers, the policy as arrows.

    Args:
        values: shape (S,), row by row.
        grid: `FROZEN_LAKE`, `FROZEN_LAKE_8X8`, `CLIFF_WALKING` or your own `Grid`.
        policy: greedy actions, shape (S,), or probabilities, shape (S, A): one arrow per action
            of the highest probability.
        label: name of the colour bar, with its unit.
        limits: values at the two ends of the colours; the range of `values` if None.
        numbers: write the value into each tile.
        ax: where to draw; a new figure if None.
    """
    height, width = grid.shape
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (height * width,):
        raise ValueError(f"values must have shape ({height * width},), got {values.shape}")
    if ax is None:
        ax = _axes(None, size=(0.95 * width + 1.6, 0.95 * height + 0.6 + (width > 2 * height)))
    tiles = "".join(grid.rows)
    ends = np.array([tile in _ENDS for tile in tiles])
    low, high = limits or (float(values[~ends].min()), float(values[~ends].max()))
    picture = np.ma.masked_array(values, ends).reshape(height, width)
    image = ax.imshow(picture, cmap="cividis", vmin=low, vmax=high if high > low else low + 1)
    for state, tile in enumerate(tiles):
        r, c = divmod(state, width)
        if ends[state]:
            _end_tile(ax, r, c, tile)
            continue
        ink = "white" if image.norm(values[state]) < 0.5 else "black"
        if tile == "S":
            ax.text(c - 0.42, r - 0.42, "S", color=ink, size=13, weight="bold", va="top")
        if policy is not None:
            best = _best_actions(np.asarray(policy)[state])
            _arrows(ax, r - 0.14 * numbers, c, [grid.moves[a] for a in best], ink)
        if numbers:
            y = r if policy is None else r + 0.33
            ax.text(c, y, _value(values[state]), color=ink, size=12, ha="center", va="center")
    _grid_axes(ax, height, width)
    place = {"location": "bottom", "shrink": 0.5, "aspect": 40} if width > 2 * height else {}
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02, **place)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return ax


def before_after(
    before: Sequence[float],
    after: Sequence[float],
    *,
    labels: tuple[str, str] = ("before training", "after training"),
    y: str = "return",
    goal: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Two distributions side by side: every episode a dot, the quartiles a box, the mean in words.

    Args:
        before, after: one number per episode.
        labels: names of the two groups.
        y: what the numbers are, in the names that `LABELS` knows or in words.
        goal: drawn as a horizontal line.
    """
    ax = _axes(ax, size=(7.0, 4.5))
    rng = np.random.default_rng(0)  # the jitter carries no meaning, but pictures should repeat
    names = []
    for i, values in enumerate((before, after)):
        values = np.asarray(values, dtype=np.float64)
        colour = (COLORS[1], COLORS[0])[i]
        low, middle, high = np.percentile(values, [25, 50, 75])
        ax.add_patch(Rectangle((i - 0.28, low), 0.56, high - low, color=colour, alpha=0.18, lw=0))
        ax.plot([i - 0.28, i + 0.28], [middle, middle], color=colour, linewidth=3, zorder=4)
        spread = rng.uniform(-0.2, 0.2, len(values))
        ax.scatter(i + spread, values, s=30, color=colour, alpha=0.55, marker=MARKERS[i], lw=0)
        names.append(f"{labels[i]}\nmean {_value(values.mean())}, {len(values)} episodes")
    ax.set_xticks([0, 1], names)
    ax.set_xlim(-0.5, 1.5)
    ax.set_ylabel(LABELS.get(y, y))
    ax.set_xlabel("dot: one episode · line: median · box: middle half", color=GREY)
    ax.xaxis.grid(False)
    if goal is not None:
        _goal_line(ax, goal)
    return ax


def bars_with_intervals(
    results: Mapping[str, tuple[float, float, float]],
    *,
    label: str,
    interval: str = "95 % interval",
    runs: Mapping[str, Sequence[float]] | None = None,
    goal: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Methods compared: a bar to the estimate, a whisker over its interval, the number beside it.

    Args:
        results: method -> (estimate, low, high).
        label: what is measured, with its unit.
        interval: what the whiskers are; it is written under the axis.
        runs: method -> single runs, drawn as dots.
        goal: drawn as a vertical line.
    """
    ax = _axes(ax, size=(8.0, 1.4 + 0.75 * len(results)))
    for i, (name, (value, low, high)) in enumerate(results.items()):
        if not low <= value <= high:
            raise ValueError(f"{name}: the estimate {value} lies outside [{low}, {high}]")
        colour = COLORS[i % len(COLORS)]
        ax.barh(i, value, height=0.55, color=colour, alpha=0.3)
        ax.plot([low, high], [i, i], color=colour, linewidth=3, solid_capstyle="butt")
        ax.plot(value, i, marker=MARKERS[i % len(MARKERS)], markersize=9, color=colour)
        if runs and name in runs:
            dots = np.asarray(runs[name], dtype=np.float64)
            ax.scatter(dots, np.full(len(dots), i + 0.36), s=16, color=colour, alpha=0.7, lw=0)
        ax.annotate(
            _value(value),
            (max(high, value), i),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    ax.set_yticks(range(len(results)), list(results))
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.yaxis.grid(False)
    ax.set_xlabel(f"{label}\nwhisker: {interval}{', dots: single runs' if runs else ''}")
    ax.xaxis.set_major_formatter(FuncFormatter(_thousands))
    if goal is not None:
        ax.axvline(goal, color=INK, linestyle=":", linewidth=1.8)
        ax.annotate(
            f"goal {_value(goal)}",
            (goal, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            size=12,
        )
    return ax


def show(figure: Figure | Axes, alt: str) -> None:
    """Display a figure with its message in words, and close it.

    The words go into the output's metadata, where HTML exports find the alt text, into the PNG
    file, and below the figure as a line that folds out: JupyterLab gives images no alt text, and
    what a screen reader needs helps everyone. Say what the figure shows, without numbers that
    change from run to run: the words are part of the output that the tests compare.
    """
    if not alt.strip():
        raise ValueError("alt must say in words what the figure shows")
    if isinstance(figure, Axes):
        figure = figure.figure
    picture = figure_png(figure, alt)
    plt.close(figure)  # otherwise the notebook would show it a second time
    show_png(picture, alt)
    if in_notebook():
        words = f"<details><summary>Figure in words</summary>{html.escape(alt)}</details>"
        display({"text/html": words, "text/plain": f"Figure in words: {alt}"}, raw=True)


def figure_png(figure: Figure, alt: str = "") -> bytes:
    """The figure as a PNG file with `alt` as its description."""
    out = io.BytesIO()
    about = {"Description": alt, "Software": None}
    figure.savefig(out, format="png", dpi=110, bbox_inches="tight", metadata=about)
    return out.getvalue()


def show_png(picture: bytes, alt: str) -> None:
    """Display a PNG file, its alt text in the output's metadata."""
    data = {"image/png": b64encode(picture).decode(), "text/plain": alt}
    display(data, metadata={"image/png": {"alt": alt}}, raw=True)


def _axes(ax: Axes | None, size: tuple[float, float] | None = None) -> Axes:
    if ax is not None:
        return ax
    use_style()
    return plt.subplots(figsize=size)[1]


def _legend_below(ax: Axes, title: str | None) -> None:
    """A legend under the axes, where it hides no curve."""
    height = ax.get_position().height * ax.figure.get_figheight()  # inches
    longest = max(len(text) for text in ax.get_legend_handles_labels()[1])
    ax.legend(
        title=title,
        alignment="left",
        loc="upper left",
        bbox_to_anchor=(0, -0.62 / height),
        borderaxespad=0,
        handlelength=3,
        ncols=2 if longest < 28 else 1,
    )


def _goal_line(ax: Axes, goal: float) -> None:
    ax.axhline(goal, color=INK, linestyle=":", linewidth=1.8, zorder=1)
    ax.annotate(
        f"goal\n{_value(goal)}",
        (1.0, goal),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        size=12,
    )


# The states in which an episode ends: nothing is worth anything there, so they get no colour.
_ENDS = {"H": "hole", "C": "cliff", "G": "goal"}


def _end_tile(ax: Axes, r: int, c: int, tile: str) -> None:
    face = "white" if tile == "G" else PALE
    hatch = None if tile == "G" else "///"
    box = Rectangle((c - 0.5, r - 0.5), 1, 1, facecolor=face, edgecolor="white", hatch=hatch, lw=0)
    ax.add_patch(box)
    if tile == "G":
        frame = Rectangle((c - 0.44, r - 0.44), 0.88, 0.88, fill=False, edgecolor=INK, lw=2.5)
        ax.add_patch(frame)
    weight = "bold" if tile == "G" else "normal"
    pad = {"boxstyle": "square,pad=0.15", "facecolor": face, "edgecolor": "none"}
    ax.text(c, r, _ENDS[tile], size=12, weight=weight, ha="center", va="center", bbox=pad)


def _grid_axes(ax: Axes, height: int, width: int) -> None:
    ax.set_xticks(range(width), [str(c) for c in range(width)])
    ax.set_yticks(range(height), [str(r) for r in range(height)])
    ax.set(xlabel="column", ylabel="row")
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    for edge in range(1, width):
        ax.axvline(edge - 0.5, color="white", linewidth=1.5)
    for edge in range(1, height):
        ax.axhline(edge - 0.5, color="white", linewidth=1.5)


_DIRECTIONS = {"L": (-1, 0), "R": (1, 0), "U": (0, -1), "D": (0, 1)}


def _arrows(ax: Axes, r: float, c: int, moves: Sequence[str], ink: str) -> None:
    for move in moves:
        dx, dy = _DIRECTIONS[move]
        arrow = {"arrowstyle": "-|>", "color": ink, "lw": 2, "mutation_scale": 15}
        ends = {"xytext": (c, r), "xy": (c + 0.34 * dx, r + 0.29 * dy)}
        ax.annotate("", **ends, arrowprops={**arrow, "shrinkA": 0, "shrinkB": 0})


def _best_actions(choice: np.ndarray) -> np.ndarray:
    """An action as an array of one; probabilities as all their best actions."""
    if choice.ndim == 0:
        return np.array([int(choice)])
    return np.flatnonzero(choice >= choice.max() - 1e-9)


def _value(value: float) -> str:
    """Two significant places where they matter: 0.54, -13, 487."""
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _thousands(value: float, _position: int) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e4 else f"{value:g}"
