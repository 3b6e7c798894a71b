"""The runs of lesson 01 that a learner's functions drive, made small."""

import gymnasium
import numpy as np

from course_lib.rl import q_learning as tabular

SHORT = tabular.Config(steps=1_000, gamma=0.9, report_every=250)


def value_iteration():
    return tabular.value_iteration(tabular.tabular_model(gymnasium.make("FrozenLake-v1")), 0.9)


def walk(train):
    """A walk along the cliff: the metrics and what the table holds afterwards."""
    q = np.zeros((48, 4))
    return [*train(q, gymnasium.make("CliffWalking-v1"), SHORT, seed=0), q]


def q_learning():
    return walk(tabular.q_learning)


def sarsa():
    return walk(tabular.sarsa)


RUNS = {
    "bellman_backup": (value_iteration, "hopes for the best"),
    "epsilon_greedy": (q_learning, "takes the first of several best"),
    "q_update": (q_learning, "jumps to the target"),
    "q_learning_target": (q_learning, "averages the actions"),
    "sarsa_target": (sarsa, "takes the best action"),
}

CALLED = {"learn_from_steps"}
