"""Q-learning and SARSA against exact dynamic programming on FrozenLake, CliffWalking, Taxi.

Every policy is evaluated exactly: its expected discounted return from the environment's start
distribution, by solving its Bellman equation (time limits left out). Q-learning is judged by its
greedy policy, against the optimal value. SARSA learns about the policy that it follows, so it is
judged by its epsilon-soft policy, against the best value that any epsilon-soft policy has.
The gap is the distance to that value in percent of its absolute value.

The seeds reported here, from 200 on, chose no setting. Seeds below 200 did, and for SARSA and the
cliff also thousands of runs of a simulation with random numbers of its own.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from benchmarks.harness import Clock, Goal, by, fresh_seeds
from course_lib.rl import q_learning as tabular
from course_lib.rl.q_learning import Config

GOAL = 5.0  # percent of the best value
POINTS = 50  # records kept of each learning curve
ALGORITHMS = {"q_learning": tabular.q_learning, "sarsa": tabular.sarsa}

# FrozenLake is noisy, so its values must become averages over many visits. The cliff is the same
# for both algorithms, so that their curves compare. Taxi's moves are certain: full steps do for
# Q-learning, while SARSA averages over its own random actions.
# Where SARSA misses, an action that it rarely tries looks too good. Such an action has few visits,
# so the step size must fall fast and the run must be long: the mean of many targets is steady.
FROZEN = Config(gamma=0.99, alpha=1.0, epsilon=0.2, epsilon_start=1.0)
CLIFF = Config(
    steps=160_000, gamma=0.99, alpha=0.5, alpha_decay=0.06, epsilon=0.2, epsilon_start=0.2
)
TAXI = Config(gamma=0.99)
SETTINGS = {
    "FrozenLake-v1": {
        "q_learning": replace(FROZEN, steps=150_000, alpha_decay=0.1, epsilon_steps=75_000),
        "sarsa": replace(FROZEN, steps=500_000, alpha_decay=0.16, epsilon_steps=20_000),
    },
    "CliffWalking-v1": {"q_learning": CLIFF, "sarsa": CLIFF},
    "Taxi-v4": {
        "q_learning": replace(
            TAXI, steps=120_000, alpha=1.0, epsilon=0.1, epsilon_start=1.0, epsilon_steps=50_000
        ),
        "sarsa": replace(
            TAXI,
            steps=300_000,
            alpha=0.1,
            alpha_decay=0.01,
            epsilon=0.02,
            epsilon_start=0.1,
            epsilon_steps=50_000,
        ),
    },
}


def measure(quick: bool) -> dict[str, Any]:
    """Train every algorithm on every environment, 20 seeds each (quick: 2)."""
    seeds = fresh_seeds(2 if quick else 20)
    runs = [
        train(env, algorithm, seed)
        for env, algorithms in SETTINGS.items()
        for algorithm in algorithms
        for seed in seeds
    ]
    settings = {
        f"{env} {algorithm}": vars(config)
        for env, algorithms in SETTINGS.items()
        for algorithm, config in algorithms.items()
    }
    return {"seeds": seeds, "settings": settings, "runs": runs}


def train(name: str, algorithm: str, seed: int) -> dict[str, Any]:
    """Train once and evaluate the result exactly."""
    env = gymnasium.make(name)
    model = tabular.tabular_model(env)
    config = SETTINGS[name][algorithm]
    config = replace(config, report_every=config.steps // POINTS)
    q = np.zeros(model.rewards.shape)
    with Clock() as clock:
        records = list(ALGORITHMS[algorithm](q, env, config, seed))
    epsilon = config.epsilon if algorithm == "sarsa" else 0.0
    best = tabular.value_iteration(model, config.gamma, epsilon)
    value, optimal = (
        tabular.start_value(model, tabular.epsilon_greedy(table, epsilon), config.gamma)
        for table in (q, best)
    )
    curve = {
        key: [None if math.isnan(r[key]) else round(r[key], 3) for r in records]
        for key in ("steps", "return", "td_error")
    }
    return {
        "env": name,
        "algorithm": algorithm,
        "seed": seed,
        "value": value,
        "optimal": optimal,
        "gap": 100 * (optimal - value) / abs(optimal),
        "seconds": round(clock.cpu, 2),
        **curve,
    }


def judge(result: dict[str, Any]) -> list[Goal]:
    """One goal per environment and algorithm: within 5 % on every seed."""
    goals = []
    for (env, algorithm), runs in by(result["runs"], "env", "algorithm").items():
        config = SETTINGS[env][algorithm]
        near = sum(run["gap"] <= GOAL for run in runs)
        worst = max(0.0, *(run["gap"] for run in runs))
        seconds = float(np.median([run["seconds"] for run in runs]))
        method, policy = {
            "q_learning": ("Q-learning", "greedy policy against the optimal value"),
            "sarsa": (
                "SARSA",
                f"ε-soft policy (ε = {config.epsilon:g}) against the best ε-soft value",
            ),
        }[algorithm]
        goals.append(
            Goal(
                what=f"{env}, {method}: {policy}, γ = {config.gamma:g}",
                goal=f"within {GOAL:g} % on {len(runs)} of {len(runs)} seeds",
                measured=f"{near} of {len(runs)}, worst gap {worst:.2f} %, "
                f"best value {runs[0]['optimal']:.2f}, {seconds:.1f} CPU seconds a run",
                met=near == len(runs),
            )
        )
    return goals
