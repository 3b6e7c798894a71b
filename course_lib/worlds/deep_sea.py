"""Deep sea: one treasure, far from where chance leads (Osband et al., arXiv 1908.03568)."""

from __future__ import annotations

import numpy as np

from course_lib.worlds.tables import TableWorld


def deep_sea(size: int, seed: int = 0) -> TableWorld:
    """A square of ``size`` rows and columns; an episode sinks one row with every step.

    It begins at the top left. Of the two actions one steers left, the other right; which is which
    differs from square to square and is drawn from ``seed``. Steering right costs 0.01 / size and
    fails with chance 1 / size: the current then carries you left. At the bottom the episode ends,
    with 1 on top for whoever was carried right in every row. Any other way down earns at most 0, so
    nothing but the treasure tells of the treasure. State: row * size + column.
    """
    if size < 2:
        raise ValueError(f"size must be at least 2, got {size}")
    rng, cost, states = np.random.default_rng((seed, 11)), 0.01 / size, []
    for row in range(size):
        for column in range(size):
            ends, below = row == size - 1, min(row + 1, size - 1) * size
            left, right = below + max(column - 1, 0), below + min(column + 1, size - 1)
            treasure = float(ends and column == size - 1)
            steer_left = [(1.0, left, 0.0, ends)]
            steer_right = [
                (1 - 1 / size, right, treasure - cost, ends),
                (1 / size, left, -cost, ends),
            ]
            ways = [steer_left, steer_right]
            states.append(ways if rng.random() < 0.5 else ways[::-1])
    return TableWorld(*states, seed=seed)
