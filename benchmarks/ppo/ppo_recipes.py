"""PPO and Stable-Baselines3's PPO on CartPole, each with both recipes: is it recipe or code?

`ppo_vs_peers` compares two recipes *and* two programs. Here each program trains with each recipe,
ours (`ppo.CARTPOLE`) and the one that the RL Zoo tuned for the library, on five seeds, in turns in
one process with one thread. The referee is the same: 20 greedy episodes every 2000 steps, and a run
stops when their mean first reaches 475. The time of the checks is not counted; what is compared is
the processor's time, by steps and by step.

What the settings do not reach stays as each program has it: how the environments are stepped, which
random numbers are drawn, and whether the learning rate falls before or after a rollout.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.harness import Goal, by, fresh_seeds, reported
from benchmarks.ppo import ppo_peers
from benchmarks.ppo.ppo_runs import ratio
from benchmarks.ppo.ppo_vs_peers import CHECK_EVERY, ENV, SOLVED, Checks, Solved
from course_lib.rl import ppo
from course_lib.rl.agent import Agent, AgentConfig
from course_lib.rl.envs import make

OURS, ZOO = "our recipe", "the Zoo's recipe"
CODES = ("course_lib", "stable-baselines3")

# `ppo.CARTPOLE` in the Zoo's keys: scaled rewards and observations are its `normalize`.
OURS_FOR_SB3: dict[str, Any] = {
    "normalize": True,
    "n_envs": ppo.CARTPOLE.num_envs,
    "n_timesteps": ppo.CARTPOLE.total_steps,
    "n_steps": ppo.CARTPOLE.rollout_length,
    "batch_size": ppo.CARTPOLE.minibatch_size,
    "n_epochs": ppo.CARTPOLE.epochs,
    "gamma": ppo.CARTPOLE.gamma,
    "gae_lambda": ppo.CARTPOLE.lam,
    "ent_coef": ppo.CARTPOLE.entropy_coef,
    "vf_coef": ppo.CARTPOLE.value_coef,
    "max_grad_norm": ppo.CARTPOLE.max_grad_norm,
    "learning_rate": f"lin_{ppo.CARTPOLE.learning_rate}",
    "clip_range": ppo.CARTPOLE.clip,
    "policy_kwargs": {
        "net_arch": {part: list(ppo.CARTPOLE.agent.hidden) for part in ("pi", "vf")},
    },
}
# The Zoo's numbers in our names. What it leaves out are the library's defaults, which are ours too:
# two networks of 64 and 64 tanh units, value loss times 0.5, gradients cut at 0.5.
ZOO_FOR_OURS = ppo.Config(
    total_steps=100_000,
    num_envs=8,
    rollout_length=32,
    minibatch_size=256,
    epochs=20,
    gamma=0.98,
    lam=0.8,
    clip=0.2,  # falls in a line to 0, as the learning rate does
    learning_rate=1e-3,
    agent=AgentConfig(hidden=(64, 64)),
)


def train_ours(recipe: str, seed: int, check: ppo_peers.Check) -> None:
    """Our PPO; with the Zoo's recipe the clip falls, so each update gets a Config of its own."""
    config = {OURS: ppo.CARTPOLE, ZOO: ZOO_FOR_OURS}[recipe]
    envs = make(ENV, config.num_envs, seed)
    agent = Agent(envs, config.agent, seed)
    run = ppo.Run(agent, envs, config, seed)
    while run.steps < config.total_steps:
        left = 1 - run.steps / config.total_steps
        now = config if recipe == OURS else replace(config, clip=config.clip * left)
        next(ppo.train(agent, envs, now, run=run))
        check(run.steps, agent.act)


def train_sb3(recipe: str, seed: int, check: ppo_peers.Check) -> None:
    """The library's PPO."""
    settings = {OURS: OURS_FOR_SB3, ZOO: ppo_peers.ZOO[ENV]}[recipe]
    ppo_peers.train_sb3(ENV, seed, settings["n_timesteps"], check, settings)


TRAIN = dict(zip(CODES, (train_ours, train_sb3), strict=True))


def run(code: str, recipe: str, seed: int) -> dict[str, Any]:
    """Train until a check reaches the goal, or to the end of the recipe's budget."""
    checks = Checks(seed)
    with contextlib.suppress(Solved):
        TRAIN[code](recipe, seed, ppo_peers.every(CHECK_EVERY, checks))
    steps = len(checks.curve) * CHECK_EVERY
    return {
        "code": code,
        "recipe": recipe,
        "seed": seed,
        "solved": checks.curve[-1] >= SOLVED,
        "steps": steps,
        "cpu_seconds": round(checks.training.cpu, 3),
        "microseconds_per_step": round(1e6 * checks.training.cpu / steps, 1),
        "greedy": checks.curve,
    }


def stop(steps: int, policy: ppo_peers.Policy) -> None:
    """A check that ends the training at once."""
    raise Solved


def measure(quick: bool) -> dict[str, Any]:
    """Every program with every recipe, five seeds (quick: 1)."""
    seeds = fresh_seeds(1 if quick else 5)
    pairs = list(itertools.product(CODES, (OURS, ZOO)))
    for code, recipe in pairs:  # a first call pays for imports and caches; it is not counted
        with contextlib.suppress(Solved):
            TRAIN[code](recipe, 0, ppo_peers.every(CHECK_EVERY, stop))
    runs = [run(code, recipe, seed) for seed in seeds for code, recipe in pairs]
    return {"seeds": seeds, "runs": runs}


COLUMNS = {
    "steps": "steps to first reach 475",
    "microseconds_per_step": "CPU time per step",
    "cpu_seconds": "CPU seconds to first reach 475",
}


def judge(result: dict[str, Any]) -> list[Goal]:
    """The four medians, then what the code, the recipe and both make of each column.

    Times are compared, not stated: the machine may be busy, but it is equally so for all four.
    """
    groups = by(result["runs"], "code", "recipe")
    goals = []
    for (code, recipe), runs in groups.items():
        solved = sum(run["solved"] for run in runs)
        steps = np.median([run["steps"] for run in runs])
        goals.append(
            reported(
                f"PPO, {ENV}, {code} with {recipe}: median steps to first reach 475",
                f"{steps:,.0f}; {solved} of {len(runs)} seeds reach it",
            )
        )
    ours, sb3 = CODES
    contrasts = {
        f"{sb3} over {ours}, both with {recipe}": ((sb3, recipe), (ours, recipe))
        for recipe in (OURS, ZOO)
    } | {f"{ZOO} over {OURS}, both in {code}": ((code, ZOO), (code, OURS)) for code in CODES}
    contrasts[f"{sb3} with {ZOO} over {ours} with {OURS}"] = ((sb3, ZOO), (ours, OURS))
    for what, (above, below) in contrasts.items():
        words = []
        for column, name in COLUMNS.items():
            middle, low, high = ratio(groups[above], groups[below], column)
            words.append(f"{name} {middle:.2f} [{low:.2f}, {high:.2f}]")
        what = f"PPO, {ENV}: {what}, times (95 % t interval)"
        goals.append(reported(what, "; ".join(words)))
    return goals
