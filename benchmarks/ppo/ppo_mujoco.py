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
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from benchmarks.harness import Clock, Goal, by, fresh_seeds, iqm_over_seeds, one_thread
from benchmarks.ppo.ppo_runs import curve, test, train
from course_lib.evaluation import iqm
from course_lib.rl import ppo
from course_lib.rl.agent import AgentConfig

# The cheetah's settings lean on the RL Zoo's.
RECIPES = {
    "HalfCheetah-v5": ppo.Config(
        total_steps=500_000,
        num_envs=8,
        rollout_length=64,
        epochs=10,
        minibatch_size=128,
        gamma=0.98,
        lam=0.92,
        clip=0.1,
        learning_rate=1e-4,
        max_grad_norm=0.8,
        scale_rewards=True,
        agent=AgentConfig(
            hidden=(256, 256),
            activation="relu",
            log_std=-2.0,
            orthogonal_init=False,
            normalize_obs=True,
        ),
    ),
    "Hopper-v5": ppo.Config(
        total_steps=500_000,
        num_envs=4,
        rollout_length=512,
        epochs=10,
        minibatch_size=64,
        scale_rewards=True,
        agent=AgentConfig(normalize_obs=True),
    ),
}
OURS, THEIRS = "course_lib", "stable-baselines3"


def run(agent: str, env: str, seed: int, total_steps: int) -> dict:
    """Train one agent and test its last policy."""
    from benchmarks.ppo.ppo_peers import train_sb3

    training = {}
    if agent == OURS:
        ours, rows, clock = train(env, RECIPES[env], seed, total_steps)
        policy, training = ours.act, curve(rows, 50, 1)
        total_steps = rows[-1]["steps"]
    else:
        with Clock() as clock:
            policy = train_sb3(env, seed, total_steps)
    return {
        "env": env,
        "seed": seed,
        "agent": agent,
        "return": round(float(test(policy, env, seed, 50).mean()), 1),
        "cpu_seconds": round(clock.cpu, 1),
        "seconds": round(clock.wall, 1),
        "steps_per_cpu_second": round(total_steps / clock.cpu),
        **training,
    }


def pair(env: str, seed: int, total_steps: int) -> list[dict]:
    """One agent after the other; which goes first changes with the seed."""
    one_thread()
    order = (OURS, THEIRS) if seed % 2 == 0 else (THEIRS, OURS)
    return [run(agent, env, seed, total_steps) for agent in order]


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 5)
    total_steps = 20_000 if quick else 500_000
    runs: list[dict] = []
    cores = min(2, os.cpu_count() or 1)
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(pair, env, seed, total_steps) for seed in seeds for env in RECIPES]
        for job in jobs:
            runs += job.result()
            for row in runs[-2:]:
                print(*(row[k] for k in ("env", "seed", "agent", "return", "cpu_seconds")))
    return {"seeds": seeds, "total_steps": total_steps, "runs": runs}


def judge(result: dict) -> list[Goal]:
    goals = []
    for env, runs in by(result["runs"], "env").items():
        agents = by(runs, "agent")
        returns = {name: [run["return"] for run in agents[name]] for name in agents}
        ours, theirs = (iqm_over_seeds(returns[name], ".0f") for name in (OURS, THEIRS))
        fast, slow = (
            np.median([run["steps_per_cpu_second"] for run in agents[name]])
            for name in (OURS, THEIRS)
        )
        goals += [
            Goal(
                f"PPO against Stable-Baselines3, {env} at {result['total_steps']:,} steps: "
                "IQM of the return over seeds, 95 % interval",
                "not below",
                f"{ours} against {theirs}, {len(returns[OURS])} seeds",
                iqm(returns[OURS]) >= iqm(returns[THEIRS]),
            ),
            Goal(
                f"PPO against Stable-Baselines3, {env}: steps per CPU second, median",
                ">= 1.5 times as many",
                f"{fast / slow:.1f} times: {fast:.0f} against {slow:.0f}",
                bool(fast >= 1.5 * slow),
            ),
        ]
    return goals
