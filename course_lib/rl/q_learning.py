"""Tabular reinforcement learning: exact dynamic programming, SARSA, Q-learning, Double Q-learning.

Exact: Bellman (1957); Sutton & Barto (2018), chapters 3 and 4. From samples: SARSA, Rummery &
Niranjan (1994), eq. 6.7 of Sutton & Barto; Q-learning, Watkins (1989), eq. 6.8; Double
Q-learning, van Hasselt (2010), algorithm 1. Left out: eligibility traces and planning.

Shapes: S states, A actions. A state is an integer, a value table is an array, and the agent of
this file is its table `q` (S, A). Everything is NumPy.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

import gymnasium
import numpy as np

from course_lib import limits
from course_lib.rl.episodes import EpisodeReturns


@dataclass(frozen=True)
class Config:
    """Settings shared by the three algorithms that learn from samples."""

    steps: int = 100_000  # environment steps in all
    gamma: float = 0.99  # discount per step, in [0, 1]; 0.9 to 0.999 is usual
    alpha: float = 0.5  # step size at the first visit of a pair, in (0, 1]
    alpha_decay: float = 0.0  # n-th visit uses alpha / (1 + alpha_decay * n); 0 keeps it constant
    epsilon: float = 0.1  # final chance of a random action, in [0, 1]
    epsilon_start: float = 0.1  # chance of a random action at the first step
    epsilon_steps: int = 0  # steps in which it falls from start to final, linearly
    report_every: int = 1_000  # steps between two dicts of metrics

    def __post_init__(self) -> None:
        limits.check(
            self,
            fraction="gamma alpha epsilon epsilon_start",
            not_negative="alpha_decay epsilon_steps",
            at_least_1="report_every",
        )


@dataclass(frozen=True)
class Model:
    """What an environment really does: the knowledge that dynamic programming needs.

    `transitions[s, a, t]` is the chance that action a in state s leads to t *and the episode goes
    on*. A move that ends the episode keeps its reward and has no row to go to, so the rows of
    such moves sum to less than one: the future of an ended episode is worth nothing.
    """

    transitions: np.ndarray  # (S, A, S) float64
    rewards: np.ndarray  # (S, A) float64, expected reward of the move
    start: np.ndarray  # (S,) float64, where episodes begin; sums to one


def tabular_model(env: gymnasium.Env) -> Model:
    """Read the exact model from a toy-text environment's `env.unwrapped.P`.

    Time limits are not part of it: they are a property of the exercise, not of the world.
    """
    table = env.unwrapped.P
    num_states, num_actions = env.observation_space.n, env.action_space.n
    transitions = np.zeros((num_states, num_actions, num_states))
    rewards = np.zeros((num_states, num_actions))
    for state, actions in table.items():
        for action, outcomes in actions.items():
            for chance, next_state, reward, terminated in outcomes:
                rewards[state, action] += chance * reward
                if not terminated:
                    transitions[state, action, next_state] += chance
    return Model(transitions, rewards, np.asarray(env.unwrapped.initial_state_distrib, float))


# The pure functions that the algorithms below are made of.


def bellman_backup(
    transitions: np.ndarray, rewards: np.ndarray, values: np.ndarray, gamma: float
) -> np.ndarray:
    """Return Q (S, A): reward now plus discounted value of where the move leads.

    `transitions` (S, A, S) and `rewards` (S, A) as in `Model`, `values` (S,).
    Q(s, a) = r(s, a) + gamma * sum_t p(t | s, a) V(t)   (Sutton & Barto, inside eq. 4.1)
    """
    return rewards + gamma * transitions @ values


def epsilon_greedy(q: np.ndarray, epsilon: float) -> np.ndarray:
    """Return the chance of each action, same shape as `q` (..., A); each row sums to one.

    With chance epsilon any action; otherwise the best one. Equally good actions share: always
    taking the first would stand still in a table of zeros.
    """
    best = q == q.max(axis=-1, keepdims=True)
    return epsilon / q.shape[-1] + (1 - epsilon) * best / best.sum(axis=-1, keepdims=True)


def q_update(value: float, target: float, alpha: float) -> float:
    """Move `value` by the fraction `alpha` of the way to `target`."""
    return value + alpha * (target - value)


def q_learning_target(
    reward: float, terminated: bool, next_q: np.ndarray, next_action: int, gamma: float
) -> float:
    """Return r + gamma * max_a Q(s', a): what is best from s', whatever is done there.

    `next_q` (A,) is the row of the next state. That `next_action` is ignored makes it off-policy.
    Nothing follows termination. A truncated episode would go on, so `truncated` is no argument.
    """
    return reward + gamma * (1 - terminated) * next_q.max()


def sarsa_target(
    reward: float, terminated: bool, next_q: np.ndarray, next_action: int, gamma: float
) -> float:
    """Return r + gamma * Q(s', a'), a' being the action that is really taken next."""
    return reward + gamma * (1 - terminated) * next_q[next_action]


def double_q_target(
    reward: float, terminated: bool, next_q: np.ndarray, other_next_q: np.ndarray, gamma: float
) -> float:
    """Return r + gamma * Q_other(s', argmax_a Q(s', a)): one table chooses, the other judges."""
    return reward + gamma * (1 - terminated) * other_next_q[next_q.argmax()]


# Exact dynamic programming.


def value_iteration(
    model: Model, gamma: float, epsilon: float = 0.0, tolerance: float = 1e-10
) -> np.ndarray:
    """Return the optimal Q (S, A), each entry within about `tolerance / (1 - gamma)` of exact.

    With epsilon > 0 it is the best that an epsilon-soft policy can do: one that gives every
    action at least epsilon / A. That is what SARSA with a fixed epsilon converges to.
    """
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma must lie in [0, 1) for value iteration to converge, got {gamma}")
    values = np.zeros(len(model.rewards))
    while True:
        q = bellman_backup(model.transitions, model.rewards, values, gamma)
        new = (1 - epsilon) * q.max(axis=1) + epsilon * q.mean(axis=1)
        if np.abs(new - values).max() < tolerance:
            return q
        values = new


def policy_evaluation(model: Model, policy: np.ndarray, gamma: float) -> np.ndarray:
    """Return the exact values (S,) of `policy` (S, A), by solving V = r_pi + gamma P_pi V."""
    if not np.allclose(policy.sum(axis=1), 1):
        raise ValueError("each row of policy must sum to 1")
    rewards = (policy * model.rewards).sum(axis=1)
    transitions = np.einsum("sa,sat->st", policy, model.transitions)
    return np.linalg.solve(np.eye(len(rewards)) - gamma * transitions, rewards)


def start_value(model: Model, policy: np.ndarray, gamma: float) -> float:
    """Return the expected discounted return of an episode: the values averaged over the start."""
    return float(model.start @ policy_evaluation(model, policy, gamma))


# Learning from samples. `q` is updated in place; what is yielded are metrics.


def q_learning(
    q: np.ndarray, env: gymnasium.Env, config: Config, seed: int
) -> Iterator[dict[str, float]]:
    """Train `q` (S, A) in place; yield metrics every `config.report_every` steps.

    Metrics: "steps", "return" (mean undiscounted return of the last 100 ended episodes, nan before
    the first), "epsilon", "td_error" (mean |target - value| since the last report).
    """

    def learn(state, action, reward, next_state, terminated, next_action, alpha, rng):
        target = q_learning_target(reward, terminated, q[next_state], next_action, config.gamma)
        return move(q, state, action, target, alpha)

    return act_and_learn(lambda state: q[state], learn, q.shape, env, config, seed)


def sarsa(
    q: np.ndarray, env: gymnasium.Env, config: Config, seed: int
) -> Iterator[dict[str, float]]:
    """Like `q_learning` with another target: the value of the action that is taken next."""

    def learn(state, action, reward, next_state, terminated, next_action, alpha, rng):
        target = sarsa_target(reward, terminated, q[next_state], next_action, config.gamma)
        return move(q, state, action, target, alpha)

    return act_and_learn(lambda state: q[state], learn, q.shape, env, config, seed)


def double_q_learning(
    q: np.ndarray, env: gymnasium.Env, config: Config, seed: int
) -> Iterator[dict[str, float]]:
    """Train two tables `q` (2, S, A) in place; it acts on their mean. Metrics as `q_learning`."""

    def learn(state, action, reward, next_state, terminated, next_action, alpha, rng):
        one, other = q if rng.random() < 0.5 else q[::-1]
        target = double_q_target(
            reward, terminated, one[next_state], other[next_state], config.gamma
        )
        return move(one, state, action, target, alpha)

    return act_and_learn(lambda state: q[:, state].mean(0), learn, q.shape[1:], env, config, seed)


def move(q: np.ndarray, state: int, action: int, target: float, alpha: float) -> float:
    """Move one entry of `q` (S, A) towards `target`; return the TD error, `target - value`."""
    error = target - q[state, action]
    q[state, action] = q_update(q[state, action], target, alpha)
    return error


def act_and_learn(
    row: Callable[[int], np.ndarray],
    learn: Callable[..., float],
    shape: tuple[int, int],
    env: gymnasium.Env,
    config: Config,
    seed: int,
) -> Iterator[dict[str, float]]:
    """Act, learn, report: the loop that the algorithms share.

    `row(state)` gives the values (A,) to act on; `learn(state, action, reward, next_state,
    terminated, next_action, alpha, rng)` changes the table of `shape` (S, A) and returns its TD
    error. The next action is chosen before the update, because SARSA's target needs it.
    """
    spaces = env.observation_space, env.action_space
    if any(space.start for space in spaces):
        raise ValueError(f"a table counts states and actions from 0, got {spaces}: wrap `env`")
    if shape != (needed := tuple(int(space.n) for space in spaces)):
        raise ValueError(f"this environment needs a table {needed}, got {shape}")
    # Not `seed` alone: the environment draws from that stream, and chance must not see our choices.
    rng = np.random.default_rng((seed, 1))
    visits, episodes, errors = np.zeros(shape, int), EpisodeReturns(), []

    def act(state: int, epsilon: float) -> int:
        chances = accumulate(epsilon_greedy(row(state), epsilon).tolist())
        chosen = rng.random()
        return next((a for a, upto in enumerate(chances) if chosen < upto), shape[1] - 1)

    epsilon = config.epsilon_start
    state, _ = env.reset(seed=seed)
    action = act(state, epsilon)
    for step in range(1, config.steps + 1):
        fallen = min(1.0, step / max(1, config.epsilon_steps))
        epsilon = config.epsilon_start + fallen * (config.epsilon - config.epsilon_start)
        next_state, reward, terminated, truncated, _ = env.step(action)
        next_action = act(next_state, epsilon)
        alpha = config.alpha / (1 + config.alpha_decay * visits[state, action])
        visits[state, action] += 1
        step_taken = (state, action, reward, next_state, terminated, next_action)
        errors.append(learn(*step_taken, alpha, rng))
        episodes.add(reward, terminated or truncated)
        state, action = next_state, next_action
        if terminated or truncated:
            state, _ = env.reset()
            action = act(state, epsilon)
        if step % config.report_every == 0:
            yield {
                "steps": float(step),
                "return": episodes.mean,
                "epsilon": epsilon,
                "td_error": float(np.mean(np.abs(errors))),
            }
            errors.clear()
