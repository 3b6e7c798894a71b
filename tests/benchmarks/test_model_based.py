"""Benchmarks of planning with a model: what is solved, what is kept, how they judge."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks.world_models import (
    dyna,
    kept,
    model_error,
    mpc,
    same_reward,
    sampled_plans,
    seen_plans,
)
from course_lib.rl import q_learning as tabular
from course_lib.rl.envs import make
from course_lib.world_models import dynamics, mpc as recipes, planning


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


# --- the same reward for all, and planning with draws ---------------------------------------------


def test_model_free_learners_are_paid_what_the_planner_plans_with():
    envs = same_reward.Rewarded(make("CartPole-v1", 3, 0), planning.cartpole_margin)
    plain = make("CartPole-v1", 3, 0)
    np.testing.assert_array_equal(envs.reset(), plain.reset())
    ended = 0
    for k in range(60):
        actions = np.array([1, 0, k % 2])  # the first two fall soon, so that reset rows come by
        step, true = envs.step(actions), plain.step(actions)
        for mine, theirs in zip(step[0:1] + step[2:], true[0:1] + true[2:], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        place, angle = true.obs[:, 0] / 2.4, true.obs[:, 2] / np.deg2rad(12)
        expected = np.where(true.valid, 1 - (place**2 + angle**2) / 2, 0)
        np.testing.assert_allclose(step.rewards, expected, rtol=1e-5)
        ended += int((~true.valid).sum())
    assert ended > 2


def test_a_slip_carries_out_another_action():
    envs = sampled_plans.Slipping(make("CartPole-v1", 400, 0), slip=0.4, seed=0)
    obs = envs.reset()
    to_the_right = envs.step(np.ones(400, int)).obs[:, 1] > obs[:, 1]
    assert to_the_right.mean() == pytest.approx(1 - 0.4 / 2, abs=0.05)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A recipe that learns too little to balance, so that its ten episodes are short."""
    recipe = recipes.Config(
        random_steps=160,
        rounds=1,
        round_steps=40,
        model=dynamics.Config(members=2, updates=3),
        planner=planning.Config(horizon=3, population=8, iterations=1, elites=2),
    )
    monkeypatch.setitem(mpc.RECIPES, mpc.CARTPOLE, recipe)
    monkeypatch.setitem(mpc.STEPS, mpc.CARTPOLE, 200)
    for settings in (mpc.DQN, mpc.PPO):
        short = replace(settings[mpc.CARTPOLE], total_steps=200)
        monkeypatch.setitem(settings, mpc.CARTPOLE, short)
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    methods = ("MPC", "MPC, the task's own reward", *same_reward.RATIOS)
    runs = []  # what `mpc` would say of so short a run
    for seed in (200, 201):
        head = {"env": mpc.CARTPOLE, "seed": seed, "steps": 200}
        runs += [head | {"method": m, "return": 20.0, "returns": [20.0]} for m in methods]
        runs.append(head | same_reward.policy_gradient(same_reward.OWN, seed))
    monkeypatch.setattr(same_reward, "committed_result", lambda name: {"runs": runs})
    return runs


@pytest.mark.parametrize("name", ["same_reward", "sampled_plans"])
def test_the_quick_form_runs_and_judges(name, small, capsys):
    assert command.main([name, "--quick"]) == 0
    printed = capsys.readouterr().out
    assert "nothing written" in printed
    assert "over 2 seeds" in printed
    assert "less" in printed


def test_rows_that_this_code_does_not_reproduce_are_refused(small):
    small[-1]["returns"] = [1.0]
    with pytest.raises(RuntimeError, match="PPO with seed 201 is not what results/mpc"):
        same_reward.measure(quick=True)


def test_differences_are_paired_by_seed_and_called_clear_only_off_0():
    def rows(method, reward, values):
        named = {"method": method, "reward": reward, "steps": 1_000}
        return [named | {"seed": k, "return": value} for k, value in enumerate(values)]

    runs = [
        *rows("MPC", same_reward.OWN, [100.0, 300.0, 200.0]),
        *rows("MPC", same_reward.SHAPED, [200.0, 401.0, 299.0]),  # better by 100 on every seed
        *rows("PPO", same_reward.OWN, [100.0, 300.0, 200.0, 7.0]),  # one seed more
        *rows("PPO", same_reward.SHAPED, [300.0, 100.0, 250.0]),
    ]
    goals = {goal.what: goal.measured for goal in same_reward.judge({"runs": runs})}
    steps = "CartPole-v1, 1,000 real steps"
    assert goals[f"{steps}: MPC, shaped less own reward"] == "100 [98, 102] over 3 seeds: better"
    unclear = "over 3 seeds: no clear difference"
    assert goals[f"{steps}: PPO, shaped less own reward"].endswith(unclear)
    assert goals[f"{steps}, shaped reward for both: MPC less PPO"].endswith(unclear)
    draws = [
        {"world": "w", "plans": p, "return": x, "std": 0.1, "apart": 0.1}
        for p, values in (("means", [5.0, 6.0, 7.0]), ("draws", [4.0, 5.1, 5.9]))
        for x in values
    ]
    assert sampled_plans.judge({"runs": draws})[-1].measured.endswith("over 3 seeds: worse")


def test_failed_plans_are_judged_at_new_starts_and_beside_as_many_random_steps(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    monkeypatch.setattr(seen_plans, "SINGLE", dynamics.Config(members=1, updates=2))
    few_plans = replace(model_error.PLANS, population=10, elites=2)
    monkeypatch.setattr(model_error, "PLANS", few_plans)
    rows = seen_plans.judged(200)
    assert len({(row["data"], row["starts"]) for row in rows}) == len(rows) == 3 * 2
    paid = {(row["data"], row["starts"]): row["real"] for row in rows}
    assert paid[seen_plans.ONE, seen_plans.SAME] != paid[seen_plans.ONE, seen_plans.NEW]
    assert command.main(["seen_plans", "--quick"]) == 0
    assert "gap smaller by" in capsys.readouterr().out
