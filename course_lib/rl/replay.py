"""Replay: a ring of past transitions, drawn from at random.

Steps that follow each other look alike, and a network trained on them in order forgets the
rest (Lin, "Self-improving reactive agents", 1992; Mnih et al., 2015). A replay buffer keeps the
newest ``capacity`` transitions and hands out random ones.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib import limits
from course_lib.rl.envs import Step
from course_lib.rl.returns import n_step_target


class Batch(NamedTuple):
    """``B`` transitions. With ``n_step`` above 1 each spans up to that many steps."""

    obs: Tensor  # (B, *obs_shape)
    actions: Tensor  # (B,) int64
    rewards: Tensor  # (B,) float32, discounted sum over the transition's steps
    next_obs: Tensor  # (B, *obs_shape) true successor of the last step
    terminated: Tensor  # (B,) float32, 1 where the task ended; a truncation leaves 0
    discounts: Tensor  # (B,) float32, gamma ** steps spanned


def ring_indices(written: int, count: int, capacity: int) -> tuple[np.ndarray, int]:
    """Say where the next rows of a ring go, and how many of its rows are filled afterwards.

    ``written`` rows went in so far, since the beginning; ``count`` more arrive now. Once the
    ring is full, each new row takes the place of the oldest. Returns the rows to write,
    (count,) integers in [0, capacity), and ``size``: rows [0, size) may be sampled.
    """
    rows = (written + np.arange(count)) % capacity
    return rows, min(written + count, capacity)


class Replay:
    """A ring of ``capacity`` transitions from ``Envs``.

    ``add`` leaves out the reset rows and joins ``n_step`` steps into one transition, so a row
    becomes available ``n_step - 1`` steps after it was made.
    """

    def __init__(self, capacity: int, gamma: float, n_step: int = 1):
        self.capacity, self.gamma, self.n_step = capacity, gamma, n_step
        limits.check(self, at_least_1="capacity n_step", fraction="gamma")
        self._powers = np.cumprod(np.full(n_step, gamma, np.float32))  # gamma ** 1, ** 2, ...
        self.size = 0
        self._written = 0
        self._recent: deque[tuple[np.ndarray, np.ndarray, Step]] = deque(maxlen=n_step)
        self._data: Batch | None = None  # allocated by the first row, which says what fits

    def __len__(self) -> int:
        return self.size

    def add(self, obs: np.ndarray, actions: np.ndarray, step: Step) -> None:
        """Store what ``step`` followed from: (N, *obs_shape) observations, (N,) actions."""
        self._recent.append((obs, actions, step))
        first_obs, first_actions, first_step = self._recent[0]
        keep = np.flatnonzero(first_step.valid)
        if len(self._recent) < self.n_step or len(keep) == 0:
            return
        steps = [step for _, _, step in self._recent]
        rewards, terminated, truncated = (  # (N, n_step): a window of steps for each environment
            np.stack([getattr(step, name) for step in steps], axis=1)
            for name in ("rewards", "terminated", "truncated")
        )
        gamma = np.float32(self.gamma)  # sums keep the precision of the rewards
        windows = [n_step_target(rewards[i], terminated[i], truncated[i], gamma) for i in keep]
        totals, lengths, ended = map(np.array, zip(*windows, strict=True))
        successors = np.stack([steps[k - 1].obs[i] for i, k in zip(keep, lengths, strict=True)])
        self._write(
            Batch(
                first_obs[keep],
                first_actions[keep],
                totals.astype(np.float32),
                successors,
                ended.astype(np.float32),
                self._powers[lengths - 1],
            )
        )

    def _write(self, rows: Batch) -> None:
        rows = Batch(*map(torch.as_tensor, rows))
        if self._data is None:
            self._data = Batch(*(x.new_zeros(self.capacity, *x.shape[1:]) for x in rows))
        where, self.size = ring_indices(self._written, len(rows.actions), self.capacity)
        where = torch.as_tensor(where)
        for column, new in zip(self._data, rows, strict=True):
            column[where] = new
        self._written += len(rows.actions)

    def sample(
        self, batch_size: int, rng: np.random.Generator, device: torch.device | str = "cpu"
    ) -> Batch:
        """Draw ``batch_size`` transitions at random, with replacement."""
        if self.size == 0:
            raise ValueError("the replay buffer is empty: add steps before sampling")
        rows = torch.as_tensor(rng.integers(self.size, size=batch_size))
        return Batch(*(column[rows].to(device) for column in self._data))
