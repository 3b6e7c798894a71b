"""Which part of A2C does what: the two learning rates taken apart, and a critic that lags behind.

`actor_critic` trains A2C as it should be, and with its learning rate times ten. One optimiser holds
policy and critic, so that run changes two things; here each has its own rate. A third control
trains with a critic that takes one gradient step per batch like the policy, in place of eight. Same
seeds and budget as the mistakes there. Nothing is promised: the numbers are there to be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from benchmarks.actor_critic.actor_critic import A2C, train_and_test
from benchmarks.dqn.dqn_cartpole import SOLVED
from benchmarks.harness import Goal, by, fresh_seeds, reported
from course_lib.rl import actor_critic
from course_lib.rl.agent import Agent
from course_lib.rl.envs import Envs
from course_lib.rl.rollout import Rollout


class TwoRates(actor_critic._Learner):
    """The learner of A2C with the recipe's rate times ``policy`` and times ``critic``."""

    def __init__(
        self, agent: Agent, config: actor_critic.Config, seed: int, policy: float, critic: float
    ):
        super().__init__(agent, replace(config, learning_rate=policy * config.learning_rate), seed)
        groups: dict[bool, list[Tensor]] = {True: [], False: []}
        for name, weights in agent.network.named_parameters():
            groups[name.startswith("policy")].append(weights)
        self.optimizer = torch.optim.Adam(
            [{"params": groups[True]}, {"params": groups[False]}], eps=1e-5, fused=True
        )
        self.critic_rate = critic * config.learning_rate

    def update(self, rollout: Rollout, advantages: Tensor, targets: Tensor) -> dict[str, float]:
        left = 1 - self.steps / self.config.total_steps
        self.optimizer.param_groups[1]["lr"] = self.critic_rate * left
        return super().update(rollout, advantages, targets)


def with_rates(policy: float, critic: float) -> Callable[..., Iterator[dict[str, float]]]:
    """A2C with the recipe's learning rate times ``policy`` and times ``critic``."""

    def a2c(
        agent: Agent, envs: Envs, config: actor_critic.Config, seed: int = 0
    ) -> Iterator[dict[str, float]]:
        learner = partial(TwoRates, policy=policy, critic=critic)
        with mock.patch.object(actor_critic, "_Learner", learner):
            yield from actor_critic.a2c(agent, envs, config, seed)

    return a2c


VARIANTS = {
    "the policy's rate times ten": (with_rates(10, 1), A2C),
    "the critic's rate times ten": (with_rates(1, 10), A2C),
    "one step of the critic per batch": (actor_critic.a2c, replace(A2C, value_steps=1)),
}


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 5)
    runs = [
        {"variant": variant, **train_and_test(seed, *method)}
        for variant, method in VARIANTS.items()
        for seed in seeds
    ]
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    goals = []
    for variant, runs in by(result["runs"], "variant").items():
        returns = [run["return"] for run in runs]
        reached = [
            "never" if run["steps_to_400"] is None else f"{run['steps_to_400']:,}" for run in runs
        ]
        goals.append(
            reported(
                f"A2C, CartPole-v1, {variant}: seeds solved",
                f"{sum(r >= SOLVED for r in returns)} of {len(returns)} solved, mean "
                f"{np.mean(returns):.0f}, worst {min(returns):.0f}; steps to 400: "
                + ", ".join(reached),
            )
        )
    return goals
