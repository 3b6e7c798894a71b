"""Exercises of lesson 01: the Bellman backup, exploration, and how a table learns from a step."""

from __future__ import annotations

import numpy as np

from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.lessons.q_learning import build
from course_lib.rl import q_learning as tabular

# --- One step of looking ahead -----------------------------------------------------------------


def _backup_cases(rng: np.random.Generator) -> list[Case]:
    # State 0: stay for 1, or flip a coin for 2. State 1: end for 5, or go back to 0 for nothing.
    two = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 0.0], [1.0, 0.0]]])
    paid, worth = np.array([[1.0, 2.0], [5.0, 0.0]]), np.array([10.0, 20.0])
    by_hand = np.array([[1 + 0.5 * 10, 2 + 0.5 * 15], [5.0, 0.5 * 10]])
    transitions = rng.dirichlet(np.ones(3), size=(3, 2))
    transitions[2, 1] = 0.0  # this move ends the episode,
    transitions[0, 1] *= 0.5  # this one half of the time
    rewards, values = rng.normal(size=(3, 2)), rng.normal(size=3)
    values[1] = -1 - abs(values[1])
    gamma = float(rng.uniform(0.5, 0.95))
    expected = rewards.copy()
    for s, a, t in np.ndindex(3, 2, 3):
        expected[s, a] += gamma * transitions[s, a, t] * values[t]
    maybe = np.array([[[0.5, 0.0]], [[0.0, 1.0]]])  # state 0 ends half of the time, 1 never does
    return [
        Case("two states by hand", (two, paid, worth, 0.5), by_hand),
        Case(
            "a move that may end the episode",
            (maybe, np.array([[4.0], [1.0]]), worth, 0.5),
            np.array([[4 + 0.5 * 5], [1 + 0.5 * 20]]),
        ),
        Case("gamma 0 sees the reward only", (two, paid, worth, 0.0), paid.copy()),
        Case("a random world", (transitions, rewards, values, gamma), expected),
    ]


bellman_backup = Exercise(
    reference=tabular.bellman_backup,
    cases=_backup_cases,
    edits="""
    forgets the discount: `gamma * transitions` becomes `transitions`. You added what comes next in
        full. It is one step away, so it counts `gamma` times.

    discounts the reward: `rewards + gamma * transitions @ values` becomes
        `gamma * (rewards + transitions @ values)`. You discounted the reward as well. It is paid
        now, so it counts in full; only the value of the next state is discounted.

    stays where it is: `transitions @ values` becomes `values[:, None]`. You used the value of the
        state that the move *starts* from. Average the values of the states that it may *lead to*,
        weighted by `transitions`.

    hopes for the best: `transitions @ values` becomes
        `np.where(transitions > 0, values, -np.inf).max(axis=2, initial=0)`. You took the best state
        that the move may lead to. The ice decides where you land: average over the possible states,
        weighted by their chances.

    divides by the chances: `transitions @ values` becomes
        `(transitions @ values) / np.maximum(transitions.sum(axis=2), 1e-9)`. You divided by the sum
        of the chances, as `np.average` does. Where a move may end the episode they add up to less
        than 1, and the rest is a future worth nothing. Do not divide.

    weights the reward: `rewards + gamma * transitions @ values` becomes
        `(transitions * (rewards[:, :, None] + gamma * values)).sum(axis=2)`. You multiplied the
        reward by the chances, too. Where a move may end the episode they add up to less than 1, and
        a part of the reward gets lost. Add `rewards` outside the sum.

    maximises too early: `rewards + gamma * transitions @ values` becomes
        `(rewards + gamma * transitions @ values).max(axis=1)`. You already took the best action:
        your answer has one number per state. Return one per state *and* action, shape (S, A); the
        maximum comes afterwards.
    """,
    hints=(
        "For one state and action: the reward, plus `gamma` times the average of `values` over "
        "the next states, weighted by their chances `transitions[s, a]`.",
        "`transitions @ values` computes that average for all states and actions at once: it "
        "sums over the last axis and gives shape (S, A).",
        "`return rewards + gamma * transitions @ values`",
    ),
)


# --- Which action to take ----------------------------------------------------------------------


def _policy_cases(rng: np.random.Generator) -> list[Case]:
    hand = [
        ("one best action", [1.0, 3.0, 2.0, 0.0], 0.2, [0.05, 0.85, 0.05, 0.05]),
        ("no exploring", [1.0, 3.0], 0.0, [0.0, 1.0]),
        ("only exploring", [1.0, 3.0], 1.0, [0.5, 0.5]),
        ("nothing known yet", [0.0] * 4, 0.1, [0.25] * 4),
        ("two equally good", [7.0, 7.0, 0.0], 0.3, [0.45, 0.45, 0.1]),
        ("all values negative", [-9.0, -1.0], 0.4, [0.2, 0.8]),
    ]
    q, epsilon = rng.normal(size=5).tolist(), float(rng.uniform(0.1, 0.6))
    chances = [epsilon / 5 + (1 - epsilon if value == max(q) else 0) for value in q]
    return [
        Case(name, (np.array(row), share), np.array(expected))
        for name, row, share, expected in [*hand, ("random values", q, epsilon, chances)]
    ]


