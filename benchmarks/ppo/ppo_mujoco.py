"""PPO against Stable-Baselines3's PPO on HalfCheetah-v5 and Hopper-v5: return and speed.

Both train for 500,000 steps, one thread each, on the same seeds; Stable-Baselines3 has the RL
Zoo's hyperparameters, which were tuned for a million. For each environment and seed one agent
trains directly after the other in the same process. Two such processes run side by side where
there are two cores: both agents then meet the same neighbour. Steps are counted per second of the
process's CPU time; the seconds on the wall are stored beside it.

What counts is the last policy: the mean return of 50 deterministic episodes in environments that
no agent trained in. `training` holds the learning curve of ours.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from benchmarks.harness import Clock, Goal, one_thread
from course_lib.evaluation import bootstrap_interval, evaluate, iqm
from course_lib.rl import ppo
from course_lib.rl.agent import Agent
from course_lib.rl.envs import make

RECIPES = {"HalfCheetah-v5": ppo.HALF_CHEETAH, "Hopper-v5": ppo.HOPPER}
EPISODES = 50


def test(policy, env: str, seed: int) -> float:
    return round(float(evaluate(policy, make(env, EPISODES, 10_000 + seed), EPISODES).mean()), 1)


def train_ours(env: str, seed: int, total_steps: int) -> dict:
    config = RECIPES[env]
    envs = make(env, config.num_envs, seed)
    agent = Agent(envs, config.agent, seed)
    rows = []
    with Clock() as clock:
        for row in ppo.train(agent, envs, config, seed):
            rows.append(row)
            if row["steps"] >= total_steps:
                break
    kept = rows[:: max(1, len(rows) // 50)]
    return {
        "agent": "course_lib",
        "return": test(agent.act, env, seed),
        "cpu_seconds": round(clock.cpu, 1),
        "seconds": round(clock.wall, 1),
        "steps_per_cpu_second": round(rows[-1]["steps"] / clock.cpu),
        "steps": [int(row["steps"]) for row in kept],
        "training": [None if np.isnan(row["return"]) else round(row["return"], 1) for row in kept],
    }


def train_theirs(env: str, seed: int, total_steps: int) -> dict:
    from benchmarks.ppo.ppo_peers import train_sb3

    start = time.process_time()
    record, policy = train_sb3(env, seed, total_steps)
    cpu = time.process_time() - start
    return {
        "agent": "stable-baselines3",
        "return": test(policy, env, seed),
        "cpu_seconds": round(cpu, 1),
        "seconds": record["seconds"],
        "steps_per_cpu_second": round(total_steps / cpu),
    }


def pair(env: str, seed: int, total_steps: int) -> list[dict]:
    """One agent after the other; which goes first changes with the seed."""
    one_thread()
    trainers = [train_ours, train_theirs]
    order = trainers if seed % 2 == 0 else trainers[::-1]
    return [{"env": env, "seed": seed, **train(env, seed, total_steps)} for train in order]


def measure(quick: bool) -> dict:
    seeds = list(range(200, 201 if quick else 205))
    total_steps = 20_000 if quick else 500_000
    runs: list[dict] = []
    cores = min(2, os.cpu_count() or 1)
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(pair, env, seed, total_steps) for seed in seeds for env in RECIPES]
        for job in jobs:
            runs += job.result()
            for run in runs[-2:]:
                print(*(run[k] for k in ("env", "seed", "agent", "return", "cpu_seconds")))
    return {"seeds": seeds, "total_steps": total_steps, "runs": runs}


def judge(result: dict) -> list[Goal]:
    goals = []
    for env in RECIPES:
        returns, speeds = {}, {}
        for agent in ("course_lib", "stable-baselines3"):
            runs = [r for r in result["runs"] if (r["env"], r["agent"]) == (env, agent)]
            returns[agent] = [run["return"] for run in runs]
            speeds[agent] = np.median([run["steps_per_cpu_second"] for run in runs])
        words = {}
        for agent, values in returns.items():
            low, high = bootstrap_interval(values, iqm)
            words[agent] = f"{iqm(values):.0f} [{low:.0f}, {high:.0f}]"
        ours, theirs = returns
        ratio = speeds[ours] / speeds[theirs]
        goals += [
            Goal(
                f"PPO against Stable-Baselines3, {env} at {result['total_steps']:,} steps: "
                "IQM of the return over seeds, 95 % interval",
                "not below",
                f"{words[ours]} against {words[theirs]}, {len(returns[ours])} seeds",
                iqm(returns[ours]) >= iqm(returns[theirs]),
            ),
            Goal(
                f"PPO against Stable-Baselines3, {env}: steps per CPU second, median",
                ">= 1.5 times as many",
                f"{ratio:.1f} times: {speeds[ours]:.0f} against {speeds[theirs]:.0f}",
                bool(ratio >= 1.5),
            ),
        ]
    return goals
