"""Two recorded ways cross, and the way nobody walked is the best: a maze to test stitching.

::

    # # # T # # #      T trap, 0    G goal, 10    x small prize, 3
    A . . M . . G
    . # # . # # #      recorded: 100 walks A to x, 100 walks A to M to T, 20 walks B to M to G
    x # # B # # #

From A the goal is six steps away, and the record shows every one of them; no single walk does. A
learner that imitates whole walks has seen 3 as the most that comes of A, one that bootstraps joins
the first half of one walk to the second half of another. The mazes of Fu et al., "D4RL" (arXiv
2004.07219, section 5), ask the same of larger worlds.
"""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium.utils.seeding import np_random

from course_lib.rl.backends import Loop
from course_lib.rl.dataset import Dataset
from course_lib.rl.envs import Envs
from course_lib.worlds.maze import Maze

LAYOUT = ("###T###", "A..M..G", ".##.###", "x##B###")
CELLS = [(r, c) for r, line in enumerate(LAYOUT) for c, mark in enumerate(line) if mark != "#"]
STATE = {cell: number for number, cell in enumerate(CELLS)}  # numbered row by row
PLACES = {LAYOUT[r][c]: (r, c) for r, c in CELLS if LAYOUT[r][c] != "."}  # "A", "B", "G", ...
PRIZES = {PLACES["T"]: 0.0, PLACES["G"]: 10.0, PLACES["x"]: 3.0}  # the episode ends there
MOVES = Maze.MOVES  # up, right, down, left
WALKS = (("A", "x", 100), ("A", "T", 100), ("B", "G", 20))  # start, end, how many


class Crossing(gymnasium.Env):
    """The maze from ``start`` ("A" or "B"): moves up, right, down, left; walls leave you in place.

    Observations are one-hot states (12,) uint8. The reward comes with the last step: 10 at G, 3 at
    x, 0 at T. After ``clock`` steps an episode is truncated.
    """

    def __init__(self, start: str = "A", clock: int = 40):
        if start not in ("A", "B"):
            raise ValueError(f'start must be "A" or "B", got {start!r}')
        self.observation_space = gymnasium.spaces.Box(0, 1, (len(CELLS),), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(len(MOVES))
        self.start, self.clock = start, clock
        self.place, self.steps = PLACES[start], 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self.place, self.steps = PLACES[self.start], 0
        return one_hot(self.place), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.place, self.steps = moved(self.place, action), self.steps + 1
        ends = self.place in PRIZES
        truncated = not ends and self.steps >= self.clock
        return one_hot(self.place), PRIZES.get(self.place, 0.0), ends, truncated, {}


def crossing(start: str = "A", num_envs: int = 16, seed: int = 0) -> Envs:
    """``num_envs`` copies of the maze behind one ``step``, as ``envs.make`` gives of others."""
    copies = [Crossing(start) for _ in range(num_envs)]
    loop = Loop(copies, lambda seed: np_random(seed)[0].bit_generator.state)
    return Envs(f"Crossing from {start}", num_envs, loop, seed)


def recorded(seed: int = 0, noise: float = 0.1) -> Dataset:
    """The 220 walks of ``WALKS`` as a data set, one after the other.

    A walker takes a shortest way to its end; each step is with chance ``noise`` a random one. Where
    that would end the walk in another place, the step is drawn again.
    """
    if not 0 <= noise < 1:
        raise ValueError(f"noise must lie in [0, 1), or no walk need ever end, got {noise}")
    rng, rows = np.random.default_rng((seed, 13)), []
    for start, end, count in WALKS:
        distance = _distances(PLACES[end])
        for _ in range(count):
            rows += _walk(rng, PLACES[start], PLACES[end], distance, noise)
    cells, actions, rewards, ended = zip(*rows, strict=True)
    frames = np.packbits(np.stack([one_hot(cell) for cell in cells]), axis=1)
    truncated = np.zeros(len(rows), bool)
    return Dataset(frames, actions, rewards, ended, truncated, (len(CELLS),), len(MOVES))


def one_hot(cell: tuple[int, int]) -> np.ndarray:
    """The observation of a cell (row, column): (12,) uint8."""
    return (np.arange(len(CELLS)) == STATE[cell]).astype(np.uint8)


def moved(cell: tuple[int, int], action: int) -> tuple[int, int]:
    """The cell that ``action`` leads to."""
    there = cell[0] + MOVES[action][0], cell[1] + MOVES[action][1]
    return there if there in STATE else cell


def _distances(end: tuple[int, int]) -> dict[tuple[int, int], int]:
    """Steps from each cell to ``end`` on ways that pass no other prize."""
    distance, queue = {end: 0}, [end]
    for cell in queue:  # it grows as it is read: breadth first, back from the end
        for action in range(len(MOVES)):
            before = moved(cell, action)  # every move can be undone by its opposite
            if before not in distance and before not in PRIZES:
                distance[before] = distance[cell] + 1
                queue.append(before)
    return distance


def _walk(
    rng: np.random.Generator,
    cell: tuple[int, int],
    end: tuple[int, int],
    distance: dict[tuple[int, int], int],
    noise: float,
) -> list[tuple[tuple[int, int], int, float, bool]]:
    """One walk to ``end``: cell, action, reward and whether it ended, step by step."""
    rows = []
    while cell != end:
        action = min(range(len(MOVES)), key=lambda a: distance.get(moved(cell, a), np.inf))
        if rng.random() < noise:
            action = int(rng.integers(len(MOVES)))
        there = moved(cell, action)
        if there in PRIZES and there != end:
            continue
        rows.append((cell, action, PRIZES.get(there, 0.0), there == end))
        cell = there
    return rows
