"""Mazes whose every move is known: small enough to plan in by hand."""

import gymnasium
import numpy as np


class Maze(gymnasium.Env):
    """A maze of walls: moves up, right, down, left; reward 1 at the goal, where the episode ends.

    ``layout`` is drawn with ``#`` for walls, ``S`` start, ``G`` goal; a move into a wall stays.
    States are numbered row by row.
    """

    MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))

    def __init__(self, layout: str):
        self.grid = np.array([list(line) for line in layout.split()])
        self.observation_space = gymnasium.spaces.Discrete(self.grid.size)
        self.action_space = gymnasium.spaces.Discrete(len(self.MOVES))
        self.start, self.goal = self._find("S"), self._find("G")
        self.place = self.start

    def _find(self, letter: str) -> tuple[int, int]:
        row, column = np.argwhere(self.grid == letter)[0]
        return int(row), int(column)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[int, dict]:
        super().reset(seed=seed)
        self.place = self.start
        return self._state(), {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        row, column = (x + d for x, d in zip(self.place, self.MOVES[action], strict=True))
        inside = 0 <= row < self.grid.shape[0] and 0 <= column < self.grid.shape[1]
        if inside and self.grid[row, column] != "#":
            self.place = row, column
        there = self.place == self.goal
        return self._state(), float(there), there, False, {}

    def _state(self) -> int:
        return self.place[0] * self.grid.shape[1] + self.place[1]


DYNA_MAZE = """
.......#G
..#....#.
S.#....#.
..#......
.....#...
.........
"""  # Sutton & Barto, figure 8.2: 14 steps from start to goal
