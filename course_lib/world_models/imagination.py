"""A world model as environments: whatever learns from ``rl.envs`` can learn in a dream.

``Dream`` has the attributes and methods of ``rl.envs.Envs`` that learners use: ``num_envs``,
``obs_shape``, ``num_actions``, ``reset``, ``step``. Every dream begins in a real frame out of the
replay, with the real steps before it as context, and lasts ``horizon`` steps::

    time       0 .. t-1        t: the model says "end"   t+1 .. horizon-1      horizon
    obs        dreamed         dreamed final frame       (whatever follows)    new start
    ended      False           terminated                False                 False
    valid      True            True                      False                 False: reset row

All dreams stop together. Those still alive at the horizon are truncated there: the future goes on,
only unseen, so it is worth what the value says. Dreams that ended wait, with rows that are not
``valid``; that is the product of continue probabilities (``returns.continue_weights``) where ends
are drawn and each is 0 or 1. Then one reset row, as the NEXT_STEP convention has it: a rollout of
``horizon + 1`` steps is one batch of whole dreams, and ``rl.ppo.train`` needs no change at all.
"""

from collections.abc import Callable

import numpy as np
import torch

from course_lib import randomness
from course_lib.rl.envs import Step
from course_lib.world_models.frames import FrameReplay, Windows
from course_lib.world_models.world_model import WorldModel


class Dream:
    """``num_envs`` dreams at once, out of one model."""

    def __init__(
        self,
        model: WorldModel,
        starts: Callable[[int, torch.Generator], Windows],
        num_envs: int = 256,
        horizon: int = 12,
        seed: int = 0,
        temperature: float = 1.0,
    ):
        """``starts(number, generator)`` gives real windows; dreams begin in their last frames."""
        if horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {horizon}")
        self.name = "dream"
        self.model, self.starts = model, starts
        self.num_envs, self.horizon = num_envs, horizon
        self.obs_shape, self.num_actions = model.obs_shape, model.num_actions
        self.num_states = self.action_size = None  # frames and numbered actions
        self.temperature = temperature
        self.generator = randomness.generator(seed, stream=3)
        self._age: int | None = None

    def reset(self) -> np.ndarray:
        """Wake up and begin new dreams everywhere: real frames (N, C, H, W) uint8."""
        windows = self.starts(self.num_envs, self.generator)
        self._memory = self.model.start(
            windows.obs[:, :-1], windows.actions[:, :-1], windows.same_episode
        )
        self._obs = windows.obs[:, -1].contiguous()
        self._alive = torch.ones(self.num_envs, dtype=torch.bool)
        self._age = 0
        return self._obs.numpy()

    def step(self, actions: np.ndarray) -> Step:
        """Dream one step on; ``actions`` (N,) integers. See the table above for what ends when."""
        if self._age is None:
            raise RuntimeError("call reset() before the first step()")
        actions = torch.as_tensor(np.asarray(actions))
        if actions.shape != (self.num_envs,):
            raise ValueError(
                f"actions must have shape {(self.num_envs,)}, one per dream, "
                f"got {tuple(actions.shape)}"
            )
        if self._age == self.horizon:
            nothing = np.zeros(self.num_envs, bool)
            return Step(self.reset(), np.zeros(self.num_envs, np.float32), *[nothing] * 3)
        predicted = self.model.step(
            self._memory, self._obs, actions, self.generator, self.temperature
        )
        self._age += 1
        valid, terminated = self._alive, predicted.terminated & self._alive
        self._alive = valid & ~terminated
        truncated = self._alive & (self._age == self.horizon)
        self._obs = predicted.next_obs
        columns = (self._obs, predicted.rewards * valid, terminated, truncated, valid)
        return Step(*(column.numpy() for column in columns))


def from_replay(
    replay: FrameReplay, context: int = 4, near_death: float = 0.5
) -> Callable[[int, torch.Generator], Windows]:
    """Starts out of ``replay``: windows of ``context`` steps, some shortly before real deaths."""
    return lambda number, generator: replay.starts(number, context, generator, near_death)
