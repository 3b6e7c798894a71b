"""Somebody else's play, kept as one long table: whole episodes, one after the other.

Offline reinforcement learning sees nothing but this. Reset rows are left out, and so is an episode
that had not ended when the recording stopped: the return of every row's episode is known.

Shapes: ``S`` steps in all, ``E`` episodes, ``B`` windows, ``T`` steps of a window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from course_lib.rl.envs import Envs


class Dataset:
    """``S`` steps of whole episodes, in the order in which they came.

    ``frames`` (S, bytes) uint8 are observations of zeros and ones, eight cells to the byte, or
    (S, *obs_shape) as they are; ``obs`` gives either back. ``actions`` (S,) whole numbers,
    ``rewards`` (S,), ``terminated`` and ``truncated`` (S,) bool; the last row must end an episode.

    Attributes made here: ``ended`` (S,) bool, terminated or truncated; ``episode`` (S,) number of
    each row's episode; ``starts``, ``ends`` (E,) the first and last row of each; ``returns`` (E,)
    undiscounted. ``Agent(data, config)`` reads the shapes off it as it does off environments.
    """

    action_size = None  # actions are numbered

    def __init__(
        self,
        frames: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        obs_shape: Sequence[int],
        num_actions: int,
    ):
        self.frames = frames
        self.actions = np.asarray(actions, np.int64)
        self.rewards = np.asarray(rewards, np.float32)
        self.terminated = np.asarray(terminated, bool)
        self.truncated = np.asarray(truncated, bool)
        self.obs_shape, self.num_actions = tuple(obs_shape), num_actions
        self._bits = self.frames.shape[1:] != self.obs_shape
        self._check()
        self.ended = self.terminated | self.truncated
        self.ends = np.flatnonzero(self.ended)
        self.starts = np.concatenate([[0], self.ends[:-1] + 1])
        self.episode = np.cumsum(self.ended) - self.ended
        self.returns = np.add.reduceat(self.rewards.astype(np.float64), self.starts)

    def _check(self) -> None:
        columns = (self.frames, self.actions, self.rewards, self.terminated, self.truncated)
        sizes = [len(column) for column in columns]
        if len(set(sizes)) != 1 or not sizes[0]:
            raise ValueError(f"all columns must have the same length of at least 1, got {sizes}")
        bytes_of_a_frame = (-(-math.prod(self.obs_shape) // 8),)
        if self._bits and self.frames.shape[1:] != bytes_of_a_frame:
            raise ValueError(
                f"frames must have shape (S, *{self.obs_shape}), or (S, {bytes_of_a_frame[0]}) as "
                f"bits, got {self.frames.shape}"
            )
        if not (self.terminated[-1] or self.truncated[-1]):
            raise ValueError("the last row must end its episode: leave out what is not finished")
        if self.actions.min() < 0 or self.actions.max() >= self.num_actions:
            raise ValueError(
                f"actions must lie between 0 and {self.num_actions - 1}, "
                f"got {self.actions.min()} to {self.actions.max()}"
            )

    def __len__(self) -> int:
        return len(self.actions)

    def obs(self, rows: np.ndarray) -> Tensor:
        """Observations of ``rows``, an array of any shape: (*rows.shape, *obs_shape)."""
        rows = np.asarray(rows)
        found = self.frames[rows]
        if self._bits:
            found = np.unpackbits(found, axis=-1, count=math.prod(self.obs_shape))
        return torch.from_numpy(found.reshape(*rows.shape, *self.obs_shape))

    def only(self, episodes: np.ndarray | Sequence[int]) -> Dataset:
        """The same steps without all other episodes; the order stays as it was."""
        keep = np.isin(self.episode, np.asarray(episodes))
        if not keep.any():
            raise ValueError(f"none of the {len(self.returns)} episodes is among those asked for")
        columns = (self.frames, self.actions, self.rewards, self.terminated, self.truncated)
        return Dataset(*(column[keep] for column in columns), self.obs_shape, self.num_actions)

    def best(self, share: float) -> Dataset:
        """The ``share`` of the episodes with the largest returns, at least one.

        Of episodes with equal returns the earlier ones are taken.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {share}")
        count = max(1, round(share * len(self.returns)))
        return self.only(np.argsort(-self.returns, kind="stable")[:count])

    def successors(self, rows: np.ndarray) -> np.ndarray:
        """The rows that follow ``rows`` (B,); an end, where none follows, is its own successor."""
        return np.where(self.ended[rows], rows, np.asarray(rows) + 1)

    def windows(self, first: np.ndarray, length: int) -> tuple[np.ndarray, Tensor]:
        """Rows (B, T) of windows that begin at the rows ``first`` (B,), and a mask (B, T) bool.

        A window stays within its episode. Where the episode ends earlier, the last row is repeated
        and the mask is False: padding stands on the *right*, where a causal model never looks back
        at it from a real step.
        """
        rows = np.asarray(first)[:, None] + np.arange(length)
        last = self.ends[self.episode[first]][:, None]
        return np.minimum(rows, last), torch.from_numpy(rows <= last)