def _explores_among_the_others(q: np.ndarray, epsilon: float) -> np.ndarray:
    best = np.eye(len(q))[q.argmax()]
    return (1 - epsilon) * best + epsilon * (1 - best) / (len(q) - 1)


def _explores_among_the_others_that_are_worse(q: np.ndarray, epsilon: float) -> np.ndarray:
    best = q == q.max()
    others = (1 - best) / max(1, len(q) - best.sum())
    return (1 - epsilon) * best / best.sum() + epsilon * others


epsilon_greedy = Exercise(
    reference=tabular.epsilon_greedy,
    cases=_policy_cases,
    edits="""
    takes the first of several best: `q == q.max(axis=-1, keepdims=True)` becomes
        `np.eye(q.shape[-1])[q.argmax(axis=-1)]`. Of several equally good actions you prefer the
        first. In a table of zeros that is always the same one, and the agent hardly moves. Let the
        best ones share.

    does not share among the best: ` / best.sum(axis=-1, keepdims=True)` goes. Your chances add up
        to more than 1 when several actions are equally good: each of them gets the whole
        `1 - epsilon`. Divide it by their number.

    swaps epsilon: `epsilon / q.shape[-1] + (1 - epsilon) *` becomes
        `(1 - epsilon) / q.shape[-1] + epsilon *`. You explore with chance `1 - epsilon`. Epsilon is
        the chance of a *random* action.

    leaves the best out: `epsilon / q.shape[-1] + (1 - epsilon) * best / best.sum(axis=-1,
        keepdims=True)` becomes
        `np.where(best, (1 - epsilon) / best.sum(), epsilon / q.shape[-1])`. Your chances add up to
        less than 1. A random action may be the best one as well: each action gets `epsilon / A`,
        and the best ones get their share of `1 - epsilon` on top.

    softmax: `best / best.sum(axis=-1, keepdims=True)` becomes `np.exp(q) / np.exp(q).sum()`. You
        gave the other actions a share by softmax. Epsilon-greedy gives `1 - epsilon` to the best
        action alone, however close the second is.

    never explores: `epsilon / q.shape[-1] + (1 - epsilon) *` goes. Your policy always takes the
        best action it knows, so it never finds a better one. Give every action `epsilon / A`.
    """,
    mistakes=(
        Mistake(
            "explores among the others",
            _explores_among_the_others,
            "You share epsilon among the *other* actions. A random action is any action, the best "
            "one included: each gets `epsilon / A`.",
        ),
        Mistake(
            "explores among the others, and lets the best share",
            _explores_among_the_others_that_are_worse,
            "The best ones share, as they should. But you give epsilon to the *other* actions. A "
            "random action is any action, the best included: each gets `epsilon / A`.",
        ),
    ),
    hints=(
        "Two parts. With chance `epsilon`: any action, all alike, so `epsilon / A` for each. With "
        "chance `1 - epsilon`: the best action.",
        "`best = q == q.max()` marks the best actions, and `best / best.sum()` lets them share.",
        "`return epsilon / len(q) + (1 - epsilon) * best / best.sum()`",
    ),
)


# --- How far to move ---------------------------------------------------------------------------


def _update_cases(rng: np.random.Generator) -> list[Case]:
    # Ground truth as a weighted mean, computed the other way round.
    value, target, alpha = float(rng.normal()), float(rng.normal()), float(rng.uniform(0.1, 0.4))
    return [
        Case("a quarter of the way up", (2.0, 10.0, 0.25), 4.0),
        Case("half of the way down", (10.0, 2.0, 0.5), 6.0),
        Case("the whole way", (2.0, 10.0, 1.0), 10.0),
        Case("no step at all", (2.0, 10.0, 0.0), 2.0),
        Case("values below zero", (-4.0, -8.0, 0.25), -5.0),
        Case("random numbers", (value, target, alpha), (1 - alpha) * value + alpha * target),
    ]


q_update = Exercise(
    reference=tabular.q_update,
    cases=_update_cases,
    edits="""
    jumps to the target: `value + alpha * (target - value)` becomes `target`. You replaced the value
        by the target. One target is one lucky or unlucky try: go the fraction `alpha` of the way.

    adds the target: `(target - value)` becomes `target`. You added the target itself. Then the
        value grows for ever, even when it is right. Add the *error*, `target - value`.

    returns the step: `value + alpha * (target - value)` becomes `alpha * (target - value)`. That is
        how far the value moves, not where it arrives: add the step to the old `value`.

    moves away: `value + alpha` becomes `value - alpha`. Your value moves away from the target: look
        at the sign of the error.

    swaps alpha: `value + alpha * (target - value)` becomes `alpha * value + (1 - alpha) * target`.
        You keep the fraction `alpha` of the old value. It is the other way round: `alpha` is how
        far you *move*.
    """,
    hints=(
        "How wrong is the value? The error is `target - value`.",
        "Move by the fraction `alpha` of the error.",
        "`return value + alpha * (target - value)`",
    ),
)


