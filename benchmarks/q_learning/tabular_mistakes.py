"""What two mistakes cost Q-learning on FrozenLake: losing the last reward, and never exploring.

Every run is the one of lesson 01's "Break it": 50,000 steps, epsilon from 1 to 0.1 in the first
half, with the mistake of an exercise put in the place of the library's function. What counts is the
exact value of the greedy policy, as in `tabular`. `return` is the share of the last 100 episodes
that reached the goal, exploring included. The goal only asks that the correct run learns.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from benchmarks.harness import Goal, by, fresh_seeds, reported
from benchmarks.q_learning.tabular import FROZEN, GOAL
from course_lib.classroom import use
from course_lib.evaluation import t_interval
from course_lib.lessons.q_learning import exercises
from course_lib.rl import q_learning as tabular

ENV = "FrozenLake-v1"
CONFIG = replace(FROZEN, steps=50_000, alpha_decay=0.1, epsilon=0.1, epsilon_steps=25_000)
CORRECT = "as it should be"
VARIANTS = {
    CORRECT: [],
    "loses the last reward": [exercises.q_learning_target.mistake("loses the last reward")],
    "never explores": [exercises.epsilon_greedy.mistake("never explores")],
}


def train(variant: str, seed: int) -> dict[str, Any]:
    """Train once and evaluate the greedy policy of the table exactly."""
    env = gymnasium.make(ENV)
    model = tabular.tabular_model(env)
    q = np.zeros(model.rewards.shape)
    with use(*VARIANTS[variant]):
        records = list(tabular.q_learning(q, env, CONFIG, seed))
    value, optimal = (
        tabular.start_value(model, tabular.epsilon_greedy(table, 0.0), CONFIG.gamma)
        for table in (q, tabular.value_iteration(model, CONFIG.gamma))
    )
    returns = [None if math.isnan(r["return"]) else r["return"] for r in records]
    return {
        "variant": variant,
        "seed": seed,
        "value": value,
        "optimal": optimal,
        "return": returns[-1],
        "known": int((q.max(axis=1) > 0).sum()),  # squares with a value above 0
        "steps": [int(r["steps"]) for r in records],
        "training": returns,
    }


def measure(quick: bool) -> dict[str, Any]:
    """Train every variant with 20 seeds (quick: 2)."""
    seeds = fresh_seeds(2 if quick else 20)
    runs = [train(variant, seed) for variant in VARIANTS for seed in seeds]
    return {"seeds": seeds, "settings": vars(CONFIG), "runs": runs}


def judge(result: dict[str, Any]) -> list[Goal]:
    """The correct run learns on every seed; what the mistakes cost is there to be seen."""
    goals = []
    for variant, runs in by(result["runs"], "variant").items():
        values, best = [run["value"] for run in runs], runs[0]["optimal"]
        mean, low, high = t_interval(values)
        near = sum(100 * (best - value) <= GOAL * best for value in values)
        measured = (
            f"mean {mean:.3f} [{low:.3f}, {high:.3f}], from {min(values):.3f} to "
            f"{max(values):.3f}; best {best:.3f}; within {GOAL:g} % on {near} of {len(runs)}"
        )
        goal = reported(f"{ENV}, Q-learning, {variant}: value of the greedy policy", measured)
        if variant == CORRECT:
            least = math.ceil(0.9 * len(runs))
            words = f"within {GOAL:g} % on at least {least} of {len(runs)} seeds"
            goal = replace(goal, goal=words, met=near >= least)
        goals.append(goal)
    return goals
