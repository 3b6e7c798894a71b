"""The loop: budgets kept, the model sees everything, and a pole that balances."""

import math
from dataclasses import replace

import numpy as np
import pytest

from course_lib.evaluation import evaluate
from course_lib.rl.envs import make
from course_lib.world_models import dynamics, mpc, planning
from course_lib.world_models.experience import Experience, collect, random_policy

TINY = mpc.Config(
    random_steps=30,
    rounds=2,
    round_steps=20,
    model=dynamics.Config(members=2, hidden=(8,), updates=5),
    planner=planning.Config(horizon=3, population=8, iterations=1, elites=4),
)


def test_the_budget_is_kept_and_the_model_sees_all_of_it():
    run = mpc.Run(make("CartPole-v1", 3, 0), planning.CARTPOLE, TINY, seed=0)
    rows = list(mpc.train(run))
    assert [row["steps"] for row in rows] == [30, 50, 70]
    assert sum(part.valid.sum() for part in run.data) == 70
    assert math.isnan(rows[0]["promised"])
    assert all(math.isfinite(row[name]) for row in rows for name in ("nll", "error"))
    assert 0 < rows[1]["promised"] <= 3
    assert run.planner(5)(np.zeros((5, 4))).shape == (5,)


def test_it_repeats():
    models = []
    for _ in range(2):
        run = mpc.Run(make("Pendulum-v1", 2, 7), planning.PENDULUM, TINY, seed=7)
        list(mpc.train(run))
        models.append(run.model)
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        assert a.equal(b)


def test_no_planner_before_there_is_a_model():
    with pytest.raises(RuntimeError, match="no model yet"):
        mpc.Run(make("CartPole-v1", 1), planning.CARTPOLE, TINY).planner(1)


def test_a_run_goes_on_where_it_stopped():
    def run():
        return mpc.Run(make("CartPole-v1", 1, 7), planning.CARTPOLE, TINY, seed=7)

    whole, stopped = run(), run()
    expected = list(mpc.train(whole))
    found = [next(mpc.train(stopped)), *mpc.train(stopped)]
    assert [(row["steps"], row["nll"]) for row in found] == [
        (row["steps"], row["nll"]) for row in expected
    ]
    assert list(mpc.train(stopped)) == []


def test_returns_of_whole_episodes_only():
    rewards = np.ones((6, 1))
    ended = np.array([0, 0, 1, 0, 0, 0], bool)[:, None]
    valid = np.array([1, 1, 1, 0, 1, 1], bool)[:, None]
    empty = np.zeros((6, 1, 1))
    data = Experience(empty, empty, rewards, empty, ended, valid)
    assert mpc.episode_return(data) == 3
    assert math.isnan(mpc.episode_return(data._replace(ended=ended & False)))
    envs = make("Pendulum-v1", 2, 0)
    played = collect(envs, random_policy(envs, 0, 2.0), 400)
    assert mpc.episode_return(played) == pytest.approx(played.rewards.sum() / 2, rel=1e-4)


def test_a_pole_balances_after_400_real_steps():
    config = replace(mpc.CARTPOLE, random_steps=400, rounds=0)
    run = mpc.Run(make("CartPole-v1", 4, 0), planning.CARTPOLE, config, seed=0)
    list(mpc.train(run))
    returns = evaluate(run.planner(3, 0), make("CartPole-v1", 3, 1), 3)
    assert returns.mean() > 100  # random actions: about 22
