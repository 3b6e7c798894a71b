"""The runs of lesson 13, small: each calls the learner's function, and a wrong one changes it."""

from functools import cache

import numpy as np

from course_lib.agents import decision_transformer
from course_lib.lessons.decision_transformer import gamble
from course_lib.rl import offline
from course_lib.rl.dataset import Dataset, record
from course_lib.rl.dqn import DQN, Config as DQNConfig
from course_lib.rl.envs import make


@cache
def poles() -> Dataset:
    """Short games of CartPole, played at random."""
    rng = np.random.default_rng(0)
    return record(make("CartPole-v1", 4, seed=0), lambda obs: rng.integers(2, size=4), 80, False)


def transformer():
    config = decision_transformer.Config(
        context=3, layers=1, width=16, heads=2, steps=6, batch_size=8, warmup=2
    )
    data = poles()
    model = decision_transformer.DecisionTransformer(data.obs_shape, data.num_actions, config)
    return list(decision_transformer.train(model, data, config, seed=0))


def doors():
    return list(gamble.conditioned().values())


SETTINGS = offline.Config(steps=6, batch_size=16, hidden=(16,))


def cql():
    data = poles()
    agent = DQN(data.obs_shape, data.num_actions, DQNConfig(hidden=(16,)), seed=0)
    return list(offline.train_cql(agent, data, SETTINGS, seed=0))


def iql():
    learner = offline.IQL(poles(), SETTINGS, seed=0)
    return list(offline.train_iql(learner, poles(), SETTINGS, seed=0))


RUNS = {
    "returns_to_go": (transformer, "runs through the ends"),
    "interleave": (transformer, "actions before states"),
    "action_given_return": (doors, "does not divide"),
    "conservative_loss": (cql, "turns the sign"),
    "expectile_loss": (iql, "the wrong way round"),
}

CALLED = {"play_games"}
