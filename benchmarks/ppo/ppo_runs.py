"""Training and testing one PPO agent: what the benchmarks of PPO share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.harness import Clock, Goal
from course_lib.evaluation import evaluate, t_interval
from course_lib.rl import ppo
from course_lib.rl.agent import Agent
from course_lib.rl.envs import Envs, make


def train(
    env: str,
    config: ppo.Config,
    seed: int,
    limit: float = np.inf,
    adam_eps: float = 1e-5,
    wrap: Callable[[Envs], Envs] = lambda envs: envs,
) -> tuple[Agent, list[dict], Clock]:
    """Train one agent, for ``limit`` steps at most: the agent, its metrics, what it took."""
    envs = wrap(make(env, config.num_envs, seed))
    agent = Agent(envs, config.agent, seed)
    run = ppo.Run(agent, envs, config, seed)
    run.optimizer.param_groups[0]["eps"] = adam_eps
    rows = []
    with Clock() as clock:
        for row in ppo.train(agent, envs, config, seed, run=run):
            rows.append(row)
            if row["steps"] >= limit:
                break
    return agent, rows, clock


def curve(rows: list[dict], points: int, digits: int) -> dict:
    """The learning curve: the mean return of the 100 episodes that ended last, while sampling."""
    kept = rows[:: max(1, len(rows) // points)]
    returns = [None if np.isnan(row["return"]) else round(row["return"], digits) for row in kept]
    return {"steps": [int(row["steps"]) for row in kept], "training": returns}


def test(policy: Callable, env: str, seed: int, episodes: int) -> np.ndarray:
    """Returns of greedy episodes in environments that no agent trained in."""
    return evaluate(policy, make(env, episodes, 10_000 + seed), episodes)


def ratio(above: list[dict], below: list[dict], column: str) -> tuple[float, float, float]:
    """How many times more, seed by seed: the geometric mean and its 95 % t interval."""
    logs = [np.log(a[column] / b[column]) for a, b in zip(above, below, strict=True)]
    middle, low, high = np.exp(t_interval(logs))
    return float(middle), float(low), float(high)


def train_and_test(env: str, config: ppo.Config, seed: int, episodes: int) -> dict:
    """One run of a benchmark: greedy episodes with the last policy, and the learning curve."""
    agent, rows, clock = train(env, config, seed)
    returns = test(agent.act, env, seed, episodes)
    return {
        "seed": seed,
        "return": round(float(returns.mean()), 2),
        "median": round(float(np.median(returns)), 2),
        "seconds": round(clock.wall, 2),
        **curve(rows, 60, 2),
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
