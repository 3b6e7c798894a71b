"""Exercises of lesson 02: exploration, replay, and the targets that a Q-network learns from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.rl import dqn, replay, returns

# --- How often to explore ----------------------------------------------------------------------


def _epsilon_cases(rng: np.random.Generator) -> list[Case]:
    hand = [
        Case("at the first step", (0, 1.0, 0.1, 100), 1.0),
        Case("half way down", (50, 1.0, 0.1, 100), 0.55),
        Case("where the decay ends", (100, 1.0, 0.1, 100), 0.1),
        Case("long after the decay", (1000, 1.0, 0.1, 100), 0.1),
        Case("a quarter of a short decay", (2, 0.8, 0.0, 8), 0.6),
    ]
    # Ground truth by walking down the line one step at a time.
    start, end = float(rng.uniform(0.5, 1.0)), float(rng.uniform(0.01, 0.2))
    decay_steps = int(rng.integers(20, 60))
    step = int(rng.integers(1, decay_steps))
    value = start
    for _ in range(step):
        value -= (start - end) / decay_steps
    return [*hand, Case("a random schedule", (step, start, end, decay_steps), value)]


epsilon_schedule = Exercise(
    reference=dqn.epsilon_schedule,
    cases=_epsilon_cases,
    mistakes=(
        Mistake(
            "never stops falling",
            lambda step, start, end, decay_steps: start + (end - start) * step / decay_steps,
            "After `decay_steps` your epsilon goes on falling, below `end` and below zero. "
            "Cap the fraction `step / decay_steps` at 1.",
        ),
        Mistake(
            "swaps start and end",
            lambda step, start, end, decay_steps: (
                end + (start - end) * min(step / decay_steps, 1.0)
            ),
            "Your schedule begins at `end` and climbs to `start`. Exploration is needed at first, "
            "when nothing is known yet.",
        ),
        Mistake(
            "falls towards zero",
            lambda step, start, end, decay_steps: max(end, start * (1 - step / decay_steps)),
            "Your line aims at zero and is cut off at `end`, so it arrives too early. The line "
            "runs from `start` to `end`: the distance to cover is `end - start`.",
        ),
        Mistake(
            "jumps",
            lambda step, start, end, decay_steps: start if step < decay_steps else end,
            "Your epsilon jumps from `start` to `end`. It should go down in a straight line.",
        ),
    ),
    hints=(
        "How far along is the decay? `step / decay_steps` is 0 at first and 1 at its end.",
        "Keep that fraction from passing 1: `min(step / decay_steps, 1.0)`.",
        "`start + fraction * (end - start)`",
    ),
)


# --- Where the next transitions go in a ring ---------------------------------------------------


def _ring_cases(rng: np.random.Generator) -> list[Case]:
    hand = [
        Case("an empty ring", (0, 3, 5), (np.array([0, 1, 2]), 3)),
        Case("filling it up", (3, 2, 5), (np.array([3, 4]), 5)),
        Case("around the corner", (4, 3, 5), (np.array([4, 0, 1]), 5)),
        Case("the third time around", (13, 2, 5), (np.array([3, 4]), 5)),
    ]
    # Ground truth by moving a writing hand one slot at a time.
    capacity, count = int(rng.integers(4, 9)), int(rng.integers(2, 4))
    written = int(rng.integers(capacity - 1, 3 * capacity))
    hand_at, filled, rows = 0, 0, []
    for i in range(written + count):
        if i >= written:
            rows.append(hand_at)
        hand_at = hand_at + 1 if hand_at + 1 < capacity else 0
        filled = filled + 1 if filled < capacity else capacity
    drawn = Case("a random ring", (written, count, capacity), (np.array(rows), filled))
    return [*hand, drawn]


def _restarts(written: int, count: int, capacity: int) -> tuple[np.ndarray, int]:
    start = written % capacity
    if start + count > capacity:
        start = 0
    return start + np.arange(count), min(written + count, capacity)


ring_indices = Exercise(
    reference=replay.ring_indices,
    cases=_ring_cases,
    mistakes=(
        Mistake(
            "runs off the end",
            lambda written, count, capacity: (
                written + np.arange(count),
                min(written + count, capacity),
            ),
            "Your rows run past the end of the ring. After the last row comes row 0: take the "
            "remainder `% capacity`.",
        ),
        Mistake(
            "counts what was overwritten",
            lambda written, count, capacity: (
                (written + np.arange(count)) % capacity,
                written + count,
            ),
            "Your `size` counts rows that were overwritten long ago. A ring of `capacity` rows "
            "never holds more than `capacity`.",
        ),
        Mistake(
            "starts one row late",
            lambda written, count, capacity: (
                (written + 1 + np.arange(count)) % capacity,
                min(written + count, capacity),
            ),
            "You start one row too late. With nothing written yet, the first row is row 0.",
        ),
        Mistake(
            "starts over at the end",
            _restarts,
            "When the new rows do not fit before the end, you put all of them at the start and "
            "leave the old last rows in place. Fill up to the end first, then go on at row 0.",
        ),
        Mistake(
            "samples rows not yet filled",
            lambda written, count, capacity: (
                (written + np.arange(count)) % capacity,
                capacity,
            ),
            "You say that the whole ring may be sampled although part of it is still empty. "
            "Until it is full, `size` is the number of rows written.",
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


def _by_hand(rewards, terminated, next_q, gamma, choose) -> Tensor:
    """A plain loop over the batch: the value at `choose(row)` counts unless the task ended."""
    targets = []
    for i, reward in enumerate(rewards.tolist()):
        row = next_q[i].tolist()
        later = 0.0 if terminated[i].item() == 1.0 else row[choose(i)]
        targets.append(reward + gamma * later)
    return torch.tensor(targets)


def _td_cases(rng: np.random.Generator) -> list[Case]:
    goes_on, ended = torch.zeros(1), torch.ones(1)
    hand = [
        Case(
            "the episode goes on (or only its clock ran out)",
            (torch.tensor([1.0]), goes_on, torch.tensor([[2.0, 5.0]]), 0.5),
            torch.tensor([3.5]),
        ),
        Case(
            "the task ended",
            (torch.tensor([1.0]), ended, torch.tensor([[2.0, 5.0]]), 0.5),
            torch.tensor([1.0]),
        ),
        Case(
            "three rows, three actions, negative values",
            (
                torch.tensor([0.0, -1.0, 2.0]),
                torch.tensor([0.0, 1.0, 0.0]),
                torch.tensor([[-3.0, -1.0, -2.0], [4.0, 4.0, 4.0], [0.0, 1.0, 8.0]]),
                0.9,
            ),
            torch.tensor([-0.9, -1.0, 9.2]),
        ),
    ]
    rewards = torch.tensor(rng.normal(size=4), dtype=torch.float32)
    terminated = torch.tensor([0.0, 1.0, 0.0, 1.0])
    next_q = torch.tensor(rng.normal(size=(4, 3)), dtype=torch.float32)
    gamma = float(rng.uniform(0.5, 0.95))

    def best(i: int) -> int:
        return max(range(3), key=next_q[i].tolist().__getitem__)

    expected = _by_hand(rewards, terminated, next_q, gamma, best)
    return [*hand, Case("a random batch", (rewards, terminated, next_q, gamma), expected)]


td_target = Exercise(
    reference=dqn.td_target,
    cases=_td_cases,
    mistakes=(
        Mistake(
            "bootstraps through termination",
            lambda rewards, terminated, next_q, gamma: rewards + gamma * next_q.max(dim=1).values,
            "You bootstrapped through a terminal state: nothing comes after it. Multiply the "
            "future by `1 - terminated`.",
        ),
        Mistake(
            "drops the last reward",
            lambda rewards, terminated, next_q, gamma: (
                (1 - terminated) * (rewards + gamma * next_q.max(dim=1).values)
            ),
            "You also removed the reward of the step that ended the task. That reward was really "
            "received: only the *future* is multiplied by `1 - terminated`.",
        ),
        Mistake(
            "forgets the discount",
            lambda rewards, terminated, next_q, gamma: (
                rewards + (1 - terminated) * next_q.max(dim=1).values
            ),
            "The future counts `gamma` times: multiply the next value by it.",
        ),
        Mistake(
            "one maximum for the whole batch",
            lambda rewards, terminated, next_q, gamma: (
                rewards + gamma * (1 - terminated) * next_q.max()
            ),
            "You took one maximum over the whole batch. Each row needs its own: `dim=1` is the "
            "axis of the actions.",
        ),
        Mistake(
            "keeps the action axis",
            lambda rewards, terminated, next_q, gamma: (
                rewards + gamma * (1 - terminated) * next_q.max(dim=1, keepdim=True).values
            ),
            "Your maximum has shape (B, 1); added to (B,) it broadcasts to (B, B), every row with "
            "every other. Take the maximum without `keepdim`.",
        ),
        Mistake(
            "averages the actions",
            lambda rewards, terminated, next_q, gamma: (
                rewards + gamma * (1 - terminated) * next_q.mean(dim=1)
            ),
            "You averaged over the actions, which is what a random player would get. Q-learning "
            "asks what the *best* action is worth: take the maximum.",
        ),
    ),
    hints=(
        "Three parts: the reward now, the discount, and the value of the best next action.",
        "`next_q.max(dim=1).values` is the best value of each row. Where `terminated` is 1 it "
        "must not count.",
        "`rewards + gamma * (1 - terminated) * next_q.max(dim=1).values`",
    ),
)


# --- The target of several steps ---------------------------------------------------------------


def _n_step_cases(rng: np.random.Generator) -> list[Case]:
    no = [False] * 3
    hand = [
        Case("three steps, no end", ([1.0, 1.0, 1.0], no, no, [0.0, 0.0, 8.0], 0.5), 2.75),
        Case(
            "terminated at the second step",
            ([1.0, 2.0, 99.0], [False, True, False], no, [5.0, 5.0, 5.0], 0.5),
            2.0,
        ),
        Case(
            "truncated at the second step",
            ([1.0, 2.0, 99.0], no, [False, True, False], [5.0, 4.0, 7.0], 0.5),
            3.0,
        ),
        Case("a target below zero", ([-1.0, -2.0, 0.0], no, no, [9.0, 9.0, -8.0], 0.5), -3.0),
        Case("a window of one step", ([3.0], [False], [False], [10.0], 0.9), 12.0),
        Case("one step, truncated", ([3.0], [False], [True], [10.0], 0.9), 12.0),
    ]
    rewards, values = rng.normal(size=4).round(3).tolist(), rng.normal(size=4).round(3).tolist()
    gamma = float(rng.uniform(0.5, 0.95))
    calm = [False] * 4
    # Ground truth from powers of gamma, for a window that its time limit cuts after three steps.
    cut = sum(rewards[k] * gamma**k for k in range(3)) + gamma**3 * values[2]
    full = sum(rewards[k] * gamma**k for k in range(4)) + gamma**4 * values[3]
    stop = [False, False, True, False]
    return [
        *hand,
        Case("four random steps", (rewards, calm, calm, values, gamma), full),
        Case("random, truncated at the third", (rewards, calm, stop, values, gamma), cut),
        Case(
            "random, terminated at the third",
            (rewards, stop, calm, values, gamma),
            cut - gamma**3 * values[2],
        ),
    ]


def _ignores_termination(rewards, terminated, truncated, next_values, gamma):
    stops = [a or b for a, b in zip(terminated, truncated, strict=True)]
    return returns.n_step_target(rewards, [False] * len(stops), stops, next_values, gamma)


def _truncation_as_termination(rewards, terminated, truncated, next_values, gamma):
    stops = [a or b for a, b in zip(terminated, truncated, strict=True)]
    return returns.n_step_target(rewards, stops, truncated, next_values, gamma)


def _runs_into_the_next_episode(rewards, terminated, truncated, next_values, gamma):
    never = [False] * len(rewards)
    return returns.n_step_target(rewards, terminated, never, next_values, gamma)


def _discounts_the_future_once(rewards, terminated, truncated, next_values, gamma):
    total, discount = 0.0, 1.0
    for k, reward in enumerate(rewards):
        total += discount * reward
        discount *= gamma
        if terminated[k]:
            return total
        if truncated[k]:
            break
    return total + gamma * next_values[k]


n_step_target = Exercise(
    reference=returns.n_step_target,
    cases=_n_step_cases,
    mistakes=(
        Mistake(
            "treats truncation as termination",
            _truncation_as_termination,
            "You let a truncated episode end with a future worth nothing. Only its clock ran out: "
            "the pole still stands. Stop adding rewards there, but add the discounted value.",
        ),
        Mistake(
            "bootstraps through termination",
            _ignores_termination,
            "You added a future after a termination. Nothing comes after it: return the rewards "
            "collected so far.",
        ),
        Mistake(
            "runs into the next episode",
            _runs_into_the_next_episode,
            "You went on past a truncation. The rewards after it belong to another episode.",
        ),
        Mistake(
            "discounts the future once",
            _discounts_the_future_once,
            "After k steps the future counts `gamma**k` times, not `gamma` times.",
        ),
    ),
    hints=(
        "Walk through the steps with a running `discount` that starts at 1 and is multiplied by "
        "`gamma` after each reward.",
        "Two ways to stop early: after a termination return the sum at once; after a truncation "
        "leave the loop and add what the estimate says.",
        "At the end: `return total + discount * value`, where `value` is the entry of "
        "`next_values` at the last step used.",
    ),
)


# --- The target of Double DQN ------------------------------------------------------------------


def _double_cases(rng: np.random.Generator) -> list[Case]:
    goes_on, ended = torch.zeros(1), torch.ones(1)
    online, slow = torch.tensor([[9.0, 1.0]]), torch.tensor([[2.0, 6.0]])
    one = torch.tensor([1.0])
    hand = [
        Case("the networks disagree", (one, goes_on, online, slow, 0.5), torch.tensor([2.0])),
        Case("a timid chooser", (one, goes_on, online / 9, slow, 0.5), torch.tensor([2.0])),
        Case("they agree", (one, goes_on, slow, slow, 0.5), torch.tensor([4.0])),
        Case("the task ended", (one, ended, online, slow, 0.5), torch.tensor([1.0])),
    ]
    rewards = torch.tensor(rng.normal(size=5), dtype=torch.float32)
    terminated = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])
    fast, slow = (torch.tensor(rng.normal(size=(5, 4)), dtype=torch.float32) for _ in range(2))
    gamma = float(rng.uniform(0.5, 0.95))

    def preferred(i: int) -> int:
        return max(range(4), key=fast[i].tolist().__getitem__)

    expected = _by_hand(rewards, terminated, slow, gamma, preferred)
    return [*hand, Case("a random batch", (rewards, terminated, fast, slow, gamma), expected)]


def _evaluates(chooser: Tensor, judge: Tensor) -> Tensor:
    return judge.gather(1, chooser.argmax(dim=1, keepdim=True)).squeeze(1)


double_dqn_target = Exercise(
    reference=dqn.double_dqn_target,
    cases=_double_cases,
    mistakes=(
        Mistake(
            "ignores the online network",
            lambda rewards, terminated, online, target, gamma: (
                rewards + gamma * (1 - terminated) * target.max(dim=1).values
            ),
            "You let the target network choose and judge. That is plain DQN: an action that is "
            "overrated by chance is chosen because of it. Let the online network choose.",
        ),
        Mistake(
            "ignores the target network",
            lambda rewards, terminated, online, target, gamma: (
                rewards + gamma * (1 - terminated) * online.max(dim=1).values
            ),
            "You let the online network choose and judge. Its choice is right; what the choice is "
            "worth has to come from the target network.",
        ),
        Mistake(
            "swaps the two networks",
            lambda rewards, terminated, online, target, gamma: (
                rewards + gamma * (1 - terminated) * _evaluates(target, online)
            ),
            "You swapped the roles: the online network chooses the action, the target network "
            "says what it is worth.",
        ),
        Mistake(
            "bootstraps through termination",
            lambda rewards, terminated, online, target, gamma: (
                rewards + gamma * _evaluates(online, target)
            ),
            "You bootstrapped through a terminal state: multiply the future by `1 - terminated`.",
        ),
        Mistake(
            "takes the smaller of two maxima",
            lambda rewards, terminated, online, target, gamma: (
                rewards
                + gamma
                * (1 - terminated)
                * torch.minimum(online.max(dim=1).values, target.max(dim=1).values)
            ),
            "You took the smaller of two maxima. Double DQN splits the work instead: one network "
            "picks the action, the other gives the value of *that* action.",
        ),
    ),
    hints=(
        "First the choice: `next_q_online.argmax(dim=1, keepdim=True)` has shape (B, 1).",
        "Then the judgement: `next_q_target.gather(1, choice)` looks up that action in each row.",
        "`rewards + gamma * (1 - terminated) * next_q_target.gather(1, choice).squeeze(1)`",
    ),
)
