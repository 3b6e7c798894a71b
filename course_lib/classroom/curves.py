"""The arithmetic of curves: smoothing, one grid for several seeds, and the band over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from course_lib.evaluation import t_interval


def smooth(values: Sequence[float] | np.ndarray, window: int) -> np.ndarray:
    """Mean over the last `window` entries at each position, shape (T,) -> (T,).

    NaN entries are left out of the means; a position whose whole window is NaN stays NaN.
    The mean looks back only, so that a smoothed curve never shows success before it happened.
    """
    values = np.asarray(values, dtype=np.float64)
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    if window == 1 or len(values) == 0:
        return values.copy()
    view = np.lib.stride_tricks.sliding_window_view(
        np.concatenate([np.full(window - 1, np.nan), values]), window
    )
    counts = (~np.isnan(view)).sum(axis=1)
    return np.where(counts > 0, np.nansum(view, axis=1) / np.maximum(counts, 1), np.nan)


_smooth = smooth  # `smooth` is also the natural name of an argument


def align_curves(
    runs: Sequence[Any],
    *,
    x: str = "steps",
    y: str = "return",
    smooth: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Bring the runs of several seeds, each with columns by name, onto one grid.

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


def curve_band(curves: np.ndarray, band: str = "iqr") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middle, lower and upper curve over seeds: (seeds, T) -> three of (T,).

    "iqr": median, 25th and 75th percentile. "t": mean and its 95 % t interval, at each position.
    "bootstrap": mean and the percentile interval of 1000 resamples of whole seeds (Efron 1979),
    always with the same random numbers; too narrow for few seeds.
    """
    if band == "iqr":
        low, middle, high = np.percentile(curves, [25, 50, 75], axis=0)
        return middle, low, high
    if band == "t":
        return t_interval(curves)
    if band == "bootstrap":
        rng = np.random.default_rng(0)
        seeds = len(curves)
        means = np.stack([curves[rng.integers(seeds, size=seeds)].mean(0) for _ in range(1000)])
        low, high = np.percentile(means, [2.5, 97.5], axis=0)
        return curves.mean(axis=0), low, high
    raise ValueError(f'band must be "iqr", "t" or "bootstrap", got {band!r}')
