"""Stretches of experience: ``T`` steps of ``N`` environments under the present policy.

A ``Collector`` plays on where the last rollout stopped: episodes are longer than rollouts. It
remembers what must be carried over: the observation on which the next action is chosen, and
which episodes have just ended, since the row after an end is a reset (see ``envs``).
"""

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib.rl.agent import Agent
from course_lib.rl.envs import Envs
from course_lib.rl.normalize import RewardScaler


class Rollout(NamedTuple):
    """What ``T`` steps of ``N`` environments gave. Rows where ``valid`` is 0 are resets."""

    obs: Tensor  # (T, N, *obs_shape) as the network saw them
    actions: Tensor  # (T, N) int64, or (T, N, D) float32 as the policy chose them, unclipped
    logp: Tensor  # (T, N) log-probability of each action when it was chosen
    values: Tensor  # (T, N) of obs
    next_values: Tensor  # (T, N) of the true successors: also after a truncation
    rewards: Tensor  # (T, N) scaled where a scaler is used
    terminated: Tensor  # (T, N) bool
    truncated: Tensor  # (T, N) bool
    valid: Tensor  # (T, N) bool


class Collector:
    """Plays ``envs`` with an agent and cuts the experience into rollouts."""

    def __init__(self, envs: Envs, reward_scaler: RewardScaler | None = None):
        self.envs = envs
        self.reward_scaler = reward_scaler
        self.obs = envs.reset()
        self.ended = np.zeros(envs.num_envs, bool)
        self.running = np.zeros(envs.num_envs)  # undiscounted, unscaled return so far
        self.recent: deque[float] = deque(maxlen=100)  # returns of the latest episodes

    @torch.no_grad()
    def collect(self, agent: Agent, length: int, generator: torch.Generator) -> Rollout:
        """Take ``length`` steps in every environment. ``generator`` draws the actions."""
        network, seen, chosen, told, rows = agent.network, [], [], [], []
        shared = network.value_body is None
        for _ in range(length):
            if agent.obs_normalizer is not None:
                agent.obs_normalizer.update(self.obs[~self.ended])
            seen.append(agent.read(self.obs))
            policy, values = network(seen[-1]) if shared else (network.policy(seen[-1]), None)
            chosen.append(policy.sample(generator))
            if shared:  # the values came with the policy
                told.append((policy.logp(chosen[-1]), values))
            rows.append(self._step(chosen[-1].cpu().numpy()))
        obs, actions = torch.stack(seen), torch.stack(chosen)
        rewards, terminated, truncated, valid = (
            torch.as_tensor(np.stack(column), device=agent.device)
            for column in zip(*rows, strict=True)
        )
        if shared:
            logp, values = (torch.cat(column) for column in zip(*told, strict=True))
        else:  # one pass over all rows costs less than one per step
            policy, values = network(obs.flatten(0, 1))
            logp = policy.logp(actions.flatten(0, 1))
        # The observation after row t is what row t led to, even where its episode ended there.
        values = torch.cat([values, network.value(agent.read(self.obs))]).view(length + 1, -1)
        return Rollout(
            obs, actions, logp.view(length, -1), values[:-1], values[1:],
            rewards, terminated, truncated, valid,
        )  # fmt: skip

    def _step(self, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        obs, rewards, terminated, truncated, valid = self.envs.step(actions)
        self.obs, self.ended = obs, terminated | truncated
        self.running += rewards
        self.recent.extend(self.running[self.ended])
        self.running[self.ended] = 0.0
        if self.reward_scaler is not None:
            rewards = self.reward_scaler(rewards, self.ended, valid)
        return rewards, terminated, truncated, valid
