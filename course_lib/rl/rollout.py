"""Stretches of experience: ``T`` steps of ``N`` environments under the present policy.

A ``Collector`` plays on where the last rollout stopped: episodes are longer than rollouts. It
remembers what must be carried over: the observation on which the next action is chosen, and
which episodes have just ended, since the row after an end is a reset (see ``envs``).
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib.rl.agent import Agent
from course_lib.rl.envs import Envs
from course_lib.rl.episodes import EpisodeReturns
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
        self.episodes = EpisodeReturns(envs.num_envs)  # of the rewards before they are scaled

    @torch.no_grad()
    def collect(self, agent: Agent, length: int, generator: torch.Generator) -> Rollout:
        """Take ``length`` steps in every environment. ``generator`` draws the actions."""
        network = agent.network
        all_obs, all_actions, rows, judged = [], [], [], []
        for _ in range(length):
            if agent.obs_normalizer is not None:
                agent.obs_normalizer.update(self.obs[~self.ended])
            obs = agent.read(self.obs)
            policy, values = network(obs) if network.shares_body else (network.policy(obs), None)
            actions = policy.sample(generator)
            if network.shares_body:  # the values came with the policy
                judged.append((policy.logp(actions), values))
            all_obs.append(obs)
            all_actions.append(actions)
            rows.append(self._step(actions.cpu().numpy()))
        obs, actions = torch.stack(all_obs), torch.stack(all_actions)
        if network.shares_body:
            logp, values = (torch.cat(column) for column in zip(*judged, strict=True))
        else:  # one pass over all rows costs less than one per step
            policy, values = network(obs.flatten(0, 1))
            logp = policy.logp(actions.flatten(0, 1))
        # The observation after row t is what row t led to, even where its episode ended there.
        values = torch.cat([values, network.value(agent.read(self.obs))]).view(length + 1, -1)
        stacked = (np.stack(column) for column in zip(*rows, strict=True))
        columns = (torch.as_tensor(column, device=agent.device) for column in stacked)
        return Rollout(obs, actions, logp.view(length, -1), values[:-1], values[1:], *columns)

    def _step(self, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        """Rewards, terminated, truncated, valid of one step, (N,) each."""
        self.obs, rewards, terminated, truncated, valid = self.envs.step(actions)
        self.ended = terminated | truncated
        self.episodes.add(rewards, self.ended)
        if self.reward_scaler is not None:
            rewards = self.reward_scaler(rewards, self.ended, valid)
        return rewards, terminated, truncated, valid
