"""Observations and rewards brought to a size that networks learn well from.

Both keep running statistics of what they saw. They are part of the agent: a policy that learned
from normalised observations is lost without the numbers that normalised them. So they are
plain objects here, with arrays that ``state`` gives out and ``load_state`` takes back.

Rows that belong to no episode (``Step.valid`` False) enter no statistic.
"""

import numpy as np


class RunningMoments:
    """Mean and variance of all rows seen so far, without keeping them.

    Batches are merged exactly: after any split into batches the result equals that over all rows
    at once (Chan, Golub and LeVeque, 1979).
    """

    def __init__(self, shape: tuple[int, ...] = ()):
        self.mean = np.zeros(shape, np.float64)
        self.var = np.ones(shape, np.float64)
        self.count = 0.0

    def update(self, rows: np.ndarray) -> None:
        """Add rows (B, *shape)."""
        count = len(rows)
        if count == 0:
            return
        mean, var = rows.mean(axis=0, dtype=np.float64), rows.var(axis=0, dtype=np.float64)
        total = self.count + count
        delta = mean - self.mean
        # Squared deviations within both parts, and those of the two means from their common one.
        squares = self.var * self.count + var * count + delta**2 * self.count * count / total
        self.mean = self.mean + delta * count / total
        self.var = squares / total
        self.count = total

    def state(self) -> dict[str, np.ndarray]:
        """All that the object knows, as arrays."""
        return {"mean": self.mean, "var": self.var, "count": np.array(self.count)}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Become what ``state`` described."""
        self.mean, self.var = np.array(state["mean"]), np.array(state["var"])
        self.count = float(state["count"])


class ObsNormalizer:
    """Each observed number minus its mean, divided by its standard deviation, within ±``clip``."""

    def __init__(self, shape: tuple[int, ...], clip: float = 10.0):
        self.moments = RunningMoments(shape)
        self.clip = clip

    def update(self, obs: np.ndarray) -> None:
        """Take observations (B, *shape) into the statistics."""
        self.moments.update(obs)

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """Normalise (B, *shape) observations with the statistics so far; float32."""
        scaled = (obs - self.moments.mean) / np.sqrt(self.moments.var + 1e-8)
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        """All that the object knows, as arrays."""
        return self.moments.state()

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Become what ``state`` described."""
        self.moments.load_state(state)


class RewardScaler:
    """Rewards divided by the standard deviation of the discounted return.

    Only divided: to subtract a mean would change which episode lengths pay. The discounted sum
    of past rewards stands in for the return; it has the same spread and is known at each step.
    """

    def __init__(self, num_envs: int, gamma: float, clip: float = 10.0):
        self.moments = RunningMoments()
        self.gamma = gamma
        self.clip = clip
        self.running = np.zeros(num_envs)  # discounted sum of rewards in the present episodes

    def __call__(self, rewards: np.ndarray, ended: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Take one step's ``rewards`` (N,) into the statistics and scale them; float32 (N,).

        ``ended`` (N,) bool: the episode ends with this step. ``valid`` (N,) bool: as in ``Step``.
        """
        self.running = np.where(valid, self.running * self.gamma + rewards, 0.0)
        self.moments.update(self.running[valid])
        self.running[ended] = 0.0
        scaled = rewards / np.sqrt(self.moments.var + 1e-8)
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        """All that the object knows, as arrays."""
        return {**self.moments.state(), "running": self.running}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Become what ``state`` described."""
        self.moments.load_state(state)
        self.running = np.array(state["running"])