# --- What to aim at ----------------------------------------------------------------------------


def _one_step_cases(rng: np.random.Generator, follow: bool) -> list[Case]:
    """Cases for both targets; `follow` says whether the action taken next counts, or the best."""
    row, below = np.array([1.0, 5.0, 3.0, -2.0]), np.array([-4.0, -8.0, -7.0])
    drawn = rng.permutation([*rng.normal(size=3).tolist(), 2.0 + rng.random()])
    action = int(drawn.argmax() + rng.integers(1, 4)) % 4  # any but the best
    reward, gamma = float(rng.normal()), float(rng.uniform(0.5, 0.95))
    future = drawn.tolist()[action] if follow else sorted(drawn.tolist())[-1]
    return [
        Case("the episode goes on", (2.0, False, row, 2, 0.5), 2 + 0.5 * (3.0 if follow else 5.0)),
        Case("the episode ended", (2.0, True, row, 2, 0.5), 2.0),
        Case("values below zero", (-1.0, False, below, 1, 1.0), -1 - (8.0 if follow else 4.0)),
        Case("gamma 0", (2.0, False, row, 3, 0.0), 2.0),
        Case("a random step", (reward, False, drawn, action, gamma), reward + gamma * future),
        Case("a random last step", (reward, True, drawn, action, gamma), reward),
    ]


q_learning_target = Exercise(
    reference=tabular.q_learning_target,
    cases=lambda rng: _one_step_cases(rng, follow=False),
    edits="""
    bootstraps through termination: ` * (1 - terminated)` goes. You added a future after the end.
        Nothing follows a terminated episode: multiply the future by `1 - terminated`.

    follows the policy: `next_q.max()` becomes `next_q[next_action]`. That is SARSA's target: the
        value of the action that is taken next, random ones included. Q-learning asks what the
        *best* action would be worth.

    averages the actions: `next_q.max()` becomes `next_q.mean()`. You averaged over the actions, as
        if the next one were random. Take the maximum.

    forgets the discount: `gamma * ` goes. The best value of the next state is one step away: it
        counts `gamma` times.

    takes the best action's number: `next_q.max()` becomes `next_q.argmax()`. `argmax` gives the
        number of the best action. What it is worth is `next_q.max()`.

    discounts the reward: `reward + gamma * (1 - terminated) * next_q.max()` becomes
        `gamma * (reward + (1 - terminated) * next_q.max())`. You discounted the reward as well. It
        is paid now, so it counts in full.

    loses the last reward: `reward + gamma * (1 - terminated) * next_q.max()` becomes
        `(1 - terminated) * (reward + gamma * next_q.max())`. At the end you lost the reward itself.
        Only the *future* is worth nothing there; the reward of the last step counts, and it is
        often the only one there is.
    """,
    hints=(
        "The target is the reward plus the discounted value of the next state.",
        "The next state is worth what its best action is worth, `next_q.max()`, and nothing if "
        "the episode terminated.",
        "`return reward + gamma * (1 - terminated) * next_q.max()`",
    ),
)

learn_from_steps = build.learn_from_steps

sarsa_target = Exercise(
    reference=tabular.sarsa_target,
    cases=lambda rng: _one_step_cases(rng, follow=True),
    edits="""
    bootstraps through termination: ` * (1 - terminated)` goes. You added a future after the end.
        The next action is never taken when the episode terminated: multiply its value by
        `1 - terminated`.

    takes the best action: `next_q[next_action]` becomes `next_q.max()`. That is Q-learning's
        target: it assumes the best action. SARSA uses the action that is really taken next,
        `next_action`.

    averages the actions: `next_q[next_action]` becomes `next_q.mean()`. You averaged over all
        actions. SARSA looks up one: `next_action`, the one taken.

    forgets the discount: `gamma * ` goes. The next action is one step away: its value counts
        `gamma` times.

    loses the last reward: `reward + gamma * (1 - terminated) * next_q[next_action]` becomes
        `(1 - terminated) * (reward + gamma * next_q[next_action])`. At the end you lost the reward
        itself. Only the future is worth nothing there.

    adds the action's number: `next_q[next_action]` becomes `next_action`. `next_action` is the
        number of an action, not its value. Look the value up in `next_q`.
    """,
    hints=(
        "It differs from Q-learning's target in one place only.",
        "The next state is worth what the action taken there is worth: `next_q[next_action]`.",
        "`return reward + gamma * (1 - terminated) * next_q[next_action]`",
    ),
)
