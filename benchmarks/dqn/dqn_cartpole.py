"""DQN on CartPole-v1: 20 seeds, and what each setting of the recipe is good for.

Every seed trains with `dqn.CARTPOLE` for a fixed number of steps. What counts is the last policy,
played greedily for 100 episodes that no seed trained on. The time is the wall clock of training.
Then each ablation leaves one setting of the recipe out, on ten seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.harness import Goal, by, fresh_seeds, mean_over_seeds, reported
from course_lib.evaluation import evaluate
from course_lib.rl import dqn
from course_lib.rl.envs import Envs, make

SOLVED = 475.0
RECIPE = "recipe"
ABLATIONS = {
    "rewards unscaled": replace(dqn.CARTPOLE, reward_scale=1.0),
    "observations unscaled": replace(dqn.CARTPOLE, obs_scale=None),
    "one gradient step per 32 environment steps": replace(dqn.CARTPOLE, gradient_steps=2),
    "target moves 1 % per gradient step": replace(dqn.CARTPOLE, target_tau=0.01),
    "one-step targets": replace(dqn.CARTPOLE, n_step=1),
    "without Double DQN": replace(dqn.CARTPOLE, double=False),
}


def train_and_test(
    config: dqn.Config,
    seed: int,
    check_every: int | None = None,
    wrap: Callable[[Envs], Envs] = lambda envs: envs,
    num_envs: int = 16,
) -> dict:
    """Train one agent, then play 100 greedy episodes with its last policy.

    With `check_every`, 20 greedy episodes are also played each time so many steps went by; their
    time is not counted. The three sets of environments have seeds of their own.
    """
    envs = wrap(make("CartPole-v1", num_envs, seed))
    check_envs = make("CartPole-v1", 20, 20_000 + seed)
    agent = dqn.DQN(envs.obs_shape, envs.num_actions, config, seed)
    steps, curve, train_returns, first = [], [], [], None
    next_check = check_every or config.total_steps // 15
    checking, start = 0.0, time.perf_counter()
    for row in dqn.train(agent, envs, config, seed):
        if row["steps"] < next_check:
            continue
        next_check += check_every or config.total_steps // 15
        steps.append(int(row["steps"]))
        train_returns.append(round(row["return"], 1))
        if check_every:
            pause = time.perf_counter()
            curve.append(round(float(evaluate(agent.act, check_envs, 20).mean()), 1))
            if first is None and curve[-1] >= SOLVED:
                first = round(pause - start - checking, 2)
            checking += time.perf_counter() - pause
    seconds = time.perf_counter() - start - checking
    returns = evaluate(agent.act, make("CartPole-v1", 100, 10_000 + seed), 100)
    result = {"seed": seed, "return": round(float(returns.mean()), 1), "seconds": round(seconds, 2)}
    if check_every:
        result |= {"seconds_to_first_475": first, "greedy": curve}
    return result | {"q": round(row["q"], 1), "steps": steps, "training": train_returns}


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(3 if quick else 20)
    runs = [{"variant": RECIPE, **train_and_test(dqn.CARTPOLE, seed)} for seed in seeds]
    for seed in [] if quick else seeds[:10]:
        for variant, config in ABLATIONS.items():
            runs.append({"variant": variant, **train_and_test(config, seed)})
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    runs = by(result["runs"], "variant")[RECIPE]
    returns, seconds = ([run[key] for run in runs] for key in ("return", "seconds"))
    solved, needed = sum(r >= SOLVED for r in returns), len(runs) - 1  # 19 of 20
    return [
        Goal(
            "DQN, CartPole-v1: mean of 100 greedy episodes of the last policy",
            f">= {SOLVED:.0f} on {needed} of {len(runs)} seeds",
            f"{solved} of {len(runs)}, worst seed {min(returns):.1f}",
            solved >= needed,
        ),
        Goal(
            "DQN, CartPole-v1: training time of the slowest seed, one core",
            "<= 60 s",
            f"{max(seconds):.1f} s (median {np.median(seconds):.1f} s)",
            max(seconds) <= 60,
        ),
        *_ablations(result["runs"]),
    ]


def _ablations(runs: list[dict]) -> list[Goal]:
    """What each ablation loses against the recipe on the same seeds, and where its values end."""
    found = {variant: {r["seed"]: r for r in of} for variant, of in by(runs, "variant").items()}
    recipe, goals = found.pop(RECIPE), []
    for variant, of in found.items():
        returns, values = (
            [run[key] - recipe[seed][key] for seed, run in of.items()] for key in ("return", "q")
        )
        solved = sum(run["return"] >= SOLVED for run in of.values())
        ends = [run["q"] for run in of.values()]
        goals.append(
            reported(
                f"DQN, CartPole-v1, {variant}: seeds solved; return and final value less the "
                "recipe's",
                f"{solved} of {len(of)}; {mean_over_seeds(returns, '.0f')}; "
                f"{mean_over_seeds(values, '.1f')} (values end at {min(ends):.0f} to "
                f"{max(ends):.0f})",
            )
        )
    return goals
