"""Dyna-Q: between two real steps, learn from remembered ones as well.

Sutton, "Dyna, an integrated architecture for learning, planning, and reacting" (1991); Sutton &
Barto (2018), section 8.2, whose maze (figure 8.2) is here too. The model is a table of what
happened last after each action in each state. It is only asked about pairs that were tried, so it
never guesses. It takes the world to be deterministic and unchanging. Left out: prioritised
sweeping, models of chance, and the bonus for what was not tried for long (Dyna-Q+, section 8.3).

Shapes: S states, A actions; the agent is its table ``q`` (S, A), as in ``rl/q_learning``. Its
loop and its update are used here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import gymnasium
import numpy as np

from course_lib.rl import q_learning as tabular
from course_lib.rl.q_learning import q_learning_target, q_update


@dataclass(frozen=True)
class Config:
    """Settings of planning; those of acting and learning are ``q_learning.Config``."""

    planning_steps: int = 5  # imagined updates per real step: 0 (Q-learning) to 50

    def __post_init__(self) -> None:
        if self.planning_steps < 0:
            raise ValueError(f"planning_steps must not be negative, got {self.planning_steps}")


class Memory(NamedTuple):
    """What happened after one action in one state, the last time."""

    reward: float
    next_state: int
    terminated: bool


Model = dict[tuple[int, int], Memory]  # (state, action): what came of it


def dyna_update(
    q: np.ndarray, model: Model, pairs: list[tuple[int, int]], alpha: float, gamma: float
) -> np.ndarray:
    """Return the table (S, A) after one imagined Q-learning update for each of ``pairs``.

    Each pair (state, action) is looked up in ``model`` and updated as if it had just happened. The
    updates follow one another: a later one already sees what an earlier one changed, which is how
    a reward travels back over several states without a single real step. ``q`` itself stays.
    """
    q = q.copy()
    for state, action in pairs:
        memory = model[state, action]
        next_q = q[memory.next_state]
        target = q_learning_target(memory.reward, memory.terminated, next_q, 0, gamma)
        q[state, action] = q_update(q[state, action], target, alpha)
    return q


def train(
    q: np.ndarray,
    env: gymnasium.Env,
    settings: tabular.Config,
    config: Config,
    seed: int,
    *,
    dyna_update: Callable[..., np.ndarray] = dyna_update,
) -> Iterator[dict[str, float]]:
    """Train ``q`` (S, A) in place; yield metrics every ``settings.report_every`` real steps.

    With ``planning_steps`` 0 this is Q-learning, step for step. ``dyna_update`` can be replaced, by
    your own or by a mistake that you want to see fail. Metrics as ``q_learning``.
    """
    model: Model = {}
    tried: list[tuple[int, int]] = []  # the keys of the model, to draw from
    # A stream of its own: with and without planning, the agent explores by the same numbers.
    rng = np.random.default_rng((seed, 3))

    def learn(state, action, reward, next_state, terminated, next_action, alpha, _):
        target = q_learning_target(reward, terminated, q[next_state], next_action, settings.gamma)
        error = target - q[state, action]
        q[state, action] = q_update(q[state, action], target, alpha)
        if config.planning_steps == 0:
            return error
        if (state, action) not in model:
            tried.append((state, action))
        model[state, action] = Memory(float(reward), int(next_state), bool(terminated))
        pairs = [tried[i] for i in rng.integers(len(tried), size=config.planning_steps)]
        q[:] = dyna_update(q, model, pairs, alpha, settings.gamma)
        return error

    return tabular.act_and_learn(lambda state: q[state], learn, q.shape, env, settings, seed)


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
