"""Figures in one quiet style, readable on a projector and without colour vision.

Every plotting function labels its axes and returns the matplotlib Axes, so that a notebook can
add to it. End a figure cell with `show(ax, alt="...")`: it displays the picture together with
the same message in words. What stands in `style`, `curves` and `grids` is reached from here too,
as are matplotlib's own `plt`, `Axes` and `Figure`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # noqa: F401
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from course_lib.classroom.curves import align_curves, curve_band
from course_lib.classroom.grids import (  # noqa: F401
    CLIFF_WALKING,
    FROZEN_LAKE,
    FROZEN_LAKE_8X8,
    Grid,
    value_map,
)
from course_lib.classroom.style import (  # noqa: F401
    COLORS,
    GREY,
    INK,
    LABELS,
    LINES,
    MARKERS,
    PALE,
    STYLE,
    axes_or_new,
    figure_png,
    goal_line,
    rounded,
    show,
    show_png,
    use_style,
)


def learning_curves(
    runs: Mapping[str, Any],
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
        runs: method name -> its run, or its runs, one per seed. A run is a `History` or anything
            that gives columns by name, such as a dict of lists from a results file.
        x, y: columns to draw.
        smooth: mean over this many records, looking back, before seeds are combined.
        goal: drawn as a horizontal line.
        band: "iqr" draws the median and the middle half of the seeds, "t" the mean and its 95 %
            t interval, "bootstrap" the mean and its 95 % bootstrap interval. The legend says
            which.
        ax: where to draw; a new figure if None.
    """
    ax = axes_or_new(ax)
    most = 1
    for i, (name, seeds) in enumerate(runs.items()):
        seeds = list(seeds) if isinstance(seeds, Sequence) else [seeds]
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
        goal_line(ax, goal)
    ax.set_xlabel(LABELS.get(x, x))
    ax.set_ylabel(LABELS.get(y, y))
    ax.xaxis.set_major_formatter(FuncFormatter(_thousands))
    if most > 1 or len(runs) > 1:
        _legend_below(ax, _BANDS[band] if most > 1 else None)
    return ax


_BANDS = {
    "iqr": "line: median, band: middle half of seeds",
    "t": "line: mean, band: 95 % t interval",
    "bootstrap": "line: mean, band: 95 % bootstrap interval",
}


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
    ax = axes_or_new(ax, size=(7.0, 4.5))
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
        names.append(f"{labels[i]}\nmean {rounded(values.mean())}, {len(values)} episodes")
    ax.set_xticks([0, 1], names)
    ax.set_xlim(-0.5, 1.5)
    ax.set_ylabel(LABELS.get(y, y))
    ax.set_xlabel("dot: one episode · line: median · box: middle half", color=GREY)
    ax.xaxis.grid(False)
    if goal is not None:
        goal_line(ax, goal)
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
    """Methods compared: a bar to the estimate, a whisker over its interval, the number at its end.

    Args:
        results: method -> (estimate, low, high).
        label: what is measured, with its unit.
        interval: what the whiskers are; it is written under the axis.
        runs: method -> single runs, drawn as dots.
        goal: drawn as a vertical line.
    """
    ax = axes_or_new(ax, size=(8.0, 1.4 + 0.75 * len(results)))
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
        # Where the bar ends, so that the number stands clear of bar and whisker.
        ax.annotate(
            rounded(value),
            (low if value < 0 else high, i),
            xytext=(-8 if value < 0 else 8, 0),
            textcoords="offset points",
            ha="right" if value < 0 else "left",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    ax.set_yticks(range(len(results)), list(results))
    ax.invert_yaxis()
    ax.margins(x=0.12)
    negative = [(low, value) for value, low, _ in results.values() if value < 0]
    if negative:
        _room_on_the_left(ax, negative)
    ax.yaxis.grid(False)
    ax.set_xlabel(f"{label}\nwhisker: {interval}{', dots: single runs' if runs else ''}")
    ax.xaxis.set_major_formatter(FuncFormatter(_thousands))
    if goal is not None:
        ax.axvline(goal, color=INK, linestyle=":", linewidth=1.8)
        ax.annotate(
            f"goal {rounded(goal)}",
            (goal, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            size=12,
        )
    return ax


def _room_on_the_left(ax: Axes, bars: list[tuple[float, float]]) -> None:
    """Move the left limit so that the numbers left of negative bars do not reach the axis."""
    points = ax.get_position().width * ax.figure.get_figwidth() * 72
    left, right = ax.get_xlim()
    for low, value in bars:
        letters = 0.7 * plt.rcParams["font.size"] * len(rounded(value))
        share = (14 + letters) / points  # of the width, with a gap on both sides
        if share < 1:
            left = min(left, (low - share * right) / (1 - share))
    ax.set_xlim(left, right)


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


def _thousands(value: float, _position: int) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e4 else f"{value:g}"
