"""PPO on CartPole-v1: 20 seeds, 100 greedy episodes each.

Every seed trains with `ppo.CARTPOLE` for a fixed number of steps; the last policy is tested.
"""

from __future__ import annotations

from benchmarks.harness import Goal, fresh_seeds
from benchmarks.ppo.ppo_runs import goals, train_and_test
from course_lib.rl import ppo

ENV = "CartPole-v1"


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 20)
    return {"seeds": seeds, "runs": [train_and_test(ENV, ppo.CARTPOLE, s, 100) for s in seeds]}


def judge(result: dict) -> list[Goal]:
    runs = result["runs"]
    what = f"PPO, {ENV}: mean of 100 greedy episodes of the last policy"
    return goals(runs, what, 475, needed=len(runs), limit=10)