def returns_to_go(rewards: np.ndarray, ended: np.ndarray) -> np.ndarray:
    """Undiscounted rewards from each row on to the end of its episode, (S,) float32.

    ``rewards`` (S,), ``ended`` (S,) bool, True on the last row of an episode. The row's own reward
    is part of it: what is still to come before the action is taken.
    """
    rewards = np.asarray(rewards, np.float64)  # float32 would round at every step
    to_go, rest = np.zeros(len(rewards), np.float64), 0.0
    for t in reversed(range(len(rewards))):
        rest = rewards[t] + (0.0 if ended[t] else rest)
        to_go[t] = rest
    return to_go.astype(np.float32)


def record(
    envs: Envs, policy: Callable[[np.ndarray], np.ndarray], steps: int, pack: bool = True
) -> Dataset:
    """Let ``policy`` play ``steps`` steps of each environment and keep all finished episodes.

    ``policy`` maps observations (N, *obs_shape) to actions (N,). ``pack`` stores observations of
    zeros and ones as bits. Episodes of one environment follow each other; its last, unfinished
    one is left out. Raises ``ValueError`` where no episode ended, and where bits cannot hold the
    observations.
    """
    pack = pack and math.prod(envs.obs_shape) > 1  # one cell takes a byte either way
    rows, obs = [], envs.reset()
    for _ in range(steps):
        actions = np.asarray(policy(obs))
        step = envs.step(actions)
        rows.append((_packed(obs) if pack else obs.copy(), actions, *step[1:]))
        obs = step.obs
    *columns, valid = (np.stack(column) for column in zip(*rows, strict=True))
    return from_columns(*columns, valid, envs.obs_shape, envs.num_actions)


def from_columns(
    frames: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    valid: np.ndarray,
    obs_shape: Sequence[int],
    num_actions: int,
) -> Dataset:
    """Whole episodes out of ``T`` steps of ``N`` environments, columns (T, N, ...) as ``Step``."""
    columns = (frames, actions, rewards, terminated, truncated)
    kept: list[list[np.ndarray]] = []
    for i in range(actions.shape[1]):
        of_one = [column[:, i][valid[:, i]] for column in columns]
        ends = np.flatnonzero(of_one[3] | of_one[4])
        if len(ends):
            kept.append([column[: ends[-1] + 1] for column in of_one])
    if not kept:
        raise ValueError("no episode ended: record more steps")
    joined = (np.concatenate(column) for column in zip(*kept, strict=True))
    return Dataset(*joined, obs_shape, num_actions)


def _packed(obs: np.ndarray) -> np.ndarray:
    """Zeros and ones (N, ...) as bits (N, bytes)."""
    rows = obs.reshape(len(obs), -1)
    if not ((rows == 0) | (rows == 1)).all():
        raise ValueError("only zeros and ones fit into bits: record these with pack=False")
    return np.packbits(rows.astype(bool), axis=1)
