"""PPO on LunarLander-v3: five seeds, 50 greedy episodes each.

Every seed trains with `ppo.LUNARLANDER` for a fixed number of steps; the last policy is tested.
"""

from __future__ import annotations

from benchmarks.harness import Goal, fresh_seeds
from benchmarks.ppo.ppo_runs import goals, train_and_test
from course_lib.rl import ppo

ENV = "LunarLander-v3"


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 5)
    return {"seeds": seeds, "runs": [train_and_test(ENV, ppo.LUNARLANDER, s, 50) for s in seeds]}


def judge(result: dict) -> list[Goal]:
    runs = result["runs"]
    what = f"PPO, {ENV}: mean of 50 greedy episodes of the last policy"
    return goals(runs, what, 200, needed=max(1, len(runs) - 1), limit=180)
