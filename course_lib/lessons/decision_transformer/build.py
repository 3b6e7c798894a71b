"""What lesson 13 asks to build: asking a policy for a return while it plays many games at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
from gymnasium.utils.seeding import np_random
from torch import Tensor

from course_lib import randomness
from course_lib.agents.decision_transformer import DecisionTransformer
from course_lib.classroom.check import Case, Exercise
from course_lib.rl.backends import Loop
from course_lib.rl.envs import Envs
from course_lib.worlds.tables import TableWorld

Policy = Callable[[list, list, list], np.ndarray]  # from obs, actions, to_go to actions (N,)


def _play_games(
    policy: Policy, envs: Envs, target: float, episodes: int, context: int
) -> np.ndarray:
    """Ask ``policy`` for the return ``target`` and say what whole episodes brought: returns (E,).

    ``policy(obs, actions, to_go)`` takes three lists with a row for each of the N environments, and
    returns actions (N,). Row i holds the last steps of environment i's running episode, at most
    ``context`` of them, oldest first. The last entries are the present: the observation to act on,
    a 0 in place of the action that is not chosen yet, and the return still asked for, ``target``
    less the rewards of this episode so far.

    Each environment plays ``episodes`` / N of them, rounded up, and its first ones count. Returns
    are undiscounted, those of environment 0 first.
    """
    share = -(-episodes // envs.num_envs)
    returns = [[] for _ in range(envs.num_envs)]
    earned = np.zeros(envs.num_envs)
    histories = [([first], [0], [target]) for first in envs.reset()]
    while min(map(len, returns)) < share:
        columns = zip(*histories, strict=True)
        actions = policy(*([row[-context:] for row in column] for column in columns))
        obs, rewards, terminated, truncated, valid = envs.step(actions)
        earned += rewards
        for i, (seen, taken, to_go) in enumerate(histories):
            if not valid[i]:  # the first observation of another episode
                histories[i] = ([obs[i]], [0], [target])
                earned[i] = 0.0
                continue
            taken[-1] = actions[i]
            seen.append(obs[i])
            taken.append(0)
            to_go.append(target - earned[i])
            if (terminated[i] or truncated[i]) and len(returns[i]) < share:
                returns[i].append(earned[i])
    return np.array(returns).ravel()


def as_policy(model: DecisionTransformer, greedy: bool = False, seed: int = 0) -> Policy:
    """A policy for ``play_games`` out of a model: rows of different length, padded on the right.

    Actions are drawn with a generator of ``seed``, or the likeliest ones with ``greedy``.
    """
    generator = randomness.generator(seed)

    @torch.no_grad()
    def policy(obs: list, actions: list, to_go: list) -> np.ndarray:
        lengths = torch.tensor([len(row) for row in to_go])
        logits = model(_padded(obs), _padded(actions).long(), _padded(to_go))
        logits = logits[torch.arange(len(lengths)), lengths - 1]
        if greedy:
            return logits.argmax(-1).numpy()
        return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0].numpy()

    return policy


def _padded(rows: Sequence[Sequence]) -> Tensor:
    """N rows of at most T entries of one shape: (N, T, *shape) float32, zeros on the right."""
    tensors = [torch.as_tensor(np.array(row), dtype=torch.float32) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)


# --- What the probes are made of: ways of a few states, and players that follow one rule ----------

MOST = 60  # steps in a probe; the longest takes ten


class Turns(gymnasium.Env):
    """Worlds that take turns, an episode each; an error ends a loop that goes on and on."""

    def __init__(self, *worlds: TableWorld):
        self.worlds, self.begun, self.steps = worlds, 0, 0
        self.observation_space = worlds[0].observation_space
        self.action_space = worlds[0].action_space

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[int, dict]:
        super().reset(seed=seed)
        self.begun += 1
        return self._world().reset()

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        self.steps += 1
        if self.steps > MOST:
            raise RuntimeError(
                f"after {MOST} steps you are still playing, and a few were enough: which episodes "
                "did your loop miss?"
            )
        return self._world().step(int(action))

    def _world(self) -> TableWorld:
        return self.worlds[(self.begun - 1) % len(self.worlds)]


def _way(*pays: float | tuple[float, float], clock: int = 0) -> TableWorld:
    """One state after the other, the last step ends: what each of two actions pays, or both do."""
    rows = [pay if isinstance(pay, tuple) else (pay, pay) for pay in pays]
    states = [
        [[(1.0, k, pay, k == len(rows))] for pay in row] for k, row in enumerate(rows, start=1)
    ]
    return TableWorld(*states, clock=clock)


def _seeded(seed: int) -> dict:
    return np_random(seed)[0].bit_generator.state


def _games(*games: Turns) -> Envs:
    """The environments of a probe, one for each game."""
    return Envs("a probe", len(games), Loop(games, _seeded), seed=0)


# Rules: is it action 1, by what one row shows? ``x`` is a number of the probe's.


def _never(seen: Sequence, taken: Sequence, to_go: Sequence, x: float) -> bool:
    return False


def _odd_state(seen: Sequence, taken: Sequence, to_go: Sequence, x: float) -> bool:
    return seen[-1] % 2 == 1


def _in_state(seen: Sequence, taken: Sequence, to_go: Sequence, x: float) -> bool:
    return seen[-1] == x


def _asked_for(seen: Sequence, taken: Sequence, to_go: Sequence, x: float) -> bool:
    return abs(to_go[-1] - x) < 1e-3


def _not_asked_for(seen: Sequence, taken: Sequence, to_go: Sequence, x: float) -> bool:
    return abs(to_go[-1] - x) > 1e-3


def _first_asked_for(seen: Sequence, taken: Sequence, to_go: Sequence, x: float) -> bool:
    return abs(to_go[0] - x) < 1e-3


def _as_before(seen: Sequence, taken: Sequence, to_go: Sequence, x: float) -> bool:
    return len(taken) == 1 or taken[-2] == 1


def _as_first(seen: Sequence, taken: Sequence, to_go: Sequence, x: float) -> bool:
    return bool(x) if len(taken) == 1 else taken[-2] == 1


def _blank(seen: Sequence, taken: Sequence, to_go: Sequence, x: float) -> bool:
    return taken[-1] == 0


def _at_most(seen: Sequence, taken: Sequence, to_go: Sequence, x: float) -> bool:
    return len(seen) <= x


def _at_least(seen: Sequence, taken: Sequence, to_go: Sequence, x: float) -> bool:
    return len(seen) >= x


@dataclass(frozen=True)
class Player:
    """A policy that follows a rule, with a number for each row; strict about what it is shown."""

    rule: Callable[[Sequence, Sequence, Sequence, float], bool]
    numbers: tuple[float, ...] = (0.0,)

    def __call__(self, obs: list, actions: list, to_go: list) -> np.ndarray:
        rows = [len(column) for column in (obs, actions, to_go)]
        if len(set(rows)) > 1:
            raise ValueError(
                "the policy takes three lists with a row for each environment, yours have "
                f"{rows[0]}, {rows[1]} and {rows[2]} rows"
            )
        chosen = []
        for i, row in enumerate(zip(obs, actions, to_go, strict=True)):
            steps = [len(part) for part in row]
            if len(set(steps)) > 1 or not steps[0]:
                raise ValueError(
                    f"row {i} holds {steps[0]} observations, {steps[1]} actions and {steps[2]} "
                    "returns: each step has one of each, and the present one an action of 0"
                )
            chosen.append(int(self.rule(*row, self.numbers[i % len(self.numbers)])))
        return np.array(chosen)


# --- The probes: each theme adds to the one before, each probe one thing that can go wrong --------
#
# A row: name, the mistake that it isolates, the games, the player, episodes, context, right returns


def _one_episode(p: float, target: float) -> list[tuple]:
    choice, states = (0.0, p), [_way((p, 0), (0, p), (p, 0), (0, p))]
    never, odd = Player(_never), Player(_odd_state)
    again, blank, twice = Player(_as_before), Player(_blank), [_way((0, p), (0, p))]
    lower, exact = Player(_not_asked_for, (target,)), Player(_asked_for, (target - p,))
    now, later, before = (
        [_way(p, choice)],
        [_way(p, 0, choice)],
        Player(_first_asked_for, (target,)),
    )
    two = [_way(p, p, choice)], Player(_asked_for, (target - 2 * p,))
    much = [_way(2 * target, choice)], Player(_asked_for, (-target,))
    return [
        ("one step", "drops the reward of the end", [_way(p)], never, 1, 9, [p]),
        ("two steps that pay", "counts the last step", [_way(p, p)], never, 1, 9, [2 * p]),
        ("what a state asks for", "never looks again", states, odd, 1, 9, [4 * p]),
        ("a prize, a step, a choice", "never lowers the target", later, lower, 1, 9, [2 * p]),
        ("a prize, a choice at once", "lowers it a step late", now, lower, 1, 9, [2 * p]),
        ("what is left, exactly", "lowers it by something else", now, exact, 1, 9, [2 * p]),
        ("two prizes, a choice", "subtracts what was subtracted", *two, 1, 9, [3 * p]),
        ("more than was asked", "never goes below nothing", *much, 1, 9, [2 * target + p]),
        ("what was asked at first", "changes what was asked", now, before, 1, 9, [2 * p]),
        ("the same action again", "forgets what it did", [_way(0, 0, choice)], again, 1, 9, [p]),
        ("an action not chosen yet", "shows an old action", twice, blank, 1, 9, [2 * p]),
    ]


def _further_episodes(p: float, target: float) -> list[tuple]:
    once, late, both = [_way((0, p))], [_way(0, 0, (0, p))], [p, p]
    cut_first = [(_way(p, 0, clock=1), _way(2 * p))]
    never, blank = Player(_never), Player(_blank)
    few, one = Player(_at_most, (5,)), Player(_at_most, (1,))
    anew = Player(_asked_for, (target,))
    return [
        ("two episodes", "goes on counting", once, blank, 2, 9, both),
        ("the length of a history", "never clears the history", late, few, 2, 9, both),
        ("what is asked for anew", "asks for what was left", once, anew, 2, 9, both),
        ("the first step of all", "takes the reset for a step", once, one, 2, 9, both),
        ("a clock", "waits for a termination", cut_first, never, 1, 9, [p]),
    ]


def _contexts(p: float, _: float) -> list[tuple]:
    way = [_way(0, 0, 0, 0, (0, p))]
    most, last, least = Player(_at_most, (3,)), Player(_in_state, (4,)), Player(_at_least, (3,))
    return [
        ("five steps, a context of three", "shows too much", way, most, 1, 3, [p]),
        ("the present state", "keeps the oldest", way, last, 1, 3, [p]),
        ("all three steps", "shows too little", way, least, 1, 3, [p]),
    ]


def _side_by_side(p: float, target: float) -> list[tuple]:
    choice, pair, four = (0.0, p), [_way(p), _way(2 * p)], [p, p, 2 * p, 2 * p]
    prizes, uneven = [_way(p, choice), _way(2 * p, choice)], [_way(0, 0), _way(0, 0, choice)]
    long, longer = [_way(p), _way(0, 0, 0, 2 * p)], [_way(0), _way(0, 0, 0, choice)]
    never, least, all_four = Player(_never), Player(_at_least, (3,)), Player(_at_least, (4,))
    each = Player(_asked_for, (target - p, target - 2 * p))
    own_state = [_way(0), _way(0, 0, choice)], Player(_in_state, (9, 2))
    own_clock, pays_more = [_way(0, 0, clock=1), _way(0, p)], (_way(p), _way(2 * p))
    own_action = [_way(0, choice), _way(0, choice)], Player(_as_first, (0, 1))
    return [
        ("two games", "adds up the games", pair, never, 2, 9, [p, 2 * p]),
        ("a prize in each", "one target for all", prizes, each, 2, 9, [2 * p, 3 * p]),
        ("a short and a longer game", "one end ends all", uneven, least, 2, 9, [0, p]),
        ("two episodes of two games", "mixes the games", pair, never, 4, 9, four),
        ("a short and a long game", "takes the first to end", long, never, 4, 9, four),
        ("four steps beside short games", "clears all", longer, all_four, 2, 9, [0, p]),
        ("a state of its own", "one state for all", *own_state, 2, 9, [0, p]),
        ("an action of its own", "one action for all", *own_action, 2, 9, [0, p]),
        ("a clock of its own", "one clock for all", own_clock, never, 2, 9, [0, p]),
        (
            *("the first ones count", "keeps the last episodes"),
            *([pays_more, _way(0, 0, 0, 0)], never, 2, 9, [p, 0]),
        ),
        ("three episodes of two games", "", pair, never, 3, 9, four),
    ]


def _probes(rng: np.random.Generator) -> list[Case]:
    """Worlds in the order in which they are tried, with what each has to bring."""
    # A prize of no whole number, so that counting steps is not taken for subtracting it.
    p, target = 1.25 + float(rng.integers(4)) / 2, float(rng.integers(20, 40))
    cases = []
    for theme in (_one_episode, _further_episodes, _contexts, _side_by_side):
        for name, isolates, games, player, episodes, context, right in theme(p, target):
            turns = (Turns(*game) if isinstance(game, tuple) else Turns(game) for game in games)
            args = (player, _games(*turns), target, episodes, context)
            cases.append(Case(name, args, np.array(right, float), isolates=isolates))
    return cases


play_games = Exercise(
    reference=_play_games,
    cases=_probes,
    seconds=8.0,
    edits="""
    drops the reward of the end: `returns[i].append(earned[i])` becomes
        `returns[i].append(earned[i] - rewards[i])`. One environment, one episode of one step, which
        pays and ends. The reward of the step that ends an episode belongs to its return: add it
        first, then look at `terminated` and `truncated`.

    counts the last step: `earned += rewards` becomes `earned = 1.0 * rewards`. Two steps, and
        both pay. The return is the *sum* of an episode's rewards, without a discount.

    never looks again: `seen.append(obs[i])` becomes `seen.append(seen[-1])`. Four states, one after
        the other, and which action pays depends on the state. The last observation of a row has to
        be the one that the latest `step` returned, and the environment has to get the action that
        the policy chose for it.

    never lowers the target: `to_go.append(target - earned[i])` becomes `to_go.append(target)`. A
        prize is won, and two steps later the policy acts by whether it is still asked for the whole
        target. What has been won is no longer asked for: subtract each reward.

    lowers it a step late: `target - earned[i]` becomes `target - earned[i] + rewards[i]`. A prize
        is won, and at the *next* step already the policy has to be asked for less. The last entry
        of `to_go` stands beside the observation that `step` returned together with the reward:
        subtract first, then append.

    lowers it by something else: `target - earned[i]` becomes `target + earned[i]`. A prize is won,
        and the policy checks the number: it has to be `target` less the reward. Yours moves by
        another amount, or the other way. Nothing is scaled or discounted here.

    subtracts what was subtracted: `to_go.append(target - earned[i])` becomes
        `to_go.append(to_go[-1] - earned[i])`. Two prizes, then a choice by the return that is left.
        Yours is lower than the target less both prizes: the first was taken off twice. Either
        subtract the last reward from the last return, or all that was earned from the target.

    never goes below nothing: `to_go.append(target - earned[i])` becomes
        `to_go.append(max(0.0, target - earned[i]))`. The first step pays twice what was asked for.
        What is left is below zero then, and the policy is told so.

    changes what was asked: `to_go.append(target - earned[i])` becomes
        `to_go[:] = [target - earned[i]] * len(seen)`. A prize is won, and the policy looks at the
        *first* entry of `to_go`. It keeps what was asked for then, the whole target: each step of
        the history has a return of its own, as in training. (Or is the history the present step
        alone?)

    forgets what it did: `taken[-1] = actions[i]` becomes `pass`. The policy takes action 1, and one
        step later looks it up. Beside the observation of a step stands the action that was taken
        *there*: put it in the place of the 0 before the next step begins. (An action that stands
        one place further on is no better.)

    shows an old action: `taken.append(0)` becomes `taken.append(actions[i])`. The policy looks at
        the last entry of `actions`. The present action is not chosen yet, so a 0 stands there; the
        action of the step before belongs one place further left.

    goes on counting: `earned[i] = 0.0` becomes `pass`. The same episode twice has the same return
        twice. When a new episode begins, what was earned begins at 0.

    never clears the history: `histories[i] = ([obs[i]], [0], [target])` becomes
        `seen.append(obs[i]); taken.append(0); to_go.append(target)`. Two episodes of three steps.
        In the second the policy is still shown steps of the first. A new episode begins with an
        empty history.

    asks for what was left: `[obs[i]], [0], [target]` becomes `[obs[i]], [0], [to_go[-1]]`. Two
        episodes of one step. In the second one nothing has been won yet: the policy is asked for
        the whole `target` again, from the first step on.

    takes the reset for a step: `([obs[i]], [0], [target])` becomes
        `([seen[-1], obs[i]], [0, 0], [target, target])`. Two episodes of one step. At the beginning
        of the second the policy must be shown one step, and yours shows more. Where `valid` is
        False, `step` has ignored the action and returned the first observation of a new episode.
        The last observation of the old one belongs in no history of the new one.

    waits for a termination: `(terminated[i] or truncated[i])` becomes `terminated[i]`. A clock
        truncates the first episode, and its return counts like any other. An episode is over when
        it is `terminated` or `truncated`.

    shows too much: `row[-context:]` becomes `row`. An episode of five steps, and a context of
        three. The policy is shown more than three steps; a model was trained on no more than that.

    keeps the oldest: `row[-context:]` becomes `row[:context]`. An episode of five steps, and a
        context of three. The last observation that the policy is shown is not the present one:
        drop the *oldest* steps, `row[-context:]`.

    shows too little: `row[-context:]` becomes `row[1 - context:]`. An episode of five steps, and a
        context of three. At its end the policy is shown less than three steps. The present one is
        counted: two before it, and itself.

    adds up the games: `earned += rewards` becomes `earned += rewards.sum()`. Two environments whose
        episodes pay differently. Each has rewards and returns of its own, and those of environment
        0 come first.

    one target for all: `target - earned[i]` becomes `target - earned[0]`. Two environments, and in
        one the prize is twice as large. Each row of `to_go` is lowered by the rewards of its own
        environment. (A list that was multiplied, `[[target]] * N`, is one list under N names.)

    one end ends all: `if not valid[i]` becomes `if not valid.all()`. Two environments, and the
        episode of one is shorter. When it ends, the other goes on: look at `terminated`,
        `truncated` and `valid` environment by environment.

    mixes the games: `np.array(returns).ravel()` becomes `np.array(returns).T.ravel()`. Two
        environments, two episodes of each. Keep a list of returns for each environment and join
        them at the end: first all of environment 0, then all of environment 1.

    takes the first to end: `while min(map(len, returns)) < share` becomes
        `while sum(map(len, returns)) < share * envs.num_envs`, ` and len(returns[i]) < share` goes,
        `np.array(returns).ravel()` becomes `np.concatenate(returns)`. Two environments, one with
        short episodes and one with long ones; four episodes, two of each. Those that end first are
        short ones, and a player whom they are counted for looks worse than it is: go on until the
        slowest environment has its share, and leave out what the others have beyond theirs.

    clears all: `histories[i] = ([obs[i]], [0], [target])` becomes
        `histories[:] = [([x], [0], [target]) for x in obs]`. Two environments, one with episodes of
        a single step. Each time one of these ends, the policy forgets what happened in the *other*
        environment. Begin anew only where `valid` is False.

    one state for all: `seen.append(obs[i])` becomes `seen.append(obs[0])`. Two environments, and
        the second player waits for its third state. Each row of the history grows by its own
        environment's observation, `obs[i]`.

    one action for all: `taken[-1] = actions[i]` becomes `taken[-1] = actions[0]`. Two
        environments whose players go on as they began, one with 0, the other with 1. Write down
        in each row what that row's environment was given.

    one clock for all: `(terminated[i] or truncated[i])` becomes `(terminated[i] or truncated[0])`.
        Two environments, and a clock stops the first one early. Whether an episode is over its own
        flags say, `terminated[i]` and `truncated[i]`.

    keeps the last episodes: `len(returns[i]) < share` becomes
        `(len(returns[i]) < share or returns[i].pop(0) is not None)`. One environment has played
        several episodes while the other plays its only one. Of each the first ones count: what
        comes after its share is left out.
    """,
    hints=(
        "Keep for each environment three lists, of observations, actions and returns to go. They "
        "begin with the first observation, 0 and `target`. A loop: show the policy the last "
        "`context` entries of each, step, write down what happened.",
        "After `step`, for each environment: put the action in the place of the last 0, append the "
        "new observation, another 0, and what is left of the target. Where `valid` is False "
        "begin three new lists instead, and let what was earned begin at 0.",
        "Where `terminated` or `truncated`, append what was earned to this environment's list of "
        "returns, unless it has `-(-episodes // N)` already. Stop when all lists have as many; "
        "`np.array(lists).ravel()` puts them in order.",
    ),
)
