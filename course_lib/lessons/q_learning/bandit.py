"""A multi-armed bandit: one state, a few actions, and what it costs to find out which pays best.

Each action a pays 1 with chance `pays[a]`, else 0. Regret: by how much the expected rewards of the
actions taken fall short of always taking the best (Lai & Robbins 1985). R repetitions are played
side by side; A actions, T pulls.
"""

from collections.abc import Callable, Sequence

import numpy as np

from course_lib.rl import q_learning as tabular

# Maps the wins and the counts of every action so far, both (R, A), and a random generator to the
# next action of each repetition, (R,). Every action has been tried once, so no count is 0.
Rule = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def epsilon_greedy(epsilon: float) -> Rule:
    """With chance `epsilon` any action, otherwise the one with the best mean so far."""

    def rule(wins, counts, rng):
        upto = tabular.epsilon_greedy(wins / counts, epsilon).cumsum(axis=1)
        return (rng.random((len(upto), 1)) > upto[:, :-1]).sum(axis=1)

    return rule


def ucb(c: float) -> Rule:
    """The largest upper bound: mean + c * sqrt(ln t / count). Auer et al. (2002): c = sqrt(2)."""

    def rule(wins, counts, rng):
        bonus = np.sqrt(np.log(counts.sum(axis=1, keepdims=True)) / counts)
        return (wins / counts + c * bonus).argmax(axis=1)

    return rule


def thompson(wins: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The largest of one draw per action from Beta(1 + wins, 1 + losses), its posterior."""
    return rng.beta(1 + wins, 1 + counts - wins).argmax(axis=1)


def regret(
    rule: Rule, pays: Sequence[float], pulls: int, repetitions: int = 200, seed: int = 0
) -> np.ndarray:
    """Pull `pulls` times in each of `repetitions` bandits; return the regret so far, (R, T)."""
    chances, rng = np.asarray(pays, float), np.random.default_rng(seed)
    wins, counts = np.zeros((2, repetitions, len(chances)))
    rows, lost = np.arange(repetitions), np.zeros((repetitions, pulls))
    for pull in range(pulls):
        untried = pull < len(chances)
        actions = np.full(repetitions, pull) if untried else rule(wins, counts, rng)
        wins[rows, actions] += rng.random(repetitions) < chances[actions]
        counts[rows, actions] += 1
        lost[:, pull] = chances.max() - chances[actions]
    return lost.cumsum(axis=1)
