"""Which of PPO's details matter: each one taken out of the recipe, on two tasks; and known bugs.

Every variant changes one thing and keeps the budget. CartPole-v1 trains with `ppo.CARTPOLE` cut to
a third of its steps, since more would hide who learns late; InvertedDoublePendulum-v5 (two joined
poles on a cart, a continuous force) with the recipe below.
What counts is the last policy, played greedily in episodes that no seed trained on. `training` is
the curve of the returns while sampling, `speed` its mean: high for what learns early.

The goals only ask that the recipes themselves hold. What the others lose, if anything, is what the
numbers are for; a detail that makes no difference here may make one elsewhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.dqn.dqn_cartpole import SOLVED
from benchmarks.harness import Goal, by, fresh_seeds, iqm_over_seeds
from benchmarks.ppo.ppo_runs import curve, test, train
from course_lib.classroom import use
from course_lib.lessons.actor_critic.exercises import gae
from course_lib.lessons.ppo.exercises import clipped_surrogate
from course_lib.rl import losses, ppo
from course_lib.rl.agent import AgentConfig
from course_lib.rl.envs import Envs, Step

POLE, DOUBLE = "CartPole-v1", "InvertedDoublePendulum-v5"
# Of at most 500; and of about 9360, the return of an episode in which the poles never fall.
GOALS = {POLE: SOLVED, DOUBLE: 7500.0}
RECIPE = "recipe"
RECIPES = {
    POLE: replace(ppo.CARTPOLE, total_steps=100_000),
    DOUBLE: ppo.Config(
        total_steps=60_000,
        num_envs=8,
        epochs=10,
        gamma=0.98,
        learning_rate=1e-3,
        scale_rewards=True,
        agent=AgentConfig(log_std=-1.0, normalize_obs=True),
    ),
}
TITLES = {RECIPE: "the recipe", "detail": "one detail changed", "bug": "one bug put in"}
NEVER = 1e9  # a limit that nothing reaches


def details(config: ppo.Config) -> dict[str, ppo.Config]:
    """The recipe with one detail changed at a time."""
    body = config.agent
    found = {
        "one epoch": replace(config, epochs=1),
        # Fewer epochs are fewer gradient steps, too; here each makes up for the ones left out.
        "one epoch, larger rate": replace(
            config, epochs=1, learning_rate=config.epochs * config.learning_rate
        ),
        "no clip": replace(config, clip=NEVER),
        "no whitening of advantages": replace(config, whiten=False),
        "no annealing of the learning rate": replace(config, anneal=False),
        "lambda 1": replace(config, lam=1.0),
        "no gradient clipping": replace(config, max_grad_norm=NEVER),
        "PyTorch's initial weights": replace(config, agent=replace(body, orthogonal_init=False)),
        "values clipped, too": replace(config, value_clip=0.2),
        "one body for policy and value": replace(config, agent=replace(body, shared=True)),
    }
    if body.normalize_obs:
        plain = replace(body, normalize_obs=False)
        found["observations not normalised"] = replace(config, agent=plain)
    if config.scale_rewards:
        found["rewards not scaled"] = replace(config, scale_rewards=False)
    return found


def stale_ratio(logp: Tensor, old_logp: Tensor) -> Tensor:
    """Recomputes the old log-probabilities with the present policy: the ratio is always 1."""
    return torch.exp(logp - logp.detach())


class ResetRowsCount:
    """Environments that call every row valid: also the one after an end, which is a reset."""

    def __init__(self, envs: Envs):
        self.envs = envs
        self.num_envs, self.num_actions = envs.num_envs, envs.num_actions
        self.obs_shape, self.action_size = envs.obs_shape, envs.action_size

    def reset(self) -> np.ndarray:
        return self.envs.reset()

    def step(self, actions: np.ndarray) -> Step:
        step = self.envs.step(actions)
        return step._replace(valid=np.ones_like(step.valid))


BUGS = {
    "sign forgotten": {"mistakes": [clipped_surrogate.mistake("forgets the sign")]},
    "larger objective instead of the smaller": {
        "mistakes": [clipped_surrogate.mistake("takes the larger")]
    },
    "clipped everywhere": {"mistakes": [clipped_surrogate.mistake("clips everywhere")]},
    "ratio always 1": {"mistakes": [{losses.probability_ratio: stale_ratio}]},
    "bootstraps through termination": {"mistakes": [gae.mistake("bootstraps through termination")]},
    "truncation treated as termination": {
        "mistakes": [gae.mistake("treats truncation as termination")]
    },
    "reset rows learned from": {"wrap": ResetRowsCount},
}


def train_and_test(
    env: str, seed: int, config: ppo.Config, mistakes: Sequence = (), **options
) -> dict:
    """Train one agent, then play 50 greedy episodes with its last policy."""
    with use(*mistakes):
        agent, rows, clock = train(env, config, seed, **options)
    column = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        "seed": seed,
        "return": round(float(test(agent.act, env, seed, 50).mean()), 1),
        "speed": round(float(np.nanmean(column["return"])), 1),
        "seconds": round(clock.wall, 1),
        "kl": round(float(column["kl"].mean()), 4),
        "clipped": round(float(column["clipped"].mean()), 4),
        "explained": round(rows[-1]["explained"], 3),
        **curve(rows, 40, 1),
    }


def variants() -> list[tuple[str, str, str, dict]]:
    """Everything that is run: task, "recipe", "detail" or "bug", its name, its settings."""
    found = []
    for env, config in RECIPES.items():
        found.append((env, RECIPE, RECIPE, {"config": config}))
        for name, changed in details(config).items():
            found.append((env, "detail", name, {"config": changed}))
        eps = {"config": config, "adam_eps": 1e-8}
        found.append((env, "detail", "Adam's epsilon 1e-8", eps))
    for name, bug in BUGS.items():
        found.append((POLE, "bug", name, {"config": RECIPES[POLE], **bug}))
    return found


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 5)
    runs = []
    for seed in seeds:
        for env, kind, name, options in variants():
            run = train_and_test(env, seed, **options)
            runs.append({"env": env, "kind": kind, "variant": name, **run})
            print(seed, env, name, run["return"], run["speed"], run["seconds"], flush=True)
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    goals = []
    groups = by(result["runs"], "env", "kind")
    for env, kind in itertools.product(GOALS, TITLES):
        if (env, kind) not in groups:
            continue
        words = []
        for name, group in by(groups[env, kind], "variant").items():
            returns = [run["return"] for run in group]
            held, tried = sum(x >= GOALS[env] for x in returns), len(returns)
            words.append(f"{name} {held} (IQM {iqm_over_seeds(returns, '.0f')})")
        promised, least = kind == RECIPE, max(1, tried - 1)  # the others are there to be seen
        goals.append(
            Goal(
                f"PPO, {env}, {TITLES[kind]}: seeds of {tried} whose last policy reaches "
                f"{GOALS[env]:.0f}",
                f"at least {least}" if promised else "reported",
                "; ".join(words),
                held >= least or not promised,
            )
        )
    return goals
