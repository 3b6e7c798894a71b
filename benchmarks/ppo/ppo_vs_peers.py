"""PPO against Stable-Baselines3's PPO and CleanRL's recipe on CartPole: time to first reach 475.

The three train in turns in one process with one thread, each with its own recipe and its own
budget: `ppo.CARTPOLE`, the RL Zoo's hyperparameters, CleanRL's defaults. Every 2000 environment
steps the same 20 greedy episodes are played with each; the time of these checks is not counted.
"First reaches 475" is the training time, by the clock on the wall and by the processor's, until the
first check with a mean of 475. Every run stops there: no final policy is compared here.
"""

from __future__ import annotations

import contextlib

import numpy as np

from benchmarks.harness import Clock, Goal, by, fresh_seeds, reported
from benchmarks.ppo import ppo_peers
from benchmarks.ppo.ppo_runs import ratio
from course_lib.evaluation import evaluate
from course_lib.rl import ppo
from course_lib.rl.agent import Agent
from course_lib.rl.envs import make

ENV, SOLVED, CHECK_EVERY = "CartPole-v1", 475.0, 2000


class Solved(Exception):
    """The policy has reached the goal: training can stop."""


class Checks:
    """Play with a policy at the common cadence, with the clock stopped; end at the goal."""

    def __init__(self, seed: int):
        self.envs = make(ENV, 20, 20_000 + seed)
        self.curve: list[float] = []
        self.training = Clock().__enter__()

    def __call__(self, steps: int, policy: ppo_peers.Policy) -> None:
        self.training.__exit__()
        self.curve.append(round(float(evaluate(policy, self.envs, 20).mean()), 1))
        if self.curve[-1] >= SOLVED:
            raise Solved
        self.training.__enter__()


def train_ours(seed: int, check: ppo_peers.Check) -> None:
    envs = make(ENV, ppo.CARTPOLE.num_envs, seed)
    agent = Agent(envs, ppo.CARTPOLE.agent, seed)
    for row in ppo.train(agent, envs, ppo.CARTPOLE, seed):
        check(int(row["steps"]), agent.act)


def train_sb3(seed: int, check: ppo_peers.Check) -> None:
    ppo_peers.train_sb3(ENV, seed, ppo_peers.ZOO[ENV]["n_timesteps"], check)


def train_cleanrl(seed: int, check: ppo_peers.Check) -> None:
    ppo_peers.train_cleanrl(ENV, seed, ppo_peers.CLEANRL_STEPS, check)


AGENTS = {"course_lib": train_ours, "stable-baselines3": train_sb3, "cleanrl": train_cleanrl}


def run(agent: str, seed: int) -> dict:
    checks = Checks(seed)
    with contextlib.suppress(Solved):
        AGENTS[agent](seed, ppo_peers.every(CHECK_EVERY, checks))
    count = len(checks.curve)
    return {
        "agent": agent,
        "seed": seed,
        "solved": checks.curve[-1] >= SOLVED,
        "seconds_to_first_475": round(checks.training.wall, 3),
        "cpu_seconds_to_first_475": round(checks.training.cpu, 3),
        "steps_to_first_475": count * CHECK_EVERY,
        "steps": [CHECK_EVERY * (i + 1) for i in range(count)],
        "greedy": checks.curve,
    }


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 5)
    for agent in AGENTS:  # a first call pays for imports and caches; it is not counted
        run(agent, 0)
    return {"seeds": seeds, "runs": [run(agent, seed) for seed in seeds for agent in AGENTS]}


def judge(result: dict) -> list[Goal]:
    runs = by(result["runs"], "agent")

    def median(agent: str, key: str) -> float:
        return float(np.median([r[f"{key}_to_first_475"] for r in runs[agent]]))

    ours, *peers = AGENTS
    seconds, solved = median(ours, "seconds"), all(r["solved"] for r in runs[ours])
    goals = [
        Goal(
            f"PPO against {peer}, {ENV}: median time to first reach 475",
            ">= 5 times less",
            f"{median(peer, 'seconds') / seconds:.1f} times less: {seconds:.2f} s against "
            f"{median(peer, 'seconds'):.2f} s ({median(ours, 'steps'):,.0f} against "
            f"{median(peer, 'steps'):,.0f} steps)",
            solved and median(peer, "seconds") >= 5 * seconds,
        )
        for peer in peers
    ]
    for peer in peers:
        middle, low, high = ratio(runs[peer], runs[ours], "steps_to_first_475")
        what = f"PPO, {ENV}: {peer} over {ours}, steps to first reach 475, times (95 % t interval)"
        goals.append(reported(what, f"{middle:.2f} [{low:.2f}, {high:.2f}]"))
    return goals
