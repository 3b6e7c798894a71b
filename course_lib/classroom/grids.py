"""Grid worlds drawn: the value of each tile as a colour and a number, the policy as arrows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from course_lib.classroom.style import INK, PALE, axes_or_new, rounded


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
        ax = axes_or_new(
            None, size=(0.95 * width + 1.6, 0.95 * height + 0.6 + (width > 2 * height))
        )
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
            ax.text(c, y, rounded(values[state]), color=ink, size=12, ha="center", va="center")
    _grid_axes(ax, height, width)
    place = {"location": "bottom", "shrink": 0.5, "aspect": 40} if width > 2 * height else {}
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02, **place)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return ax


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
