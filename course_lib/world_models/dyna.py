"""Dyna-Q: between two real steps, learn from remembered ones as well.

Sutton, "Dyna, an integrated architecture for learning, planning, and reacting" (1991); Sutton &
Barto (2018), section 8.2, whose maze (figure 8.2) is in ``worlds.maze``. The model is a table of
what happened last after each action in each state. It is only asked about pairs that were tried, so
it never guesses. It takes the world to be deterministic and unchanging. Left out: prioritised
sweeping, models of chance, and the bonus for what was not tried for long (Dyna-Q+, section 8.3).

Shapes: S states, A actions; the agent is its table ``q`` (S, A), as in ``rl/q_learning``. Its
loop and its update are used here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import gymnasium
import numpy as np

from course_lib import limits
from course_lib.rl import q_learning as tabular
from course_lib.rl.q_learning import q_learning_target, q_update


@dataclass(frozen=True)
class Config:
    """Settings of planning; those of acting and learning are ``q_learning.Config``."""

    planning_steps: int = 5  # imagined updates per real step: 0 (Q-learning) to 50

    def __post_init__(self) -> None:
        limits.check(self, not_negative="planning_steps")


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
    q: np.ndarray, env: gymnasium.Env, settings: tabular.Config, config: Config, seed: int
) -> Iterator[dict[str, float]]:
    """Train ``q`` (S, A) in place; yield metrics every ``settings.report_every`` real steps.

    With ``planning_steps`` 0 this is Q-learning, step for step. Metrics as ``q_learning``.
    """
    model: Model = {}
    tried: list[tuple[int, int]] = []  # the keys of the model, to draw from
    # A stream of its own: with and without planning, the agent explores by the same numbers.
    rng = np.random.default_rng((seed, 3))

    def learn(state, action, reward, next_state, terminated, next_action, alpha, _):
        target = q_learning_target(reward, terminated, q[next_state], next_action, settings.gamma)
        error = tabular.move(q, state, action, target, alpha)
        if config.planning_steps == 0:
            return error
        if (state, action) not in model:
            tried.append((state, action))
        model[state, action] = Memory(float(reward), int(next_state), bool(terminated))
        pairs = [tried[i] for i in rng.integers(len(tried), size=config.planning_steps)]
        q[:] = dyna_update(q, model, pairs, alpha, settings.gamma)
        return error

    return tabular.act_and_learn(lambda state: q[state], learn, q.shape, env, settings, seed)
