"""Offline learners as tables: what each can make of a record, without a network in between.

*Imitation* counts: which action was chosen here (cloning), or which by those who came away with
the most (the decision transformer's question, Chen et al., arXiv 2106.01345, put to a table).
*Dynamic programming* (Sutton & Barto 2018, chapter 4, on the record's own frequencies) carries a
reward back through every pair of state and action that was ever seen, so it can join the beginning
of one walk to the end of another. ``one_step`` stands between: the values of the recorded player,
on whom one greedy step improves (Brandfonbrener et al., arXiv 2106.08909).
``action_given_return`` is what asking for a return amounts to.

Left out: smoothing of rare counts, and pessimism about them. Everything is NumPy. Observations are
one-hot, so ``S`` states, ``A`` actions; ``q_learning.epsilon_greedy(q, 0)`` makes values a policy.
"""

from collections.abc import Callable

import numpy as np

from course_lib.rl import dataset
from course_lib.rl.dataset import Dataset
from course_lib.rl.q_learning import bellman_backup


def cloned_policy(data: Dataset) -> np.ndarray:
    """How often each action was chosen in each state, (S, A); rows sum to 1.

    A state that was never seen gives every action the same chance.
    """
    return _shares(_counts(data, np.ones(len(data), bool)))


def return_policy(data: Dataset) -> np.ndarray:
    """P(action | state, largest return seen there), (S, A): ask each state for its best.

    Of each state only those rows count from which most was still to come, undiscounted. Luck and
    skill look alike to it: one lucky row outvotes all others. Unseen states: as ``cloned_policy``.
    """
    states = _states(data)
    to_go = dataset.returns_to_go(data.rewards, data.ended)
    largest = np.full(data.obs_shape[0], -np.inf)
    np.maximum.at(largest, states, to_go)
    return _shares(_counts(data, np.isclose(to_go, largest[states])))


def dynamic_programming(data: Dataset, gamma: float) -> np.ndarray:
    """Q (S, A) of the best policy that keeps to recorded pairs; -inf for pairs never seen.

    Rewards and successors are the record's averages; the value of a state is the largest among
    the actions *seen* there. An unseen action cannot be overestimated, since nobody asks for it.
    Rows cut off by the clock are left out: where they led was not kept.
    """
    return _solve(data, gamma, lambda q, counts: np.where(counts > 0, q, -np.inf).max(axis=1))


def one_step(data: Dataset, gamma: float) -> np.ndarray:
    """Q (S, A) of the recorded player itself, -inf for pairs never seen.

    As ``dynamic_programming``, but a state is worth the average over the actions chosen there.
    """
    return _solve(data, gamma, lambda q, counts: (_shares(counts) * q).sum(axis=1))


def action_given_return(prior: np.ndarray, likelihood: np.ndarray) -> np.ndarray:
    """P(action | return), (A,): which action was taken, if this return came of it? Bayes' rule.

    ``prior`` (A,) is the chance that the recorded player chose each action, ``likelihood`` (A,)
    the chance of the asked return after each action. Where no action can give that return, the
    question says nothing and the answer is the prior.
    """
    joint = prior * likelihood
    total = joint.sum()
    return joint / total if total > 0 else prior


def player(policy: np.ndarray, seed: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    """A function from one-hot observations (N, S) to actions (N,), drawn from ``policy`` (S, A)."""
    rng = np.random.default_rng((seed, 1))
    up_to = policy.cumsum(axis=1)
    up_to /= up_to[:, -1:]  # rounding may leave the sum a little below the largest draw

    def act(obs: np.ndarray) -> np.ndarray:
        states = np.asarray(obs).argmax(axis=1)
        return (rng.random((len(states), 1)) < up_to[states]).argmax(axis=1)

    return act


def _states(data: Dataset) -> np.ndarray:
    """The number of each row's state, (rows,)."""
    obs = data.obs(np.arange(len(data))).numpy()
    if obs.ndim != 2 or not ((obs == 1).sum(axis=1) == 1).all() or not (obs.sum(axis=1) == 1).all():
        raise ValueError(
            "a table needs one-hot observations (S,), a single 1 among zeros: these, of shape "
            f"{data.obs_shape}, are not"
        )
    return obs.argmax(axis=1)


def _counts(data: Dataset, keep: np.ndarray) -> np.ndarray:
    """How often each pair occurs among the rows to ``keep`` (rows,), as (S, A) floats."""
    counts = np.zeros((data.obs_shape[0], data.num_actions))
    np.add.at(counts, (_states(data)[keep], data.actions[keep]), 1.0)
    return counts


def _shares(counts: np.ndarray) -> np.ndarray:
    """Counts (S, A) as chances; equal ones in a row of zeros."""
    totals = counts.sum(axis=1, keepdims=True)
    return np.where(totals > 0, counts / np.maximum(totals, 1), 1 / counts.shape[1])


def _solve(
    data: Dataset, gamma: float, value: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Sweep Q (S, A) on the record's averages until it stands still; ``value`` makes V of Q."""
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma must lie in [0, 1) for the sweeps to settle, got {gamma}")
    known = data.terminated | ~data.truncated
    counts, states = _counts(data, known), _states(data)
    rewards, transitions = np.zeros_like(counts), np.zeros((*counts.shape, len(counts)))
    pair = states[known], data.actions[known]
    np.add.at(rewards, pair, data.rewards[known])
    next_states = states[data.successors(np.flatnonzero(known))]
    np.add.at(transitions, (*pair, next_states), 1.0 - data.terminated[known])
    seen = np.maximum(counts, 1)
    rewards, transitions = rewards / seen, transitions / seen[..., None]

    visited = counts.sum(axis=1) > 0  # a state seen at a cut-off row only is worth 0
    values = np.zeros(len(counts))
    while True:
        q = bellman_backup(transitions, rewards, values, gamma)
        new = np.where(visited, value(q, counts), 0.0)
        if np.abs(new - values).max() < 1e-10:
            return np.where(counts > 0, q, -np.inf)
        values = new
