"""What lesson 14 trains and how it is tried: readers of sentences, agents, and tables of success.

Readers are the encoders that the lesson compares: "MiniLM" and "bag of words", both whitened on
the sentences of training and of one size, and "bag of words, all 24", which keeps every direction;
"word vectors", learned by PPO with the rest; "goal code", three one-hot codes of verb, colour and
kind; "goal number", one one-hot code for each goal; "deaf", nothing at all. The goal codes hear no
language: they are told the goal, as most agents are. "MiniLM, raw" leaves the whitening out.

Symbols: S sentences, E episodes, N environments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from course_lib import randomness
from course_lib.agents import instructions
from course_lib.agents.instructions import Config, Encoder, InstructionAgent
from course_lib.evaluation import evaluate
from course_lib.worlds import commands as rooms, grid, pretrained, sentences
from course_lib.worlds.commands import Commands
from course_lib.worlds.grid import Rooms
from course_lib.worlds.sentences import Command, Goal

LANGUAGE = ("MiniLM", "MiniLM, raw", "bag of words", "bag of words, all 24", "word vectors")
READERS = (*LANGUAGE, "goal code", "goal number", "deaf")
WORD_VECTOR = 16  # as many numbers as the whitened vectors have


@cache
def minilm() -> Encoder:
    """The pretrained encoder; what it has read once it knows by heart."""
    encoder, known = pretrained.sentence_encoder(), {}

    def encode(texts: Sequence[str]) -> Tensor:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, encoder.encode(new).clone(), strict=True))
        return torch.stack([known[text] for text in texts])

    return encode


class GoalCode:
    """One-hot codes in place of words; zeros for a sentence whose goal it is not told."""

    def __init__(self, goals: dict[str, Goal], factored: bool):
        self.goals, self.factored = goals, factored
        self.names = [sentences.VERBS, sentences.COLOURS, sentences.KINDS]

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(S, 13) three codes side by side, or (S, 54) one for each goal."""
        return torch.stack([self._code(self.goals.get(text)) for text in texts])

    def _code(self, goal: Goal | None) -> Tensor:
        if not self.factored:
            code = torch.zeros(len(sentences.GOALS))
            if goal is not None:
                code[sentences.NUMBER[goal]] = 1
            return code * instructions.LENGTH
        code = torch.zeros(sum(map(len, self.names)))
        if goal is not None:
            starts = np.cumsum([0, *map(len, self.names[:-1])])
            for start, names, word in zip(starts, self.names, goal, strict=True):
                code[start + names.index(word)] = 1
        return code * instructions.LENGTH / 3**0.5


def reader(kind: str, training: Sequence[Command]) -> Encoder:
    """The encoder of that name, made for the sentences of ``training``."""
    texts = [command.sentence for command in training]
    if kind == "MiniLM":
        return instructions.whitened(minilm(), texts)
    if kind == "MiniLM, raw":
        return lambda texts: minilm()(texts) * instructions.LENGTH  # as long as whitened ones
    if kind == "deaf":
        return lambda sentences: torch.zeros(len(sentences), 1)
    bag = instructions.BagOfWords(texts)
    if kind == "bag of words":
        return instructions.whitened(bag, texts)
    if kind == "bag of words, all 24":
        return instructions.whitened(bag, texts, components=len(bag.vocabulary))
    if kind == "word vectors":
        return bag
    if kind not in READERS:
        raise ValueError(f"reader must be one of {', '.join(READERS)}, got {kind!r}")
    told = [*training, *sentences.rows()["held-out pair"]]
    return GoalCode({c.sentence: c.goal for c in told}, factored=kind == "goal code")


def new_agent(kind: str, training: Sequence[Command], seed: int = 0) -> InstructionAgent:
    """An untrained agent with a reader of that kind, which has heard ``training``."""
    config = Config(word_vector=WORD_VECTOR if kind == "word vectors" else 0)
    texts = [command.sentence for command in training]
    shape = grid.FEATURES, grid.VIEW**2, len(rooms.ACTIONS)
    return InstructionAgent(reader(kind, training), texts, *shape, config, seed)


