"""What lesson 01 asks to build: the whole of Q-learning, judged by what it does in probe worlds."""

from __future__ import annotations

import copy

import gymnasium
import numpy as np

from course_lib.classroom.check import Case, Exercise
from course_lib.rl.q_learning import epsilon_greedy
from course_lib.worlds.tables import TableWorld


def _learn_from_steps(
    env: gymnasium.Env,
    steps: int,
    gamma: float,
    alpha: float,
    alpha_decay: float,
    epsilon: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the table Q (S, A) that Q-learning has after so many steps; it begins with zeros.

    `rng` draws the actions; the world's own chance is seeded by whoever made it. The n-th update of
    a pair (state, action), counted from 0, moves it by alpha / (1 + alpha_decay * n) of the way to
    the target. Who wins among equally good actions is left open.
    """
    q = np.zeros((env.observation_space.n, env.action_space.n))
    visits = np.zeros_like(q)
    state, _ = env.reset()
    for _ in range(steps):
        action = rng.choice(q.shape[1], p=epsilon_greedy(q[state], epsilon))
        next_state, reward, terminated, truncated, _ = env.step(int(action))
        future = 0.0 if terminated else q[next_state].max()
        step_size = alpha / (1 + alpha_decay * visits[state, action])
        q[state, action] += step_size * (reward + gamma * future - q[state, action])
        visits[state, action] += 1
        state = next_state
        if terminated or truncated:
            state, _ = env.reset()
    return q


# What a probe sets, if it says nothing else: a full step to the target, half of the actions random.
SETTINGS = {"gamma": 1.0, "alpha": 1.0, "alpha_decay": 0.0, "epsilon": 0.5}


def _probes(rng: np.random.Generator) -> list[Case]:
    """Worlds in the order in which they are tried: each adds one thing that can go wrong."""
    pays, costs = float(rng.uniform(2, 4)), float(rng.uniform(-9, -5))
    over = [(1.0, 1, 0.0, True)]  # the move of a state in which no episode begins
    one_way = TableWorld([[(1.0, 1, pays, True)]], [over])
    corridor = TableWorld([[(1.0, 1, 1.0, False)]], [[(1.0, 2, pays, True)]], [over])
    leads_back = TableWorld([[(1.0, 0, pays, True)]])
    loop = TableWorld([[(1.0, 1, 0.0, False)]], [[(1.0, 0, pays, False)]])
    two_steps = TableWorld([[(1.0, 1, 0.0, False)]], [[(1.0, 2, pays, True)]], [over])
    clock = TableWorld([[(1.0, 1, 0.0, False)]], [[(1.0, 1, 1.0, False)]], clock=5)
    stopped = TableWorld([[(1.0, 1, 0.0, False)]], [[(1.0, 1, pays, False)]], clock=2)
    chances = [(0.5, 1, pays, True), (0.5, 1, 0.0, True)]
    coin = TableWorld([chances], [over], seed=int(rng.integers(2**31)))
    two_ways = TableWorld([[(1.0, 1, pays, True)], [(1.0, 1, 2 * pays, True)]], [over, over])
    to_the_edge = [(1.0, 1, 0.0, False)]
    edge = TableWorld([to_the_edge] * 2, [[(1.0, 1, pays, True)], [(1.0, 1, costs, True)]])
    bad = TableWorld([[(1.0, 1, 1.0, True)], [(1.0, 1, -1.0, True)]], [over, over])
    toll = TableWorld([[(1.0, 1, 0.0, False)]], [[(1.0, 2, costs, True)]], [over])
    tried = 1 - 0.993**150  # of 3,000 steps 300 are random, half of those the bad action
    half, rarely = {"alpha": 0.5}, {"alpha": 0.007, "epsilon": 0.1, "atol": 0.18}
    slower, slowly = {"alpha": 0.5, "alpha_decay": 1.0}, {"alpha": 0.5, "alpha_decay": 0.5}
    rows = [
        # name, the mistake that it isolates, world, steps, settings, the right table
        ("one step", "misses the reward of a step", one_way, 1, {}, [[pays], [0]]),
        ("half of the way", "jumps to the target", one_way, 1, half, [[pays / 2], [0]]),
        ("round and round", "never looks ahead", loop, 3, {}, [[pays], [pays]]),
        ("two episodes", "goes on after an end", two_steps, 3, {}, [[pays], [pays], [0]]),
        ("the same step twice", "adds up targets", one_way, 2, half, [[0.75 * pays], [0]]),
        ("a pair three times", "never lowers alpha", one_way, 3, slowly, [[0.75 * pays], [0]]),
        (
            *("two pairs, once each", "counts all steps together", corridor, 2),
            *(slower, [[0.5], [pays / 2], [0]]),
        ),
        (
            *("a reward that is later counts less", "forgets the discount", corridor, 20),
            *({"gamma": 0.5}, [[1 + pays / 2], [pays], [0]]),
        ),
        (
            *("an end that leads to a state of value", "bootstraps through termination"),
            *(leads_back, 20, {"gamma": 0.5}, [[pays]]),
        ),
        ("a road that ends with a toll", "hopes for zero", toll, 20, {}, [[costs], [costs], [0]]),
        ("a clock", "takes the clock for an end", clock, 60, {"gamma": 0.5}, [[1], [2]]),
        (
            *("a step at which the clock runs out", "drops the step at the clock", stopped, 60),
            *({"gamma": 0.5}, [[pays], [2 * pays]]),
        ),
        (
            *("a reward by chance", "replays the same chance", coin, 400),
            *({"alpha_decay": 1.0, "atol": 0.6}, [[pays / 2], [0]]),
        ),
        ("two ways that pay", "never explores", two_ways, 200, {}, [[pays, 2 * pays], [0, 0]]),
        (
            *("two actions, each by its own count", "counts visits of the state", two_ways, 200),
            *({"alpha_decay": 1.0}, [[pays, 2 * pays], [0, 0]]),
        ),
        ("an edge", "learns about what it does", edge, 300, half, [[pays, pays], [pays, costs]]),
        ("a bad action", "explores too often", bad, 3_000, rarely, [[1, -tried], [0, 0]]),
    ]
    cases = []
    for name, isolates, world, steps, changed, right in rows:
        settings = SETTINGS | changed
        atol = settings.pop("atol", 1e-3)
        draw = np.random.default_rng(rng.integers(2**31))
        world = copy.copy(world)
        world.most = steps
        args = (world, steps, *settings.values(), draw)
        cases.append(Case(name, args, np.array(right, float), atol=atol, isolates=isolates))
    return cases


learn_from_steps = Exercise(
    reference=_learn_from_steps,
    cases=_probes,
    seconds=8.0,  # with the five seeds of the grader 40 s, less than an exercise gets there
    edits="""
    misses the reward of a step: `+ gamma * future` becomes `* 0 + gamma * future`. A world of one
        step: a reward, then the end. With alpha 1 the entry of the state you were in and the action
        you took has to be that reward after one step. Look at which entry you write, and at what is
        left of the target when `terminated` is True: the reward alone.

    jumps to the target: `step_size * (reward` becomes `1.0 * (reward`. With alpha 0.5 one step
        moves an entry half of the way to its target. Yours goes another part of the way.

    never looks ahead: `reward + gamma * future` becomes `reward`. From the first state a step that
        pays nothing leads to a second, which pays. Gamma is 1, so the first is worth as much.
        Either your target lacks what the next state is worth, or your loop does not move on:
        `state` has to become `next_state`.

    goes on after an end: `truncated: state, _ = env.reset()` becomes `truncated: env.reset()`. The
        first episode is learned, the second is not. When an episode has ended, `reset()` returns
        the state that your next step starts from.

    adds up targets: `(reward + gamma * future - q[state, action])` becomes
        `(reward + gamma * future)`. The same step twice: the second time the entry knows half of
        the target already. Move by a part of the TD error, target - value, not of the target.

    never lowers alpha: `(1 + alpha_decay * visits[state, action])` becomes `1`. With alpha and
        decay 0.5 the updates of a pair move by 1/2, then 1/3, then 1/4 of the way:
        `alpha / (1 + alpha_decay * n)`, and n counts from 0.

    counts all steps together: `visits[state, action])` becomes `visits.sum())`. Two pairs, each met
        for the first time: both should move half of the way. n counts the updates of this very
        pair.

    forgets the discount: `gamma * future` becomes `future`. What the next state is worth lies one
        step away: it counts `gamma` times. The reward itself is paid now and counts in full.

    bootstraps through termination: `0.0 if terminated else q[next_state].max()` becomes
        `q[next_state].max()`. The episode terminates, and `next_state` is a state that has a value.
        Nothing follows an end: this value must not be in the target.

    hopes for zero: `q[next_state].max()` becomes `max(0.0, q[next_state].max())`. All that comes
        costs something, and the best of it is still below zero. Begin a maximum with the first
        value, not with 0.

    takes the clock for an end: `0.0 if terminated` becomes `0.0 if terminated or truncated`. A
        clock stops this world every five steps. Being `truncated` is no end: the world would go on,
        so the next state counts as ever. Only then call `reset()`.

    drops the step at the clock: `step_size * (reward` becomes
        `(not truncated) * step_size * (reward`. This clock runs out after two steps, and only the
        second pays. A step at which the clock runs out is a step like any other: learn from it,
        and reset afterwards.

    replays the same chance: `truncated: state, _ = env.reset()` becomes
        `truncated: state, _ = env.reset(seed=0)`. Each episode flips a coin, and on average half of
        the reward should come out. A seed in `reset` starts the world's chance anew each time, so
        all your episodes get the same flip: reset without one.

    counts visits of the state: `alpha_decay * visits[state, action]` becomes
        `alpha_decay * visits[state].sum()`. A state with two actions, and a full step at the first
        update of each. n counts the updates of the pair, state *and* action.

    never explores: `rng.choice(q.shape[1], p=epsilon_greedy(q[state], epsilon))` becomes
        `q[state].argmax()`. Two actions pay. The first that was tried looks better than the other,
        of which nothing is known yet, and with epsilon 0.5 the other has to be tried as well.

    learns about what it does: `q[next_state].max()` becomes
        `epsilon_greedy(q[next_state], epsilon) @ q[next_state]`. Beside the edge half of your
        steps are random, and some fall. Q-learning asks what the *best* next action is worth,
        whichever it takes.

    explores too often: `epsilon_greedy(q[state], epsilon)` becomes
        `epsilon_greedy(q[state], 1.0)`. One action is bad, and with epsilon 0.1 it should be taken
        in one step of twenty. How often it was taken is seen by how far its entry came, and yours
        moved too far, or not far enough: look at how you choose, and at which chance is epsilon and
        which is 1 - epsilon.
    """,
    hints=(
        "Begin with the table of zeros, a table of counts, and `state, _ = env.reset()`. Then a "
        "loop of `steps` rounds: choose an action, take it, write one entry of the table, go on.",
        "The chances of the actions are `epsilon_greedy(q[state], epsilon)`, and "
        "`rng.choice(len(chances), p=chances)` draws one. `env.step(action)` returns five things; "
        "`terminated` decides about the target, `terminated or truncated` about the reset.",
        "The target is `reward + gamma * q[next_state].max()`, or `reward` alone if `terminated`. "
        "The entry moves by `alpha / (1 + alpha_decay * visits[state, action])` of the distance; "
        "then count the visit, and let `state` be the next state, or what `reset()` returns.",
    ),
)
