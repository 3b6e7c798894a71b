"""Trajectory sampling: a planner that draws from the predicted variance, and one that does not.

Both follow every plan with one particle per member of the ensemble (TS-infinity, Chua et al., arXiv
1805.12114, section 5). One lets its particles take the means of their members (the planner of
`mpc`), the other lets them draw from the members' Gaussians. Both plan in the *same* model, which
has learned from random steps, and play the same new episodes; differences are paired by seed (t
intervals).

The planner has the task's own reward of 1 per step, so plans differ only by when, or how probably,
the pole falls. CartPole has no noise, so there the variance can only be the model's own inaccuracy.
In the second world one push in five goes to a side drawn by lot.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import torch

from benchmarks.harness import Clock, Goal, by, fresh_seeds, reported
from benchmarks.world_models import kept, mpc as told
from benchmarks.world_models.mpc import CARTPOLE
from benchmarks.world_models.same_reward import interval, verdict
from course_lib.evaluation import evaluate
from course_lib.rl.envs import Envs, Step, make
from course_lib.world_models import dynamics, experience, planning
from course_lib.world_models.experience import collect, random_policy, transitions
from course_lib.world_models.planning import Planner

STEPS, EPISODES, SEEDS = 1_000, 3, 5  # random real steps; episodes per seed, all played at once
MEANS, DRAWS = "means", "draws"
TASK = planning.CARTPOLE._replace(reward=planning.cartpole_alive)
SLIPS = {"CartPole": 0.0, "CartPole with slips": 0.2}  # share of the pushes drawn by lot


class Slipping:
    """Numbered actions of which a share ``slip`` is drawn by lot, whatever was chosen."""

    action_size = num_states = None

    def __init__(self, envs: Envs, slip: float, seed: int):
        self._envs, self._slip = envs, slip
        self._rng = np.random.default_rng((seed, 5))
        self.num_envs, self.obs_shape = envs.num_envs, envs.obs_shape
        self.num_actions = envs.num_actions

    def reset(self) -> np.ndarray:
        return self._envs.reset()

    def step(self, actions: np.ndarray) -> Step:
        drawn = self._rng.integers(self.num_actions, size=self.num_envs)
        slipped = self._rng.random(self.num_envs) < self._slip
        return self._envs.step(np.where(slipped, drawn, actions))


def built(world: str, num_envs: int, seed: int) -> Envs | Slipping:
    """Environments of a world."""
    envs = make(CARTPOLE, num_envs, seed)
    return Slipping(envs, SLIPS[world], seed) if SLIPS[world] else envs


def compared(world: str, seed: int) -> list[dict]:
    """One model of random steps, and both ways of planning in it."""
    recipe = told.RECIPES[CARTPOLE]
    envs = built(world, 4, seed)
    data = transitions(collect(envs, random_policy(envs, seed), STEPS))
    model = dynamics.Dynamics(data.obs.shape[1], data.actions.shape[1], recipe.model, seed)
    for _ in dynamics.train(model, data, recipe.model, seed):
        pass
    with torch.no_grad():
        std = model.noise(data.obs, data.actions) / model.step_size
        apart = dynamics.one_step_error(model, data)[1]
    rms = {name: float(x.square().mean().sqrt()) for name, x in (("std", std), ("apart", apart))}
    head = {"world": world, "seed": seed, "steps": data.rows}
    head |= {name: round(value, 4) for name, value in rms.items()}
    return [head | played(world, model, plans, seed) for plans in (MEANS, DRAWS)]


def played(world: str, model: dynamics.Dynamics, plans: str, seed: int) -> dict:
    """New episodes, the same for both ways of planning."""
    settings = replace(told.RECIPES[CARTPOLE].planner, sample=plans == DRAWS)
    planner = Planner(model, TASK, settings, EPISODES, seed)
    with Clock() as clock:
        returns = evaluate(planner, built(world, EPISODES, 10_000 + seed), EPISODES)
    return {
        "plans": plans,
        "return": round(float(returns.mean()), 1),
        "returns": [round(float(x), 1) for x in returns],
        "play_seconds": round(clock.cpu, 2),
    }


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(2 if quick else SEEDS)
    code = (dynamics, experience, planning, told, sys.modules[__name__])
    folder = kept.folder("world_models", *code)
    runs: list[dict] = []
    for world in SLIPS:
        for seed in seeds:
            file = folder / f"{seed}_{world}.json"
            runs += kept.once(file, lambda x=(world, seed): compared(*x))
    return {"seeds": seeds, "episodes": EPISODES, "runs": runs}


def judge(result: dict) -> list[Goal]:
    goals = []
    for label, runs in by(result["runs"], "world").items():
        plans = by(runs, "plans")
        for name, mine in plans.items():
            goals.append(reported(f"{label}, planning with {name}", _words(mine)))
        change = [
            a["return"] - b["return"] for a, b in zip(plans[DRAWS], plans[MEANS], strict=True)
        ]
        words = f"{interval(change)} over {len(change)} seeds: {verdict(change)}"
        goals.append(reported(f"{label}: draws less means, paired", words))
    return goals


def _words(runs: list[dict]) -> str:
    returns = [run["return"] for run in runs]
    std, apart = (np.mean([run[key] for run in runs]) for key in ("std", "apart"))
    return (
        f"{interval(returns)} over {len(runs)} seeds, worst {min(returns):.0f}; on the data, in "
        f"usual changes: predicted standard deviation {std:.2g}, disagreement {apart:.2g}"
    )