def player(agent: InstructionAgent, seed: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    """The agent as a policy of observations alone, with its draws seeded."""
    generator = randomness.generator(seed)
    return lambda obs: agent.act(obs, generator=generator)


def successes(
    agent: InstructionAgent,
    commands: Sequence[Command],
    episodes: int = 400,
    seed: int = 0,
    heard: Sequence[str] | None = None,
    level: str = "Commands",
    physics: Callable[[int, int], Rooms] = Rooms,
    num_envs: int = 100,
) -> np.ndarray:
    """Which episodes of ``commands`` were done as they were told: (E,) bool.

    ``heard`` (S,) are sentences that the agent hears in place of the commands' own. Afterwards it
    hears again what it had heard before.
    """
    before = agent.sentences
    agent.hear([command.sentence for command in commands] if heard is None else heard)
    envs = Commands(commands, min(num_envs, episodes), seed, level, physics)
    returns = evaluate(player(agent, seed), envs, episodes)
    agent.hear(before)
    return returns > 0


def table(
    agent: InstructionAgent, rows: dict[str, list[Command]], episodes: int = 400, seed: int = 0
) -> dict[str, float]:
    """Success by row of the table of generalisation."""
    return {n: float(successes(agent, row, episodes, seed).mean()) for n, row in rows.items()}


def looked_up(
    agent: InstructionAgent,
    rows: dict[str, list[Command]],
    training: Sequence[Command],
    episodes: int = 400,
    seed: int = 0,
) -> dict[str, float]:
    """The same where each sentence is replaced by the nearest one of ``training``."""
    nearest = instructions.nearest(minilm(), [command.sentence for command in training])
    found = {}
    for name, row in rows.items():
        heard = nearest([command.sentence for command in row])
        found[name] = float(successes(agent, row, episodes, seed, heard).mean())
    return found


def paired(
    agent: InstructionAgent, training: Sequence[Command], num_rooms: int = 200, seed: int = 0
) -> np.ndarray:
    """The same rooms played twice, with two sentences for two of their things: (2, E) bool.

    Whoever does not listen does the same both times, and is right at most once.
    """
    rng = np.random.default_rng((seed, 15))
    drawn, plans = [], []
    while len(plans) < num_rooms:
        first = training[rng.integers(len(training))]
        level, physics = rooms.LEVELS["Commands"], Rooms(1, rooms.LEVELS["Commands"].size)
        plan = rooms.draw_plan(first, level, physics, rng)
        there = [code for _, code in plan.things[1:]]
        second = [c for c in training if rooms.thing_code(*c.goal.thing) in there]
        if second:
            drawn.append((first, second[rng.integers(len(second))]))
            plans.append(plan)
    return np.stack([_once(agent, commands, plans, seed) for commands in zip(*drawn, strict=True)])


def outcomes(
    agent: InstructionAgent, commands: Sequence[Command], num_rooms: int = 400, seed: int = 0
) -> np.ndarray:
    """What becomes of one episode in each of ``num_rooms`` rooms, (E,).

    0 right, 1 a wrong deed, 2 the right verb done to the other thing that the sentence names, 3
    nothing until the clock ran out. Afterwards the agent hears again what it had heard before.
    """
    before = agent.sentences
    agent.hear([command.sentence for command in commands])
    envs, policy = Commands(commands, num_rooms, seed), player(agent, seed)
    obs, found = envs.reset(), np.full(num_rooms, -1)
    while (found < 0).any():
        told = [commands[number] for number in envs.numbers]
        obs, rewards, terminated, truncated, _ = envs.step(policy(obs))
        for i in np.flatnonzero((found < 0) & (terminated | truncated)):
            did = sentences.GOALS[envs.did[i]] if envs.did[i] != rooms.NOTHING else None
            other = did is not None and did == Goal(told[i].goal.verb, *(told[i].other or ("", "")))
            found[i] = 3 if truncated[i] else 0 if rewards[i] > 0 else 2 if other else 1
    agent.hear(before)
    return found


def _once(
    agent: InstructionAgent, commands: Sequence[Command], plans: Sequence[rooms.Plan], seed: int
) -> np.ndarray:
    """One episode from each plan, with the command of the same number: (E,) bool."""
    before = agent.sentences
    agent.hear([command.sentence for command in commands])
    envs, policy = Commands(commands, len(plans), seed), player(agent, seed)
    envs.reset()
    for i, plan in enumerate(plans):
        envs.begin(i, i, plan)
    obs, right = envs.observe(), np.zeros(len(plans), bool)
    playing = np.ones(len(plans), bool)
    while playing.any():
        obs, rewards, terminated, truncated, _ = envs.step(policy(obs))
        right |= playing & (rewards > 0)
        playing &= ~(terminated | truncated)
    agent.hear(before)
    return right
