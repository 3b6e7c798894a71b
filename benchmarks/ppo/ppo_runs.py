"""Training and testing one PPO agent: what the benchmarks of PPO share.

Seeds are those that no setting was chosen on: the recipes were tuned on seeds below 200.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.harness import Goal
from course_lib.evaluation import evaluate
from course_lib.rl import ppo
from course_lib.rl.agent import Agent
from course_lib.rl.envs import make


def train_and_test(env: str, config: ppo.Config, seed: int, episodes: int) -> dict:
    """Train one agent, then play greedy episodes with its last policy, in unseen environments.

    `training` is the learning curve: the mean return of the 100 episodes that ended last,
    drawn actions included. `seconds` is the wall clock of training.
    """
    start = time.perf_counter()
    envs = make(env, config.num_envs, seed)
    agent = Agent(envs, config.agent, seed)
    rows = list(ppo.train(agent, envs, config, seed))
    seconds = time.perf_counter() - start
    returns = evaluate(agent.act, make(env, episodes, 10_000 + seed), episodes)
    kept = rows[:: max(1, len(rows) // 60)]
    return {
        "seed": seed,
        "return": round(float(returns.mean()), 2),
        "median": round(float(np.median(returns)), 2),
        "seconds": round(seconds, 2),
        "steps": [int(row["steps"]) for row in kept],
        "training": [None if np.isnan(row["return"]) else round(row["return"], 2) for row in kept],
    }


def goals(runs: list[dict], what: str, least: float, needed: int, limit: float) -> list[Goal]:
    """Two goals: the return on so many seeds, and the training time of the slowest one."""
    returns = [run["return"] for run in runs]
    seconds = [run["seconds"] for run in runs]
    good = sum(r >= least for r in returns)
    spread = f"worst {min(returns):.1f}, median {np.median(returns):.1f}, best {max(returns):.1f}"
    return [
        Goal(
            what,
            f">= {least:g} on {needed} of {len(runs)} seeds",
            f"{good} of {len(runs)}: {spread}",
            good >= needed,
        ),
        Goal(
            f"{what.split(':')[0]}: training time of the slowest seed, one core",
            f"<= {limit:g} s",
            f"{max(seconds):.1f} s (median {np.median(seconds):.1f} s)",
            max(seconds) <= limit,
        ),
    ]
