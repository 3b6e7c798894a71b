"""The runs of lesson 11, small: each calls the learner's function, and a wrong one changes it."""

from functools import cache

import numpy as np
import torch

from course_lib.rl import q_learning
from course_lib.rl.envs import make
from course_lib.world_models import dyna, dynamics, horizons, mpc, planning
from course_lib.world_models.experience import Transitions, collect, random_policy, transitions
from course_lib.worlds.maze import Maze

SETTINGS = dynamics.Config(members=2, hidden=(16,), updates=20)


@cache
def steps() -> Transitions:
    envs = make("CartPole-v1", 1, seed=0)
    return transitions(collect(envs, random_policy(envs, seed=0), 60))


def maze():
    q = np.zeros((12, 4))
    settings = q_learning.Config(steps=300, gamma=0.95, alpha=0.5, report_every=100)
    rows = list(dyna.train(q, Maze("S... .##. ...G"), settings, dyna.Config(5), seed=0))
    return [q, rows[-1]["return"]]


def ensemble():
    return list(dynamics.train(dynamics.Dynamics(4, 2, SETTINGS), steps(), SETTINGS))


def pole():
    config = mpc.Config(
        random_steps=40,
        rounds=1,
        round_steps=20,
        model=SETTINGS,
        planner=planning.Config(horizon=5, population=16, iterations=2, elites=4),
    )
    return list(mpc.train(mpc.Run(make("CartPole-v1", 1, seed=0), planning.CARTPOLE, config)))


def value():
    config = dynamics.Config(members=3, hidden=(16,), learn_reward=True)
    model, value = (dynamics.Dynamics(4, 2, config, seed) for seed in (0, 1))

    def left(obs):
        return torch.tensor([1.0, 0.0]).expand(*obs.shape[:-1], 2)

    returns = horizons.expansions(model, value, steps().obs[:8], left, horizon=3, gamma=0.95)
    return horizons.weighted_return(returns).tolist()


RUNS = {
    "dyna_update": (maze, "only the first"),
    "gaussian_nll": (ensemble, "claims nothing for being sure"),
    "elite_update": (pole, "keeps the worst"),
    "horizon_weights": (value, "all alike"),
}

CALLED = {"cross_entropy_plan"}
