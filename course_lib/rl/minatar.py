"""MinAtar's games (Young and Tian, arXiv 1903.03176) as a backend of ``envs.Envs``.

They run without their display code, which would import seaborn, and with a time limit, which the
original does not have.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np

from course_lib.rl.backends import Loop, Rows

TIME_LIMIT = 1000
# One colour per channel, drawn in this order; colour-blind safe (Okabe and Ito).
_PALETTE = np.array(
    [
        *[(240, 240, 240), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)],
        *[(0, 114, 178), (213, 94, 0), (204, 121, 167), (153, 153, 153), (120, 94, 240)],
    ],
    dtype=np.uint8,
)


class MinAtar:
    """N copies of one MinAtar game; with chance ``sticky_actions`` an action repeats the last."""

    def __init__(self, name: str, num_envs: int, sticky_actions: float, ramping: bool):
        module = _module(name)
        self._games = [module.Env(ramping=ramping) for _ in range(num_envs)]
        self._actions = self._games[0].minimal_action_set()
        self._loop = Loop(
            [_Game(game, self._actions) for game in self._games],
            lambda seed: np.random.RandomState(seed).get_state(legacy=False),
        )
        self.action_space, self.obs_space = self._loop.action_space, self._loop.obs_space
        self._sticky = sticky_actions
        self._rng = np.random.default_rng(0)
        self._last = np.zeros(num_envs, np.int64)  # action 0 is "do nothing" in every game

    def reset(self, seed: int | None) -> np.ndarray:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._last[:] = 0
        return self._loop.reset(seed)

    def step(self, actions: np.ndarray) -> Rows:
        sticky = self._rng.random(len(self._last)) < self._sticky
        self._last = np.where(sticky, self._last, actions)
        self._last[self._loop.ended] = 0  # these are about to restart
        return self._loop.step(self._last)

    def render(self, i: int) -> np.ndarray:
        return self._loop.render(i)

    def state(self) -> dict[str, Any]:
        chance = {"sticky": self._rng.bit_generator.state, "last": self._last.tolist()}
        return {**chance, **self._loop.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self._loop.load_state(state)
        self._rng.bit_generator.state = state["sticky"]
        self._last = np.array(state["last"])

    def close(self) -> None:
        pass


class _Game:
    """One MinAtar game with Gymnasium's methods, without its display code, with a time limit."""

    render_mode = "rgb_array"

    def __init__(self, game: Any, actions: Sequence[int]):
        height, width, channels = game.state_shape()
        self.action_space = gym.spaces.Discrete(len(actions))
        self.observation_space = gym.spaces.Box(0, 1, (channels, height, width), np.uint8)
        self.unwrapped = self
        self.np_random = np.random.Generator(np.random.MT19937())
        game.random = np.random.RandomState(self.np_random.bit_generator)
        self._game, self._actions, self._age = game, actions, 0

    def reset(self) -> tuple[np.ndarray, dict]:
        self._age = 0
        self._game.reset()
        return self._obs(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._age += 1
        reward, terminated = self._game.act(self._actions[action])
        truncated = self._age >= TIME_LIMIT and not terminated
        return self._obs(), reward, terminated, truncated, {}

    def _obs(self) -> np.ndarray:
        return self._game.state().transpose(2, 0, 1)

    def render(self, scale: int = 16) -> np.ndarray:
        obs = self._obs()
        frame = np.full((*obs.shape[1:], 3), 20, np.uint8)
        # Channel 0 (the player) is drawn last, so that nothing hides it.
        for channel in reversed(range(len(obs))):
            frame[obs[channel] > 0] = _PALETTE[channel % len(_PALETTE)]
        return frame.repeat(scale, axis=0).repeat(scale, axis=1)


def _module(name: str) -> ModuleType:
    """Load one game's file alone: importing ``minatar`` takes a second for its display code."""
    package = importlib.util.find_spec("minatar")
    if package is None:
        raise ModuleNotFoundError(f"{name} needs the package minatar: pip install minatar")
    folder = Path(package.submodule_search_locations[0], "environments")
    games = {p.stem: p for p in sorted(folder.glob("*.py")) if not p.stem.startswith("_")}
    wanted = name.removeprefix("MinAtar/")
    stem = next((s for s in games if s.replace("_", "") == wanted.lower()), None)
    if stem is None:
        known = ", ".join("MinAtar/" + s.title().replace("_", "") for s in games)
        raise ValueError(f"no game is called {name!r}, there are {known}")
    spec = importlib.util.spec_from_file_location(f"minatar_{stem}", games[stem])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
