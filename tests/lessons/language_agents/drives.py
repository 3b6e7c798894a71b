"""The runs of lesson 14, small: each calls the learner's function, and a wrong one changes it."""

import numpy as np

from course_lib.agents import instructions
from course_lib.agents.instructions import BagOfWords, Config, InstructionAgent
from course_lib.lessons.language_agents.chances import chances
from course_lib.rl import ppo
from course_lib.worlds import grid, sentences
from course_lib.worlds.commands import ACTIONS, Commands

SETTINGS = ppo.Config(
    total_steps=128, num_envs=8, rollout_length=8, minibatch_size=32, epochs=1, learning_rate=1e-3
)
NETWORK = Config(listening=8, channels=8, squeezed=4, hidden=16)
LEARNED = sentences.training(verbs=("go to",), templates=1)


def agent():
    texts = [command.sentence for command in LEARNED]
    encoder = instructions.whitened(BagOfWords(texts), texts, components=4)
    shape = grid.FEATURES, grid.VIEW**2, len(ACTIONS)
    return InstructionAgent(encoder, texts, *shape, NETWORK, seed=0)


def train():
    envs = Commands(LEARNED, SETTINGS.num_envs, seed=0)
    return list(ppo.train(agent(), envs, SETTINGS, seed=0))


def physics():
    """Rooms that are walked through at random: thirty steps of what each agent sees."""
    envs, rng = Commands(LEARNED, 16, seed=0), np.random.default_rng(0)
    envs.reset()
    return [envs.step(rng.integers(len(ACTIONS), size=16)).obs for _ in range(30)]


def luck():
    return chances({"seen": LEARNED}, rooms=5)


RUNS = {
    "film": (train, "forgets the 1"),
    "whitening": (train, "not centred"),
    "pick_up_or_drop": (physics, "the thing stays"),
    "chance": (luck, "counts things"),
}

CALLED = {"generalisation_table"}
