"""The one counter of episodes' returns, for every loop that steps environments."""

from collections import deque

import numpy as np


class EpisodeReturns:
    """Undiscounted returns: of the episodes under way, and of the last ``keep`` that ended.

    ``keep`` None keeps the returns of all. Rows after an end (``Step.valid`` False) bring a reward
    of 0, so they may be added like any other.
    """

    def __init__(self, num_envs: int = 1, keep: int | None = 100):
        self.running = np.zeros(num_envs)  # what each episode under way has brought so far
        self.finished: deque[float] = deque(maxlen=keep)  # returns of those that ended, in order

    def add(self, rewards: np.ndarray | float, ended: np.ndarray | bool) -> None:
        """Count one step: ``rewards`` (N,), and where an episode ended with it, (N,) bool."""
        self.running += rewards
        ended = np.reshape(ended, -1)
        self.finished.extend(self.running[ended].tolist())
        self.running[ended] = 0.0

    @property
    def mean(self) -> float:
        """Mean of the returns kept; nan before the first episode ends."""
        return float(np.mean(self.finished)) if self.finished else float("nan")
