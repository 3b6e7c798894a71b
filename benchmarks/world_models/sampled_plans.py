"""Trajectory sampling: a planner that draws from the predicted variance, and one that does not.

Both follow every plan with one particle per member of the ensemble (TS-infinity, Chua et al., arXiv
1805.12114, section 5). One lets its particles take the means of their members (the planner of
`mpc`), the other lets them draw from the Gaussians. Each collects its own data with its own way of
planning, by the recipes of `mpc`; seeds are shared, so differences are paired (t intervals).

CartPole and Pendulum have no noise, so the variance can only be the model's own inaccuracy. In the
third and fourth world one push in five goes to a side drawn by lot, and there the variance has
something to say. The third plans with the shaped reward; the fourth with the task's own reward of 1
per step, under which plans differ only by whether, or how probably, the pole falls.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmarks.harness import Clock, Goal, by, fresh_seeds, reported
from benchmarks.world_models import kept, mpc as told, same_reward
from benchmarks.world_models.mpc import CARTPOLE, EPISODES, PENDULUM
from benchmarks.world_models.same_reward import interval, verdict
from course_lib.evaluation import evaluate
from course_lib.rl.envs import Envs, Step, make
from course_lib.world_models import dynamics, experience, mpc, planning
from course_lib.world_models.planning import Task

MEANS, DRAWS = "means", "draws"


class World(NamedTuple):
    """A task, and how often another action than the chosen one is carried out."""

    name: str
    task: Task
    slip: float = 0.0


OWN = planning.CARTPOLE._replace(reward=planning.cartpole_alive)
WORLDS = {
    "CartPole": World(CARTPOLE, planning.CARTPOLE),
    "Pendulum": World(PENDULUM, planning.PENDULUM),
    "CartPole with slips": World(CARTPOLE, planning.CARTPOLE, 0.2),
    "CartPole with slips, own reward": World(CARTPOLE, OWN, 0.2),
}


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


def built(world: World, num_envs: int, seed: int) -> Envs | Slipping:
    """Environments of a world."""
    envs = make(world.name, num_envs, seed)
    return Slipping(envs, world.slip, seed) if world.slip else envs


def played(label: str, plans: str, seed: int) -> dict:
    """MPC with one way of planning, while it collects and in ten new episodes."""
    world = WORLDS[label]
    recipe = told.RECIPES[world.name]
    recipe = replace(recipe, planner=replace(recipe.planner, sample=plans == DRAWS))
    run = mpc.Run(built(world, told.COLLECTORS[world.name], seed), world.task, recipe, seed)
    with Clock() as learning:
        rows = list(mpc.train(run))
    with Clock() as playing:
        envs = built(world, EPISODES, 10_000 + seed)
        returns = evaluate(run.planner(EPISODES, seed), envs, EPISODES)
    data = experience.transitions(*run.data)
    scatter = run.model.noise(data.obs, data.actions) / run.model.step_size
    return {
        "world": label,
        "plans": plans,
        "seed": seed,
        "steps": int(rows[-1]["steps"]),
        "std": round(float(scatter.detach().square().mean().sqrt()), 4),
        "return": round(float(returns.mean()), 1),
        "returns": [round(float(x), 1) for x in returns],
        "learn_seconds": round(learning.cpu, 2),
        "play_seconds": round(playing.cpu, 2),
    }


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(2 if quick else 10)
    code = (dynamics, experience, mpc, planning, told, same_reward, sys.modules[__name__])
    folder = kept.folder("world_models", *code)
    runs: list[dict] = []
    for label in list(WORLDS)[: 1 if quick else None]:
        for seed in seeds:
            file = folder / f"{seed}_{label}.json"
            given = (label, seed)
            runs += kept.once(file, lambda x=given: [played(x[0], p, x[1]) for p in (MEANS, DRAWS)])
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
    std, play = (np.mean([run[key] for run in runs]) for key in ("std", "play_seconds"))
    return (
        f"{interval(returns)} over {len(runs)} seeds, worst {min(returns):.0f}; predicted standard "
        f"deviation {std:.3g} usual changes, {play:.1f} CPU s to play"
    )
