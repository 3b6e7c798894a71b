"""Stitching in a maze: no recorded walk goes from A to the goal, but two that cross do so together.

220 walks are recorded (``worlds/crossing.py``): from A to a small prize, from A to a trap, and a
few from B to the goal. All but the first kind pass one cell in the middle. Who imitates whole walks
never sees one that begins at A and ends at the goal; who passes values backwards joins the two
halves in that cell. From B, the control, it is enough to imitate the right walks.

Compared are *tables* (cloning, cloning of the best tenth, imitation of the largest return seen from
each state, one-step values of the recorded player, dynamic programming over recorded actions) and
*networks* on the same walks (a decision transformer that is asked for the goal's 10, conservative
and implicit Q-learning, each with two settings). Each method sends 50 walkers from A and 50
from B, at most 40 moves each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.decision_transformer.offline_runs import learn, once, q_agent, transformer
from benchmarks.harness import (
    SHARE,
    Clock,
    Goal,
    at_least,
    at_most,
    by,
    fresh_seeds,
    mean_over_seeds,
    reported,
)
from course_lib.agents import decision_transformer as dt
from course_lib.evaluation import evaluate, success_rate
from course_lib.rl import offline, offline_table
from course_lib.rl.dataset import Dataset
from course_lib.rl.envs import Envs
from course_lib.worlds import crossing

WALKERS, PRIZE = 50, 10.0
GAMMA = 0.95
CONFIG = dt.Config(
    context=8, layers=2, width=32, heads=2, steps=300, batch_size=64, learning_rate=3e-3
)
VALUES = offline.Config(steps=1_000, gamma=GAMMA, hidden=(64,))  # else as the library has it
# Chosen on seeds 1 and 2. Most walks through the middle end in the trap: a penalty of 1 holds
# Q-learning to what most of them did, and a high temperature makes the other one a clone.
BOLD = replace(VALUES, alpha=0.1)
CLONING = replace(VALUES, temperature=10.0)
STARTS = ("A", "B")
CLONE, BEST, LARGEST = "cloning", "cloning the best tenth", "the largest return seen"
ONE_STEP, DYNAMIC = "one-step values", "dynamic programming"
DRAWN, GREEDY = "decision transformer, drawn", "decision transformer, greedy"
CQL = {"conservative Q-learning": VALUES, "conservative Q-learning, alpha 0.1": BOLD}
IQL = {"implicit Q-learning": VALUES, "implicit Q-learning, temperature 10": CLONING}
Policy = Callable[[np.ndarray], np.ndarray]


def best_of(table: np.ndarray) -> Policy:
    """The action of the largest value of a table (S, A)."""
    return lambda obs: table[obs.argmax(1)].argmax(1)


def policies(walks: Dataset, seed: int) -> dict[str, Policy]:
    """All tables, each as a policy."""
    return {
        CLONE: offline_table.player(offline_table.cloned_policy(walks), seed),
        BEST: offline_table.player(offline_table.cloned_policy(walks.best(0.1)), seed),
        LARGEST: offline_table.player(offline_table.return_policy(walks), seed),
        ONE_STEP: best_of(offline_table.one_step(walks, GAMMA)),
        DYNAMIC: best_of(offline_table.dynamic_programming(walks, GAMMA)),
    }


def networks(walks: Dataset, seed: int) -> dict[str, tuple[Policy, dict]]:
    """Conservative and implicit Q-learning, each as a policy, and what its training says."""
    found = {}
    for name, config in CQL.items():
        agent = q_agent(walks, seed, config.hidden)
        found[name] = agent.act, learn(offline.train_cql(agent, walks, config, seed))
    for name, config in IQL.items():
        learner = offline.IQL(walks, config, seed)
        trained = learn(offline.train_iql(learner, walks, config, seed))
        found[name] = learner.agent.act, trained
    return found


def walkers(start: str) -> Envs:
    return crossing.crossing(start, WALKERS)


def reached(returns: np.ndarray) -> float:
    return success_rate(returns, PRIZE)


def one_seed(seed: int, quick: bool) -> list[dict]:
    def work() -> list[dict]:
        walks, runs = crossing.recorded(seed), []

        def keep(method: str, start: str, share: float, cpu: float) -> None:
            run = {"method": method, "start": start, "seed": seed, "reached": share}
            runs.append(run | {"cpu": round(cpu, 2)})

        with Clock() as clock:
            tables = policies(walks, seed)
        for method, act in tables.items():
            for start in STARTS:
                keep(method, start, reached(evaluate(act, walkers(start), WALKERS)), clock.cpu)
        model = transformer(seed, CONFIG, walks)
        spent = learn(dt.train(model, walks, CONFIG, seed))["cpu"]
        for method in (DRAWN, GREEDY):
            for start in STARTS:
                greedy = method == GREEDY
                returns = dt.play(model, walkers(start), PRIZE, WALKERS, greedy, seed)
                keep(method, start, reached(returns), spent)
        for method, (act, found) in networks(walks, seed).items():
            for start in STARTS:
                share = reached(evaluate(act, walkers(start), WALKERS))
                keep(method, start, share, found["cpu"])
        return runs

    return once(f"stitching_{CONFIG.steps}_{VALUES.steps}_{seed}", work, quick)


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    return {"seeds": seeds, "runs": [run for seed in seeds for run in one_seed(seed, quick)]}


def judge(result: dict) -> list[Goal]:
    runs, goals, seeds = by(result["runs"], "method", "start"), [], len(result["seeds"])
    limits = {(method, "A"): (at_most, 0.2) for method in (CLONE, DRAWN, GREEDY)}
    limits[DYNAMIC, "A"] = (at_least, 0.95)
    for (method, start), rows in runs.items():
        shares = [run["reached"] for run in rows]
        title = f"Maze, {seeds} seeds, {method}: share of walkers from {start} who reach the goal"
        words = f"{mean_over_seeds(shares, within=SHARE)} (lowest {min(shares):.2f}, "
        words += f"highest {max(shares):.2f})"
        if (method, start) in limits:
            limit, number = limits[method, start]
            goals.append(limit(title, number, float(np.mean(shares)), words))
        else:
            goals.append(reported(title, words))
    return goals
