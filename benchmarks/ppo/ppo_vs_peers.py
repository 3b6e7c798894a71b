"""PPO against Stable-Baselines3's PPO and CleanRL's recipe on CartPole: time to first reach 475.

The three train in turns in one process with one thread, each with its own recipe and its own
budget: `ppo.CARTPOLE`, the RL Zoo's hyperparameters, CleanRL's defaults. Every 2000 environment
steps the same 20 greedy episodes are played with each; the time of these checks is not counted.
"First reaches 475" is the training time, by the clock on the wall and by the processor's, until the
first check with a mean of 475. Every run stops there: no final policy is compared here.
"""

from __future__ import annotations

import contextlib
import time

import numpy as np

from benchmarks.harness import Goal
from benchmarks.ppo import ppo_peers
from course_lib.evaluation import evaluate
from course_lib.rl import ppo
from course_lib.rl.agent import Agent
from course_lib.rl.envs import make

ENV, SOLVED, CHECK_EVERY = "CartPole-v1", 475.0, 2000
PEERS = ("stable-baselines3", "cleanrl")


class Solved(Exception):
    """The policy has reached the goal: training can stop."""


class Checks:
    """Play with a policy at the common cadence; remember when it first reached the goal."""

    def __init__(self, seed: int):
        self.envs = make(ENV, 20, 20_000 + seed)
        self.curve: list[float] = []
        self.paused, self.paused_cpu = 0.0, 0.0
        self.start, self.start_cpu = time.perf_counter(), time.process_time()

    def __call__(self, policy) -> float:
        wall, cpu = time.perf_counter(), time.process_time()
        score = float(evaluate(policy, self.envs, 20).mean())
        self.curve.append(round(score, 1))
        self.seconds = wall - self.start - self.paused
        self.cpu_seconds = cpu - self.start_cpu - self.paused_cpu
        if score >= SOLVED:
            raise Solved
        self.paused += time.perf_counter() - wall
        self.paused_cpu += time.process_time() - cpu
        return score


def train_ours(seed: int, checks: Checks) -> None:
    envs = make(ENV, ppo.CARTPOLE.num_envs, seed)
    agent = Agent(envs, ppo.CARTPOLE.agent, seed)
    due = CHECK_EVERY
    for row in ppo.train(agent, envs, ppo.CARTPOLE, seed):
        if row["steps"] >= due:
            due = (row["steps"] // CHECK_EVERY + 1) * CHECK_EVERY
            checks(agent.act)


def train_sb3(seed: int, checks: Checks) -> None:
    ppo_peers.train_sb3(ENV, seed, ppo_peers.ZOO[ENV]["n_timesteps"], CHECK_EVERY, checks)


def train_cleanrl(seed: int, checks: Checks) -> None:
    budget = ppo_peers.CLEANRL["total_timesteps"]
    ppo_peers.train_cleanrl(ENV, seed, budget, CHECK_EVERY, checks)


AGENTS = {"course_lib": train_ours, "stable-baselines3": train_sb3, "cleanrl": train_cleanrl}


def run(agent: str, seed: int) -> dict:
    checks = Checks(seed)
    solved = False
    try:
        AGENTS[agent](seed, checks)
    except Solved:
        solved = True
    return {
        "agent": agent,
        "seed": seed,
        "solved": solved,
        "seconds_to_first_475": round(checks.seconds, 3),
        "cpu_seconds_to_first_475": round(checks.cpu_seconds, 3),
        "steps_to_first_475": len(checks.curve) * CHECK_EVERY,
        "steps": [CHECK_EVERY * (i + 1) for i in range(len(checks.curve))],
        "greedy": checks.curve,
    }


def measure(quick: bool) -> dict:
    seeds = list(range(200, 201 if quick else 205))
    for train in AGENTS.values():  # a first call pays for imports and caches; it is not counted
        with contextlib.suppress(Solved):
            train(0, Checks(0))
    return {"seeds": seeds, "runs": [run(agent, seed) for seed in seeds for agent in AGENTS]}


def judge(result: dict) -> list[Goal]:
    def median(agent: str, key: str) -> float:
        return float(np.median([r[key] for r in result["runs"] if r["agent"] == agent]))

    ours = median("course_lib", "seconds_to_first_475")
    steps = median("course_lib", "steps_to_first_475")
    solved = all(r["solved"] for r in result["runs"] if r["agent"] == "course_lib")
    goals = []
    for peer in PEERS:
        theirs = median(peer, "seconds_to_first_475")
        goals.append(
            Goal(
                f"PPO against {peer}, {ENV}: median time to first reach 475",
                ">= 5 times less",
                f"{theirs / ours:.1f} times less: {ours:.2f} s against {theirs:.2f} s "
                f"({steps:,.0f} against {median(peer, 'steps_to_first_475'):,.0f} steps)",
                solved and theirs >= 5 * ours,
            )
        )
    return goals
