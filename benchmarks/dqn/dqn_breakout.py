"""DQN on MinAtar Breakout from the screen, a grid of 10 x 10: five seeds, against random play.

Every seed trains with `dqn.BREAKOUT` for a fixed number of frames. The last policy plays 100
greedy episodes; an action is replaced by the previous one with chance 0.1, in training and in
the test. `training` holds the learning curve: the mean return of the 32 episodes that ended last,
exploration included.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.harness import Goal, by
from course_lib.evaluation import evaluate
from course_lib.rl import dqn
from course_lib.rl.envs import make

GAME = "MinAtar/Breakout"
EPISODES = 100


def unseen_envs(seed: int):
    return make(GAME, EPISODES, 10_000 + seed)


def play_at_random(seed: int) -> dict:
    envs, rng = unseen_envs(seed), np.random.default_rng(seed)
    returns = evaluate(lambda obs: rng.integers(envs.num_actions, size=len(obs)), envs, EPISODES)
    return {"agent": "random", "seed": seed, "return": round(float(returns.mean()), 2)}


def train_and_test(seed: int) -> dict:
    start = time.perf_counter()
    envs = make(GAME, 16, seed)
    agent = dqn.DQN(envs.obs_shape, envs.num_actions, dqn.BREAKOUT, seed)
    rows = list(dqn.train(agent, envs, dqn.BREAKOUT, seed))
    seconds = time.perf_counter() - start
    returns = evaluate(agent.act, unseen_envs(seed), EPISODES)
    kept = rows[:: len(rows) // 60]
    return {
        "agent": "dqn",
        "seed": seed,
        "return": round(float(returns.mean()), 2),
        "median": float(np.median(returns)),
        "seconds": round(seconds, 1),
        "steps": [int(row["steps"]) for row in kept],
        "training": [round(row["return"], 2) for row in kept],
    }


def measure(quick: bool) -> dict:
    seeds = list(range(1 if quick else 5))
    runs = [play_at_random(seed) for seed in seeds]
    return {"seeds": seeds, "runs": runs + [train_and_test(seed) for seed in seeds]}


def judge(result: dict) -> list[Goal]:
    runs = by(result["runs"], "agent")
    chance = np.mean([run["return"] for run in runs["random"]])
    returns = [run["return"] for run in runs["dqn"]]
    good = sum(r >= 5 for r in returns)
    needed = max(1, len(returns) - 1)  # 4 of 5
    slowest = max(run["seconds"] for run in runs["dqn"])
    return [
        Goal(
            "DQN, MinAtar Breakout: mean return of 100 greedy episodes",
            f">= 5 on {needed} of {len(returns)} seeds",
            f"{good} of {len(returns)}: {', '.join(f'{r:.1f}' for r in returns)} "
            f"(random play {chance:.2f})",
            good >= needed,
        ),
        Goal(
            "DQN, MinAtar Breakout: training time of the slowest seed, one core",
            "<= 150 s",
            f"{slowest:.0f} s",
            slowest <= 150,
        ),
    ]
