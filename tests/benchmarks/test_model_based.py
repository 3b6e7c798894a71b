"""Benchmarks of planning with a model: what is solved, what is kept, how they judge."""

import numpy as np
import pytest

from benchmarks.world_models import dyna, kept, mpc
from course_lib.rl import q_learning as tabular
from course_lib.rl.envs import make


@pytest.mark.parametrize("task", [name for name in dyna.TASKS if name != "maze"])
def test_an_optimal_table_has_solved_its_task_and_an_empty_one_has_not(task):
    build, best = dyna.TASKS[task]
    env = build()
    q = tabular.value_iteration(tabular.tabular_model(env), 0.95)
    assert dyna.solved(q, env, best)
    assert not dyna.solved(q, env, best - 4)  # a way as long as the best one is too long then
    assert not dyna.solved(np.zeros_like(q), env, best)


def test_steps_episodes_and_the_first_goal_are_counted():
    run = dyna.train("maze", 50, seed=0)
    assert run["solved"]
    assert 0 < run["first_goal"] <= run["steps"] <= 20_000
    assert run["steps"] % dyna.EVERY == 0


def test_five_torques_reach_the_pendulum():
    envs = mpc.Torques(make("Pendulum-v1", 2, 0))
    assert envs.num_actions == 5
    obs = envs.reset()
    step = envs.step(np.array([0, 4]))
    still = make("Pendulum-v1", 2, 0)
    still.reset()
    expected = still.step(np.float32([[-2], [2]]))
    np.testing.assert_array_equal(step.obs, expected.obs)
    assert obs.shape == step.obs.shape


def test_what_was_measured_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    calls = []

    def work():
        calls.append(1)
        return [{"return": 1.0, "returns": [1.0]}]

    file = kept.folder("topic", dyna) / "name.json"
    for _ in range(2):
        assert kept.once(file, work) == [{"return": 1.0, "returns": [1.0]}]
    assert calls == [1]
    assert kept.folder("topic", dyna) == file.parent != kept.folder("topic", mpc)


def row(method, name, value, steps=1_000):
    seconds = {"learn_seconds": 1.0, "play_seconds": 1.0}
    return {"method": method, "env": name, "steps": steps, "return": value, **seconds}


@pytest.mark.parametrize(("misses", "met"), [(0, True), (1, True), (2, False)])
def test_the_goal_of_mpc_is_nine_seeds_of_ten(misses, met):
    runs = []
    for name, good, bad in ((mpc.CARTPOLE, 500.0, 474.0), (mpc.PENDULUM, -150.0, -251.0)):
        runs += [row("MPC", name, bad if k < misses else good) for k in range(10)]
        runs += [row("PPO", name, bad - 100 + k) for k in range(10)]
        runs += [row("DQN", name, good, steps=3_000) for k in range(10)]  # more steps: no peer
    goals = mpc.judge({"episodes": 10, "runs": runs})
    assert len(goals) == 2 * 4
    assert [goal.met for goal in goals if goal.what.startswith("MPC, ")] == [met] * 2
    assert all(goal.met for goal in goals if goal.what.startswith("MPC against"))
