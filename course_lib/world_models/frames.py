"""Real frames in the order in which they came: what a world model learns from and dreams begin in.

``rl.replay`` hands out single transitions; a model of sequences needs windows. Every environment
has its own stream here. Reset rows (``Step.valid``) belong to no episode and are dropped, so a
stream runs from the last frame of one episode straight to the first of the next;
``sequence.block_causal_mask`` keeps attention from looking across.

Symbols: B windows, T steps, N environments, C channels, H by W cells.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib.rl.envs import Envs, Step
from course_lib.rl.episodes import EpisodeReturns


class Windows(NamedTuple):
    """``B`` stretches of ``T`` real steps. They may run over the ends of episodes."""

    obs: Tensor  # (B, T, C, H, W) uint8, what the player saw
    actions: Tensor  # (B, T) int64, what it did then
    rewards: Tensor  # (B, T) float32, what that gave
    next_obs: Tensor  # (B, T, C, H, W) uint8, the true successor, also where an episode ended
    terminated: Tensor  # (B, T) bool
    truncated: Tensor  # (B, T) bool

    @property
    def ended(self) -> Tensor:
        """(B, T) bool: the next row belongs to another episode."""
        return self.terminated | self.truncated

    @property
    def same_episode(self) -> Tensor:
        """(B, T - 1) bool: the step belongs to the episode of the last one."""
        return self.ended[:, :-1].flip(1).cumsum(1).flip(1) == 0


class FrameReplay:
    """One stream of steps per environment, and ways to draw from them."""

    def __init__(self, num_envs: int, obs_shape: tuple[int, ...], capacity: int):
        """Room for ``capacity`` steps of each of ``num_envs`` environments."""
        rows = (num_envs, capacity)
        self.obs = torch.zeros(*rows, *obs_shape, dtype=torch.uint8)
        self.next_obs = torch.zeros_like(self.obs)
        self.actions = torch.zeros(rows, dtype=torch.int64)
        self.rewards = torch.zeros(rows)
        self.terminated = torch.zeros(rows, dtype=torch.bool)
        self.truncated = torch.zeros(rows, dtype=torch.bool)
        self.lengths = torch.zeros(num_envs, dtype=torch.int64)  # steps in each stream

    def __len__(self) -> int:
        """Steps in all streams."""
        return int(self.lengths.sum())

    def add(self, obs: np.ndarray, actions: np.ndarray, step: Step) -> None:
        """Append one step of all environments, but for those that were only reset."""
        rows = torch.as_tensor(step.valid).nonzero().squeeze(1)
        places = self.lengths[rows]
        if len(rows) and int(places.max()) >= self.obs.shape[1]:
            raise ValueError(f"the replay has room for {self.obs.shape[1]} steps per environment")
        columns = (self.obs, self.actions, self.rewards, self.next_obs)
        columns += (self.terminated, self.truncated)
        values = (obs, actions, step.rewards, step.obs, step.terminated, step.truncated)
        for column, value in zip(columns, values, strict=True):
            column[rows, places] = torch.as_tensor(value)[rows].to(column.dtype)
        self.lengths[rows] += 1

    def windows(self, batch: int, length: int, generator: torch.Generator) -> Windows:
        """Draw ``batch`` windows of ``length`` steps, all places equally probable."""
        places = (self.lengths - length + 1).clamp(min=0)
        if not places.any():
            raise ValueError(f"no stream holds {length} steps yet: play more or ask for fewer")
        envs = torch.multinomial(places.float(), batch, replacement=True, generator=generator)
        first = (torch.rand(batch, generator=generator) * places[envs]).long()
        return self.take(envs, first, length)

    def starts(
        self,
        batch: int,
        context: int,
        generator: torch.Generator,
        near_death: float = 0.0,
        back: int = 12,
        recent: float = 0.5,
    ) -> Windows:
        """Draw ``batch`` windows of ``context`` steps whose last frame is where a dream begins.

        They end in the newest ``recent`` share of the steps, which show what the present policy
        meets. A share ``near_death`` of them ends at most ``back`` steps before a termination, so
        that dreams meet what episodes end with.
        """
        time = torch.arange(self.obs.shape[1])
        oldest = ((1 - recent) * self.lengths).long().clamp(min=context - 1)
        usable = (time >= oldest[:, None]) & (time < self.lengths[:, None])
        if not usable.any():
            raise ValueError(f"no stream holds {context} recent steps yet: play more")
        envs, last = _draw(usable, batch, generator)
        deaths = usable & self.terminated
        number = round(near_death * batch)
        if number and deaths.any():
            envs[:number], dying = _draw(deaths, number, generator)
            before = torch.randint(back, (number,), generator=generator)
            last[:number] = (dying - before).clamp(min=context - 1)
        return self.take(envs, last - context + 1, context)

    def take(self, envs: Tensor, first: Tensor, length: int) -> Windows:
        """The windows that begin at steps ``first`` (B,) of the streams ``envs`` (B,)."""
        steps = first[:, None] + torch.arange(length)
        columns = (self.obs, self.actions, self.rewards, self.next_obs)
        columns += (self.terminated, self.truncated)
        return Windows(*(column[envs[:, None], steps] for column in columns))


def _draw(allowed: Tensor, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Row and column of ``number`` True entries of ``allowed`` (N, S), drawn with replacement."""
    entries = allowed.nonzero()
    drawn = entries[torch.randint(len(entries), (number,), generator=generator)]
    return drawn[:, 0].clone(), drawn[:, 1].clone()


class Recorder:
    """Plays real environments into a replay and goes on where it stopped."""

    def __init__(self, envs: Envs, replay: FrameReplay):
        self.envs, self.replay = envs, replay
        self.obs = envs.reset()
        self.episodes = EpisodeReturns(envs.num_envs, keep=None)

    def play(self, policy: Callable[[np.ndarray], np.ndarray], steps: int) -> None:
        """Take ``steps`` steps in every environment; ``policy`` maps (N, C, H, W) to (N,)."""
        for _ in range(steps):
            actions = policy(self.obs)
            step = self.envs.step(actions)
            self.replay.add(self.obs, actions, step)
            self.obs = step.obs
            self.episodes.add(step.rewards, step.terminated | step.truncated)
