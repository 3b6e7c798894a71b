"""What lesson 14 asks to build: a table that says which sentences an agent has understood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from course_lib.agents.instructions import InstructionAgent
from course_lib.classroom.check import Case, Exercise
from course_lib.rl.envs import Step
from course_lib.worlds.commands import Commands
from course_lib.worlds.sentences import COLOURS, VERBS, Command, Goal


def _generalisation_table(
    agent: InstructionAgent,
    rows: dict[str, list[Command]],
    make_envs: Callable[[list[Command]], Commands],
    episodes: int,
) -> dict[str, float]:
    """Say of each row of commands in which share of its episodes the agent did what it was told.

    For each row the agent hears its sentences, in their order, and plays in new environments,
    ``make_envs(commands)``: ``agent.act(obs)`` gives actions (N,), ``envs.step(actions)`` a
    ``Step``. An episode is a success if its last step is ``terminated`` and has a reward above 0;
    one that is ``truncated`` is a failure that counts. Rows where ``valid`` is False belong to no
    episode. Each environment plays ``episodes`` / N whole ones, rounded up, and its first count.

    Afterwards the agent hears again what it had heard before, ``agent.sentences``.
    """
    before, table = agent.sentences, {}
    for name, commands in rows.items():
        agent.hear([command.sentence for command in commands])
        envs = make_envs(commands)
        share = -(-episodes // envs.num_envs)
        ended, done = np.zeros((2, envs.num_envs), int)
        obs = envs.reset()
        while ended.min() < share:
            obs, rewards, terminated, truncated, valid = envs.step(agent.act(obs))
            ends = valid & (terminated | truncated) & (ended < share)
            done += ends & terminated & (rewards > 0)
            ended += ends
        table[name] = done.sum() / ended.sum()
    agent.hear(before)
    return table


# --- What the probes are made of: an agent that obeys, and rooms that follow a script -------------

MOST = 60  # steps in a probe; the longest takes 11


class Listener:
    """An agent that does what it hears: its action is the number of the sentence's verb.

    It hears its ``own`` sentence at first. With an agent of an ``earlier`` probe it obeys only if
    that one hears its own sentence again: the one way to see what a function leaves behind.
    """

    def __init__(self, own: str, earlier: Listener | None = None):
        self.own, self.earlier, self.copies, self._heard = [own], earlier, [], []
        self.hear(self.own)

    def __repr__(self) -> str:
        return f"an agent that has heard {self.own}"

    def __deepcopy__(self, memo: dict) -> Listener:
        self.copies.append(Listener(self.own[0], self.earlier))  # the first one is handed out
        return self.copies[-1]

    def hear(self, sentences: Sequence[str]) -> None:
        self.sentences = list(sentences)
        self._heard[:] = sentences  # in place: a shallow copy hears it too, as with a network

    def act(self, obs: np.ndarray, greedy: bool = False, generator: object = None) -> np.ndarray:
        numbers = np.asarray(obs)[:, -1]
        if numbers.max() >= len(self._heard):
            raise ValueError(
                f"an observation speaks of sentence {numbers.max()}, and the agent has heard "
                f"{len(self._heard)}: let it hear all sentences of the row, counted from 0"
            )
        verbs = [_verb(self._heard[number]) for number in numbers]
        asked = self.earlier.copies[:1] if self.earlier else []
        offended = any(agent._heard != agent.own for agent in asked)
        return (np.array(verbs) + offended) % len(VERBS)


def _verb(sentence: str) -> int:
    """The number of the verb that a sentence begins with."""
    return next(number for number, verb in enumerate(VERBS) if sentence.startswith(verb))


class Scripted:
    """Environments whose episodes are written down, one letter for each step, again and again.

    "." goes on, "*" pays and goes on; the others end: "?" pays if the action is what the command
    asks for, "+" pays, "0" does not, "-" costs, "|" is stopped by the clock, "!" too, and it pays.
    Observations (N, 2) are the step and the number of the sentence, which changes with the episode.
    """

    def __init__(self, commands: Sequence[Command], scripts: Sequence[str], pays: float):
        self.commands, self.sentences = list(commands), [c.sentence for c in commands]
        self.scripts, self.pays = [script.split() for script in scripts], pays
        self.num_envs, self.steps = len(scripts), 0
        self.begun = np.arange(self.num_envs) - 1  # environment i begins with sentence i

    def reset(self, seed: int | None = None) -> np.ndarray:
        self.begun += 1
        self.at, self.over = np.zeros((2, self.num_envs), int)
        return self._obs()

    def step(self, actions: np.ndarray) -> Step:
        self.steps += 1
        if self.steps > MOST:
            raise RuntimeError(
                f"after {MOST} steps you are still playing, and a few were enough: which episodes "
                "did your loop miss, or did it reset what was still running?"
            )
        actions, valid = np.asarray(actions), self.over == 0
        if actions.shape != valid.shape:
            raise ValueError(f"actions must have shape {valid.shape}, got {actions.shape}")
        rewards = np.zeros(self.num_envs, np.float32)
        terminated, truncated = np.zeros((2, self.num_envs), bool)
        for i, action in enumerate(actions):
            if not valid[i]:
                self.begun[i], self.at[i] = self.begun[i] + 1, 0
                continue
            script = self.scripts[i][(self.begun[i] - i) % len(self.scripts[i])]
            sign, command = script[self.at[i]], self.commands[self.begun[i] % len(self.commands)]
            right = sign in "*+!" or (sign == "?" and int(action) == VERBS.index(command.goal.verb))
            rewards[i] = self.pays * (right - (sign == "-"))
            terminated[i], truncated[i] = sign in "?+0-", sign in "|!"
            self.at[i] += 1
        self.over = terminated | truncated
        return Step(self._obs(), rewards, terminated, truncated, valid)

    def _obs(self) -> np.ndarray:
        return np.stack([self.at, self.begun % len(self.commands)], axis=1)

    def close(self) -> None:
        pass


# --- The probes: each theme adds to the one before, each probe one thing that can go wrong --------
#
# A row: name, the mistake that it isolates, scripts, episodes, rows of the table, the right table.
# A row of the table is letters, two for each command: the verb that is said, the verb that is meant

SAME, TWO = {"row": "xx"}, {"row": "xx yy"}
ONE_ROOM = [
    ("a table of one row", "", ["+"], 1, SAME, [1]),
    ("an end that pays", "adds up rewards", ["+"], 1, SAME, [1]),
    ("an end that costs, one of 0", "takes every end for a success", ["- 0"], 2, SAME, [0]),
    ("a step that pays, an end that does not", "counts every reward", ["*0"], 1, SAME, [0]),
    ("a clock, then an end that pays", "leaves out the clock", ["| +"], 1, SAME, [0]),
    ("a clock that pays", "does not ask what ended it", ["!"], 1, SAME, [0]),
    ("two ends that pay", "counts the reset", ["+ +"], 2, SAME, [1]),
    ("a success, then a failure", "remembers a success", ["+ 0"], 2, SAME, [0.5]),
]
SENTENCES = [
    ("what the sentence says", "does not let it hear", ["?"], 1, SAME, [1]),
    ("a second sentence", "never looks again", [".?"], 2, TWO, [1]),
    ("a second sentence, at once", "misses the first observation", ["?"], 2, TWO, [1]),
    ("the second row fails", "counts the row before", ["?"], 1, {"a": "xx", "b": "yz"}, [1, 0]),
    ("the first row fails", "hears the first row only", ["?"], 1, {"a": "xy", "b": "yy"}, [0, 1]),
    ("two rows", "plays the first row only", ["?"], 1, {"a": "xx", "b": "yy"}, [1, 1]),
    ("the same agent again", "keeps the last row's sentences", ["?"], 1, SAME, [1]),
]
MANY_ROOMS = [
    ("two rooms", "looks at the first room", ["+", "0"], 2, SAME, [0.5]),
    ("a sentence in each", "one action for all", ["?", "?"], 2, TWO, [1]),
    ("two rooms, two episodes", "plays all in each room", ["+ 0", "+ 0"], 2, SAME, [1]),
    ("one is slower", "stops with the fastest", ["+", ".0 .+"], 2, SAME, [0.5]),
    ("three episodes of two rooms", "divides by what was asked", ["+", "+"], 3, SAME, [1]),
    ("a slow room", "takes the first to end", ["+ 0", "....+ ....0"], 4, SAME, [0.5]),
    ("two each, in all four", "rounds down", ["0 .+", ".0 .+"], 3, SAME, [0.5]),
    ("the first ones count", "counts what comes after", ["+ 0 0 0", "....+"], 2, SAME, [1]),
]


def _probes(rng: np.random.Generator) -> list[Case]:
    """Rooms in the order in which they are tried, with the table that each has to give."""
    verbs, colour = rng.permutation(VERBS).tolist(), str(rng.choice(COLOURS))
    said = dict(zip("xyz", verbs, strict=True))
    pays = float(rng.uniform(0.5, 0.7))
    agent, cases = None, []
    for name, isolates, scripts, episodes, rows, shares in ONE_ROOM + SENTENCES + MANY_ROOMS:
        table = {
            row: [
                Command(f"{said[says]} the {colour} box", Goal(said[means], colour, "box"))
                for says, means in pairs.split()
            ]
            for row, pairs in rows.items()
        }
        again = agent if isolates.startswith("keeps") else None
        agent = Listener(f"{said['z']} it", again)
        right = dict(zip(rows, map(float, shares), strict=True))
        make = partial(Scripted, scripts=scripts, pays=pays if isolates else 1.0)
        cases.append(Case(name, (agent, table, make, episodes), right, isolates=isolates))
    return cases


generalisation_table = Exercise(
    reference=_generalisation_table,
    cases=_probes,
    seconds=8.0,
    edits="""
    adds up rewards: `ends & terminated & (rewards > 0)` becomes `ends * rewards`,
        `np.zeros((2, envs.num_envs), int)` becomes `np.zeros((2, envs.num_envs))`. One room, one
        episode of one step, which ends and pays less than 1. A success is one, early or late: the
        table says *how many* of the episodes succeeded.

    takes every end for a success: `& terminated & (rewards > 0)` becomes `& terminated`. Two
        episodes: one ends with a reward below 0, one without any. The agent did something else than
        it was told. A success needs `terminated` and a reward above 0.

    counts every reward: `done += ends & terminated & (rewards > 0)` becomes
        `done += (rewards > 0) & (ended < share)`. A step pays and the episode goes on; its end pays
        nothing. What counts is the *last* step: whether it is `terminated`, and its own reward.

    leaves out the clock: `(terminated | truncated)` becomes `terminated`. One episode is asked for,
        and the clock stops the first one. An agent that wanders about until its time is up has
        failed, and that counts: `truncated` ends an episode too.

    does not ask what ended it: `ends & terminated & (rewards > 0)` becomes `ends & (rewards > 0)`.
        The clock stops an episode at a step that pays. A success has to be `terminated`. (That is
        why a sum of rewards, as `evaluate` returns it, does not answer this.)

    counts the reset: `valid & (terminated | truncated)` becomes
        `(terminated | truncated | ~valid)`. Two episodes in one room, both succeed, and you count a
        failure. Where `valid` is False, `step` has only begun a new episode: that row ends none.

    remembers a success: `(rewards > 0)` becomes `((rewards > 0) | (done > 0))`. A success, then a
        failure, in one room: a half. What was noted of one episode says nothing about the next.

    does not let it hear: `agent.hear([command.sentence for command in commands])` becomes `pass`.
        The agent does what it has heard. Before it plays a row, let it hear the row's sentences,
        `agent.hear([...])`, a list of str; then play the actions that `agent.act` answers.

    never looks again: `obs, rewards, terminated` becomes `_, rewards, terminated`. Two sentences in
        turns, an episode of two steps each. The number of the sentence stands in the observation:
        act on the one that the latest `step` returned.

    misses the first observation: `obs, rewards, terminated, truncated, valid =` becomes
        `new, rewards, terminated, truncated, valid =`, `ended += ends` becomes
        `ended += ends; obs = np.where(valid[:, None], new, obs)`. Two sentences in turns, an
        episode of one step each. Where `valid` is False, `step` has returned the *first*
        observation of a new episode. It counts nothing, but the agent has to act on it.

    counts the row before: `done.sum() / ended.sum()` becomes
        `(done.sum() / ended.sum() + sum(table.values())) / (1 + len(table))`. Two rows: the agent
        succeeds in the first and fails in the second. Begin each row with all counts at 0.

    hears the first row only: `agent.hear([command` becomes `table or agent.hear([command`. Two rows
        with different sentences. For each of them the agent has to hear that row's own.

    plays the first row only: `make_envs(commands)` becomes `make_envs(next(iter(rows.values())))`.
        Two rows with different goals. Make environments for each, out of its own commands.

    keeps the last row's sentences: `agent.hear(before)` becomes `pass`. The agent of the probe
        before is looked at once more: it still hears the sentences of the table. Keep
        `agent.sentences` at the beginning, and let it `hear` them again before you return.

    looks at the first room: `done.sum() / ended.sum()` becomes `done[0] / ended[0]`. Two rooms: in
        one each episode succeeds, in the other none. Count all environments.

    one action for all: `agent.act(obs)` becomes `agent.act(obs)[:1].repeat(len(obs))`. Two rooms
        with a sentence in each. `agent.act(obs)` gives an action for each of them.

    plays all in each room: `-(-episodes // envs.num_envs)` becomes `episodes`. Two episodes in two
        rooms are one for each. Yours played more, and their later ones count in your share.

    stops with the fastest: `ended.min()` becomes `ended.max()`. One room is done after a step, the
        other needs two. Go on until *each* environment has played its share, and reset none
        that is still playing.

    divides by what was asked: `/ ended.sum()` becomes `/ episodes`. Three episodes in two rooms:
        two in each, four in all. Divide by the number of those that were played.

    takes the first to end: `ended.min() < share` becomes `ended.sum() < episodes`,
        ` & (ended < share)` goes. Short episodes beside long ones, two of each. The first four to
        end are mostly short ones: go on until the slowest room has played its two.

    rounds down: `-(-episodes // envs.num_envs)` becomes `max(1, episodes // envs.num_envs)`. Three
        episodes in two rooms: each plays two, and all four count. Round up.

    counts what comes after: ` & (ended < share)` goes. While the slow room plays its one episode
        the other has played several. Of each the *first* ones count: leave out the others.
    """,
    hints=(
        "A loop over rows: hear, make, reset. In it a loop of steps, with two counts for each "
        "environment: episodes that ended, and those among them that were a success.",
        "An episode ends where `terminated | truncated`. It counts while its environment has fewer "
        "than `-(-episodes // envs.num_envs)`; the loop goes on until all have as many.",
        "`ends = (terminated | truncated) & (ended < share)`, then `done += ends & terminated & "
        "(rewards > 0)`; a row's number is `done.sum() / ended.sum()`. Last: `agent.hear(before)`.",
    ),
)
