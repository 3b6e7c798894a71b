"""What really happened, kept for a model to learn from: steps of environments that observe numbers.

Shapes: ``B`` rows, ``D`` numbers observed, ``A`` numbers in an action (numbered actions are
one-hot vectors), ``H`` steps of one stretch, ``T`` times ``N`` as ``Envs`` gives them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib.rl.envs import Envs


class Transitions(NamedTuple):
    """Steps to learn from, in the order in which they came. Reset rows are left out."""

    obs: Tensor  # (B, D) float32
    actions: Tensor  # (B, A) float32, one-hot where actions are numbered
    rewards: Tensor  # (B,) float32
    next_obs: Tensor  # (B, D) float32, the true successor

    @property
    def rows(self) -> int:
        """``B``; ``len`` would count the columns."""
        return len(self.obs)


class Experience(NamedTuple):
    """``T`` steps of ``N`` environments as they came, reset rows included: ``valid`` tells."""

    obs: np.ndarray  # (T, N, D) before the step
    actions: np.ndarray  # (T, N, A), one-hot where actions are numbered
    rewards: np.ndarray  # (T, N)
    next_obs: np.ndarray  # (T, N, D)
    ended: np.ndarray  # (T, N) bool: terminated or truncated
    valid: np.ndarray  # (T, N) bool


def collect(envs: Envs, policy: Callable[[np.ndarray], np.ndarray], steps: int) -> Experience:
    """Start new episodes and take ``steps`` real steps in all, resets not counted.

    ``policy`` maps observations (N, D) to actions, as ``evaluation.evaluate`` expects it.
    """
    rows, obs, counted = [], envs.reset(), 0
    while counted < steps:
        actions = np.asarray(policy(obs))
        step = envs.step(actions)
        # The budget is exact: of the last row only as many steps are kept as are left.
        valid = step.valid & (counted + np.cumsum(step.valid) <= steps)
        ended = step.terminated | step.truncated
        vectors = encode(actions, envs.num_actions)
        rows.append((obs, vectors, step.rewards, step.obs, ended, valid))
        obs, counted = step.obs, counted + int(valid.sum())
    return Experience(*(np.stack(column) for column in zip(*rows, strict=True)))


def random_policy(envs: Envs, seed: int, limit: float = 1.0) -> Callable[[np.ndarray], np.ndarray]:
    """Actions drawn evenly: any number, or vectors between ``-limit`` and ``limit``."""
    rng = np.random.default_rng((seed, 2))
    if envs.num_actions is not None:
        return lambda obs: rng.integers(envs.num_actions, size=len(obs))
    return lambda obs: rng.uniform(-limit, limit, (len(obs), envs.action_size)).astype(np.float32)


def encode(actions: np.ndarray, num_actions: int | None) -> np.ndarray:
    """Actions as vectors, (..., A) float32: numbered ones become one-hot."""
    if num_actions is None:
        return np.asarray(actions, np.float32)
    return np.eye(num_actions, dtype=np.float32)[actions]


def transitions(*parts: Experience) -> Transitions:
    """The valid rows of all ``parts``, side by side."""
    columns = ("obs", "actions", "rewards", "next_obs")
    return Transitions(
        *(
            torch.as_tensor(np.concatenate([getattr(p, name)[p.valid] for p in parts])).float()
            for name in columns
        )
    )


class Segments(NamedTuple):
    """Stretches of ``H`` steps inside one episode: where they start, what was done and seen."""

    obs: Tensor  # (B, D)
    actions: Tensor  # (B, H, A)
    next_obs: Tensor  # (B, H, D) the truth
    rewards: Tensor  # (B, H)


def segments(data: Experience, horizon: int) -> Segments:
    """All stretches of ``horizon`` steps that neither a reset nor an end interrupts."""
    length = len(data.obs) - horizon + 1
    if length < 1:
        raise ValueError(f"horizon must be at most {len(data.obs)} for this data, got {horizon}")
    whole = np.ones((length, data.obs.shape[1]), bool)
    for k in range(horizon):
        whole &= data.valid[k : k + length]
        if k < horizon - 1:
            whole &= ~data.ended[k : k + length]
    t, n = np.nonzero(whole)
    steps = t[:, None] + np.arange(horizon)
    columns = (data.actions, data.next_obs, data.rewards)
    later = (torch.as_tensor(c[steps, n[:, None]]).float() for c in columns)
    return Segments(torch.as_tensor(data.obs[t, n]).float(), *later)
