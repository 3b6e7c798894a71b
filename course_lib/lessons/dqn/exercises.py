"""Exercises of lesson 02: exploration, replay, and the targets that a Q-network learns from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.lessons.dqn import build
from course_lib.rl import dqn, replay, returns

# --- How often to explore ----------------------------------------------------------------------


def _epsilon_cases(rng: np.random.Generator) -> list[Case]:
    # Ground truth by walking down the line one step at a time.
    start, end = float(rng.uniform(0.5, 1.0)), float(rng.uniform(0.01, 0.2))
    decay_steps = int(rng.integers(20, 60))
    step = int(rng.integers(1, decay_steps))
    value = start
    for _ in range(step):
        value -= (start - end) / decay_steps
    return [
        Case("at the first step", (0, 1.0, 0.1, 100), 1.0),
        Case("half way down", (50, 1.0, 0.1, 100), 0.55),
        Case("where the decay ends", (100, 1.0, 0.1, 100), 0.1),
        Case("long after the decay", (1000, 1.0, 0.1, 100), 0.1),
        Case("a quarter of a short decay", (2, 0.8, 0.0, 8), 0.6),
        Case("a random schedule", (step, start, end, decay_steps), value),
    ]


epsilon_schedule = Exercise(
    reference=dqn.epsilon_schedule,
    cases=_epsilon_cases,
    edits="""
    never stops falling: `min(step / decay_steps, 1.0)` becomes `step / decay_steps`. After
        `decay_steps` your epsilon goes on falling, below `end` and below zero. Cap the fraction
        `step / decay_steps` at 1.

    swaps start and end: `start + (end - start)` becomes `end + (start - end)`. Your schedule begins
        at `end` and climbs to `start`. Exploration is needed at first, when nothing is known yet.

    falls towards zero: `start + (end - start) * min(step / decay_steps, 1.0)` becomes
        `max(end, start * (1 - step / decay_steps))`. Your line aims at zero and is cut off at
        `end`, so it arrives too early. The line runs from `start` to `end`: the distance to cover
        is `end - start`.

    falls by a factor: `start + (end - start) * min(step / decay_steps, 1.0)` becomes
        `start * (end / start) ** min(step / decay_steps, 1.0)`. You multiply epsilon by the same
        factor at each step, a curve. It should go down in a straight line: subtract the same amount
        at each step.

    jumps: `min(step / decay_steps, 1.0)` becomes `(step >= decay_steps)`. Your epsilon jumps from
        `start` to `end`. It should go down in a straight line.
    """,
    hints=(
        "How far along is the decay? `step / decay_steps` is 0 at first and 1 at its end.",
        "Keep that fraction from passing 1: `min(step / decay_steps, 1.0)`.",
        "`start + fraction * (end - start)`",
    ),
)


# --- Where the next transitions go in a ring ---------------------------------------------------


def _ring_cases(rng: np.random.Generator) -> list[Case]:
    # Ground truth by moving a writing hand one slot at a time.
    capacity, count = int(rng.integers(4, 9)), int(rng.integers(2, 4))
    written = int(rng.integers(capacity - 1, 3 * capacity))
    hand, filled, rows = 0, 0, []
    for i in range(written + count):
        if i >= written:
            rows.append(hand)
        hand = hand + 1 if hand + 1 < capacity else 0
        filled = filled + 1 if filled < capacity else capacity
    return [
        Case("an empty ring", (0, 3, 5), (np.array([0, 1, 2]), 3)),
        Case("filling it up", (3, 2, 5), (np.array([3, 4]), 5)),
        Case("all but one row", (2, 2, 5), (np.array([2, 3]), 4)),
        Case("around the corner", (4, 3, 5), (np.array([4, 0, 1]), 5)),
        Case("the third time around", (13, 2, 5), (np.array([3, 4]), 5)),
        Case("a random ring", (written, count, capacity), (np.array(rows), filled)),
    ]


def _restarts(written: int, count: int, capacity: int) -> tuple[np.ndarray, int]:
    start = written % capacity
    if start + count > capacity:
        start = 0
    return start + np.arange(count), min(written + count, capacity)


ring_indices = Exercise(
    reference=replay.ring_indices,
    cases=_ring_cases,
    edits="""
    runs off the end: ` % capacity` goes. Your rows run past the end of the ring. After the last row
        comes row 0: take the remainder `% capacity`.

    counts what was overwritten: `min(written + count, capacity)` becomes `written + count`. Your
        `size` counts rows that were overwritten long ago. A ring of `capacity` rows never holds
        more than `capacity`.

    bends the size as well: `min(written + count, capacity)` becomes `(written + count) % capacity`.
        You took the remainder of the size, too. A ring that has gone around is not empty again: it
        stays full, with `capacity` rows.

    starts one row late: `(written + np` becomes `(written + 1 + np`. You start one row too late.
        With nothing written yet, the first row is row 0.

    samples rows not yet filled: `min(written + count, capacity)` becomes `capacity`. You say that
        the whole ring may be sampled although part of it is still empty. Until it is full, `size`
        is the number of rows written.
    """,
    mistakes=(
        Mistake(
            "starts over at the end",
            _restarts,
            "When the new rows do not fit before the end, you put all of them at the start and "
            "leave the old last rows in place. Fill up to the end first, then go on at row 0.",
        ),
    ),
    hints=(
        "`np.arange(count)` numbers the new rows from 0; they follow the `written` earlier ones.",
        "The remainder `% capacity` bends the line into a ring.",
        "`rows = (written + np.arange(count)) % capacity` and "
        "`size = min(written + count, capacity)`",
    ),
)


# --- The target of one step --------------------------------------------------------------------


def _by_hand(
    rewards: Tensor, terminated: Tensor, next_q: Tensor, gamma: float | Tensor, choose: Callable
) -> Tensor:
    """A plain loop over the batch: the value at `choose(row)` counts unless the task ended."""
    gammas = gamma.tolist() if isinstance(gamma, Tensor) else [gamma] * len(rewards)
    targets = []
    for i, reward in enumerate(rewards.tolist()):
        later = 0.0 if terminated[i].item() == 1.0 else next_q[i].tolist()[choose(i)]
        targets.append(reward + gammas[i] * later)
    return torch.tensor(targets)


def _normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.tensor(rng.normal(size=shape), dtype=torch.float32)


def _best(q: Tensor, i: int) -> int:
    """The best action of row `i`, by comparing plain numbers."""
    row = q[i].tolist()
    return row.index(max(row))


def _td_cases(rng: np.random.Generator) -> list[Case]:
    one, goes_on, ended = torch.tensor([1.0]), torch.zeros(1), torch.ones(1)
    row = torch.tensor([[2.0, 5.0]])
    rewards, terminated = torch.tensor([0.0, -1.0, 2.0]), torch.tensor([0.0, 1.0, 0.0])
    rows = torch.tensor([[-3.0, -1.0, -2.0], [4.0, 4.0, 4.0], [1.0, 0.0, 8.0]])
    hand = [
        ("the episode goes on (or only its clock ran out)", (one, goes_on, row, 0.5), [3.5]),
        ("the task ended", (one, ended, row, 0.5), [1.0]),
        (
            "three rows, three actions, negative values",
            (rewards, terminated, rows, 0.9),
            [-0.9, -1.0, 9.2],
        ),
    ]
    rewards, next_q = _normal(rng, 4), _normal(rng, 4, 3)
    drawn = rewards, torch.tensor([0.0, 1.0, 0.0, 1.0]), next_q, float(rng.uniform(0.5, 0.95))
    expected = _by_hand(*drawn, lambda i: _best(next_q, i))
    cases = [Case(name, args, torch.tensor(answer)) for name, args, answer in hand]
    spans = *drawn[:3], torch.tensor([0.9, 0.81, 0.729, 0.9])  # gamma ** steps of each row
    return [
        *cases,
        Case("a random batch", drawn, expected),
        Case(
            "a discount of its own for each row",
            spans,
            _by_hand(*spans, lambda i: _best(next_q, i)),
        ),
    ]


td_target = Exercise(
    reference=dqn.td_target,
    cases=_td_cases,
    edits="""
    bootstraps through termination: ` * (1 - terminated)` goes. You bootstrapped through a terminal
        state: nothing comes after it. Multiply the future by `1 - terminated`.

    turns the mask round: `(1 - terminated)` becomes `terminated`. You count the future where the
        task ended, and only there. `terminated` is 1 at an end, and the future counts everywhere
        else: multiply it by `1 - terminated`.

    drops the last reward: `rewards + gamma * (1 - terminated) * next_q.max(dim=1).values` becomes
        `(1 - terminated) * (rewards + gamma * next_q.max(dim=1).values)`. You also removed the
        reward of the step that ended the task. That reward was really received: only the *future*
        is multiplied by `1 - terminated`.

    forgets the discount: `gamma * ` goes. The future counts `gamma` times: multiply the next value
        by it.

    discounts the reward: `rewards + gamma * (1 - terminated) * next_q.max(dim=1).values` becomes
        `gamma * (rewards + (1 - terminated) * next_q.max(dim=1).values)`. You discounted the reward
        as well. It is paid now, so it counts in full.

    takes the best action's number: `next_q.max(dim=1).values` becomes `next_q.argmax(dim=1)`.
        `argmax` gives the number of the best action. What it is worth is
        `next_q.max(dim=1).values`.

    one maximum for the whole batch: `next_q.max(dim=1).values` becomes `next_q.max()`. You took one
        maximum over the whole batch. Each row needs its own: `dim=1` is the axis of the actions.

    keeps the action axis: `next_q.max(dim=1)` becomes `next_q.max(dim=1, keepdim=True)`. Your
        maximum has shape (B, 1); added to (B,) it broadcasts to (B, B), every row with every other.
        Take the maximum without `keepdim`.

    averages the actions: `next_q.max(dim=1).values` becomes `next_q.mean(dim=1)`. You averaged over
        the actions, which is what a random player would get. Q-learning asks what the *best* action
        is worth: take the maximum.
    """,
    hints=(
        "Three parts: the reward now, the discount, and the value of the best next action.",
        "`next_q.max(dim=1).values` is the best value of each row. Where `terminated` is 1 it "
        "must not count.",
        "`rewards + gamma * (1 - terminated) * next_q.max(dim=1).values`",
    ),
)


# --- The target of several steps ---------------------------------------------------------------


def _n_step_cases(rng: np.random.Generator) -> list[Case]:
    no, at_2, at_3, late = ([k in ends for k in (1, 2, 3)] for ends in ([], [2], [3], [2, 3]))
    drawn, gamma = rng.normal(size=4).round(3), float(rng.uniform(0.5, 0.95))
    calm, third, fourth = ([k == stop for k in range(4)] for stop in (None, 2, 3))
    # Ground truth from powers of gamma.
    full, three = (sum(float(drawn[k]) * gamma**k for k in range(n)) for n in (4, 3))
    cases = [  # name, rewards, terminated, truncated, gamma, answer
        ("three steps, no end", [1, 1, 1], no, no, 0.5, (1.75, 3, False)),
        ("terminated at the second step", [1, 2, 99], at_2, no, 0.5, (2.0, 2, True)),
        ("truncated at the second step", [1, 2, 99], no, at_2, 0.5, (2.0, 2, False)),
        ("both at the second step", [1, 2, 99], at_2, at_2, 0.5, (2.0, 2, True)),
        ("truncated, then another ends", [1, 2, 99], at_3, at_2, 0.5, (2.0, 2, False)),
        ("terminated, then another is cut", [1, 2, 99], at_2, at_3, 0.5, (2.0, 2, True)),
        ("the first of two ends counts", [1, 2, 99], late, no, 0.5, (2.0, 2, True)),
        ("rewards below zero", [-1, -2, 0], no, no, 0.5, (-2.0, 3, False)),
        ("a window of one step", [3], [False], [False], 0.9, (3.0, 1, False)),
        ("one step, truncated", [3], [False], [True], 0.9, (3.0, 1, False)),
        ("one step, terminated", [3], [True], [False], 0.9, (3.0, 1, True)),
        ("four random steps", drawn, calm, calm, gamma, (full, 4, False)),
        ("random, truncated at the third", drawn, calm, third, gamma, (three, 3, False)),
        ("random, terminated at the third", drawn, third, calm, gamma, (three, 3, True)),
        ("random, terminated at the end", drawn, fourth, calm, gamma, (full, 4, True)),
    ]
    return [
        Case(name, (np.array(r, float), np.array(end), np.array(cut), discount), answer)
        for name, r, end, cut, discount, answer in cases
    ]


def _whole_window(
    rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, gamma: float
) -> tuple[float, int, bool]:
    steps = len(rewards)
    return float((rewards * gamma ** np.arange(steps)).sum()), steps, bool(np.any(terminated))


def _leaves_early(
    rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, gamma: float
) -> tuple[float, int, bool]:
    total = 0.0
    for k, reward in enumerate(rewards):
        if terminated[k] or truncated[k]:
            return total, k, bool(terminated[k])
        total += gamma**k * reward
    return total, len(rewards), False


n_step_target = Exercise(
    reference=returns.n_step_target,
    cases=_n_step_cases,
    edits="""
    treats truncation as termination: `bool(terminated[k])` becomes
        `bool(terminated[k] or truncated[k])`. You say that a truncated episode has `ended`, so its
        future will be worth nothing. Only its clock ran out: the pole still stands. Stop adding
        rewards there, but say False.

    bootstraps through termination: `bool(terminated[k])` becomes `False`. You say that the task
        goes on after a termination, so a future will be added to it. Nothing comes after it:
        `ended` is True.

    lets truncation win: `bool(terminated[k])` becomes `bool(terminated[k] and not truncated[k])`.
        Where both flags are set you say that the task goes on. It terminated, and a clock that runs
        out at the same step changes nothing about that.

    asks for any termination: `bool(terminated[k])` becomes `bool(any(terminated))`. You say that
        the task ended where a termination stands anywhere in the window. Rows after a truncation
        belong to another episode: only the step at which you stopped counts.

    runs into the next episode: `terminated[k] or truncated[k]` becomes `terminated[k]`. You went on
        past a truncation. The rewards after it belong to another episode.

    counts the steps from zero: `k + 1` becomes `k`. Your `steps` is the number of the last step.
        How many there are is one more, and the future counts `gamma**steps` times.

    starts with gamma: `total, discount = 0.0, 1.0` becomes `total, discount = 0.0, gamma`. You
        discounted the first reward as well. It is paid now, so it counts in full; the second counts
        `gamma` times.

    forgets the discount: `discount *= gamma` goes. You added the rewards as they are. Each is one
        step further away than the one before, so it counts `gamma` times as much.

    loses the last reward: `total += discount * reward` becomes
        `total += discount * reward * (1 - max(terminated[k], truncated[k]))`. You left the loop
        before you added the reward of the step that ended the episode. That reward was really
        received: add it first.
    """,
    mistakes=(
        Mistake(
            "adds up the whole window",
            _whole_window,
            "You added up all rewards of the window. Those after the first termination or "
            "truncation belong to another episode: stop there, and count the steps up to it.",
        ),
        Mistake(
            "leaves before the step counts",
            _leaves_early,
            "You left the loop at the end before that step was counted: its reward is missing, and "
            "`steps` is one too few. The step that ends the episode belongs to it: add its reward, "
            "count it, then leave.",
        ),
    ),
    hints=(
        "Walk through the steps with a running `discount` that starts at 1 and is multiplied by "
        "`gamma` after each reward.",
        "Two reasons to leave the loop early: a termination and a truncation. Add the reward of "
        "that step first.",
        "At the end, with `k` the step at which you stopped: "
        "`return total, k + 1, bool(terminated[k])`.",
    ),
)


# --- The target of Double DQN ------------------------------------------------------------------


def _double_cases(rng: np.random.Generator) -> list[Case]:
    one, goes_on, ended = torch.tensor([1.0]), torch.zeros(1), torch.ones(1)
    online, slow = torch.tensor([[9.0, 1.0]]), torch.tensor([[2.0, 6.0]])
    rows, two = torch.tensor([[9.0, 1.0], [1.0, 9.0]]), torch.ones(2)
    hand = [
        ("the networks disagree", (one, goes_on, online, slow, 0.5), 2.0),
        ("a timid chooser", (one, goes_on, online / 9, slow, 0.5), 2.0),
        ("they agree", (one, goes_on, slow, slow, 0.5), 4.0),
        ("values below zero", (one, goes_on, -slow, -online, 0.5), -3.5),
        ("the task ended", (one, ended, online, slow, 0.5), 1.0),
    ]
    rewards, terminated = _normal(rng, 5), torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])
    fast, slow = _normal(rng, 5, 4), _normal(rng, 5, 4)
    gamma = float(rng.uniform(0.5, 0.95))
    expected = _by_hand(rewards, terminated, slow, gamma, lambda i: _best(fast, i))
    cases = [
        Case(
            "two rows that choose differently",
            (two, torch.zeros(2), rows, torch.tensor([[2.0, 6.0], [3.0, 7.0]]), 0.5),
            torch.tensor([2.0, 4.5]),
        ),
        *(Case(name, args, torch.tensor([answer])) for name, args, answer in hand),
    ]
    gammas = torch.tensor([0.9, 0.81, 0.81, 0.729, 0.9])  # gamma ** steps of each row
    spans = _by_hand(rewards, terminated, slow, gammas, lambda i: _best(fast, i))
    drawn = rewards, terminated, fast, slow
    return [
        *cases,
        Case("a random batch", (*drawn, gamma), expected),
        Case("a discount of its own for each row", (*drawn, gammas), spans),
    ]


def _every_choice(
    rewards: Tensor, terminated: Tensor, online: Tensor, slow: Tensor, gamma: float | Tensor
) -> Tensor:
    return rewards + gamma * (1 - terminated) * slow[:, online.argmax(dim=1)]


def _one_column(
    rewards: Tensor, terminated: Tensor, online: Tensor, slow: Tensor, gamma: float | Tensor
) -> Tensor:
    return rewards + gamma * (1 - terminated) * slow.gather(1, online.argmax(1, keepdim=True))


double_dqn_target = Exercise(
    reference=dqn.double_dqn_target,
    cases=_double_cases,
    edits="""
    ignores the online network: `next_q_online.argmax` becomes `next_q_target.argmax`. You let the
        target network choose and judge. That is plain DQN: an action that is overrated by chance is
        chosen because of it. Let the online network choose.

    ignores the target network: `next_q_target.gather` becomes `next_q_online.gather`. You let the
        online network choose and judge. Its choice is right; what the choice is worth has to come
        from the target network.

    swaps the two networks: `next_q_online.argmax` becomes `next_q_target.argmax`,
        `next_q_target.gather` becomes `next_q_online.gather`. You swapped the roles: the online
        network chooses the action, the target network says what it is worth.

    bootstraps through termination: `td_target(rewards, terminated,` becomes
        `td_target(rewards, 0 * terminated,`. You bootstrapped through a terminal state: multiply
        the future by `1 - terminated`.

    loses the last reward: `td_target(rewards, terminated, next_q_target.gather(1, best), gamma)`
        becomes `(1 - terminated) * td_target(rewards, 0 * terminated, next_q_target.gather(1,
        best), gamma)`. At the end you lost the reward itself. Only the *future* is multiplied by
        `1 - terminated`.

    forgets the discount: `best), gamma)` becomes `best), 1.0)`. The future counts `gamma` times:
        multiply the next value by it.

    takes the smaller of two maxima: `next_q_target.gather(1, best)` becomes
        `torch.minimum(next_q_online.amax(1, True), next_q_target.amax(1, True))`. You took the
        smaller of two maxima. Double DQN splits the work instead: one network picks the action, the
        other gives the value of *that* action.
    """,
    mistakes=(
        Mistake(
            "mixes the rows",
            _every_choice,
            "Your values mix the rows: `next_q_target[:, choice]` looks up the choices of all rows "
            "in each row, (B, B). Each row needs its own choice only: `gather`, or "
            "`next_q_target[torch.arange(B), choice]`.",
        ),
        Mistake(
            "keeps the action axis",
            _one_column,
            "The values that you looked up have shape (B, 1); times (B,) they broadcast to (B, B), "
            "every row with every other. Take the axis away: `.squeeze(1)`.",
        ),
    ),
    hints=(
        "First the choice: `next_q_online.argmax(dim=1, keepdim=True)` has shape (B, 1).",
        "Then the judgement: `next_q_target.gather(1, choice)` looks up that action in each row.",
        "`rewards + gamma * (1 - terminated) * next_q_target.gather(1, choice).squeeze(1)`",
    ),
)

learn_from_replay = build.learn_from_replay
