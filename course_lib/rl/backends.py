"""What steps the environments behind ``envs.Envs``: three ways to run N copies of one.

``Loop`` steps any Gymnasium environment, one copy after the other. ``Poles`` is Gymnasium's own
vectorised CartPole, ten times faster. ``MinAtar`` runs a MinAtar game. All three follow the
NEXT_STEP convention that ``envs`` explains, and offer the same methods:

- ``reset(seed)`` returns observations; ``step(actions)`` returns observations, rewards,
  terminated, truncated, each with one row per copy; ``render(i)`` draws copy i.
- ``state()`` describes in plain numbers where everything stands; ``load_state`` goes back there,
  to the bit. A physics engine's memory cannot be written down, so ``Loop`` and ``MinAtar`` keep a
  journal instead: how the random numbers stood before each copy's episode began, and its actions
  since. Going back means to play those again.
"""

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode

MINATAR_TIME_LIMIT = 1000
# One colour per channel, drawn in this order; colour-blind safe (Okabe and Ito).
_PALETTE = np.array(
    [
        *[(240, 240, 240), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)],
        *[(0, 114, 178), (213, 94, 0), (204, 121, 167), (153, 153, 153), (120, 94, 240)],
    ],
    dtype=np.uint8,
)
Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # obs, rewards, terminated, truncated


class Journal:
    """Per copy, how its random numbers stood before its episode began, and its actions since."""

    def __init__(self, count: int):
        self.origins: list[Any] = [None] * count
        self.actions: list[list] = [[] for _ in range(count)]

    def begin(self, i: int, origin: Any) -> None:
        """Copy ``i`` is about to start an episode; ``origin`` describes its random numbers."""
        self.origins[i], self.actions[i] = origin, []

    def state(self) -> dict[str, list]:
        """The journal as plain lists."""
        return {
            "origins": list(self.origins),
            "actions": [[np.asarray(a).tolist() for a in row] for row in self.actions],
        }


class Loop:
    """N copies of a Gymnasium environment, stepped one after the other."""

    def __init__(self, spec: gym.envs.registration.EnvSpec, num_envs: int, options: dict):
        # The checker warns about badly written environments, at every step.
        self._envs = [gym.make(spec, disable_env_checker=True, **options) for _ in range(num_envs)]
        self.action_space = self._envs[0].action_space
        self.obs_space = self._envs[0].observation_space
        self._obs = np.zeros((num_envs, *(self.obs_space.shape or ())), self.obs_space.dtype)
        self._ended = np.zeros(num_envs, bool)
        self._journal = Journal(num_envs)

    def reset(self, seed: int | None) -> np.ndarray:
        # Not seed, seed + 1, ...: two runs with neighbouring seeds would then share all but one
        # of their episodes.
        seeds = None if seed is None else spread(seed, len(self._envs))
        for i, env in enumerate(self._envs):
            if seeds is not None:
                env.unwrapped.np_random = np_random(seeds[i])[0]
            self._restart(i)
        self._ended[:] = False
        return self._obs.copy()

    def _restart(self, i: int) -> None:
        env = self._envs[i]
        self._journal.begin(i, env.unwrapped.np_random.bit_generator.state)
        self._obs[i] = env.reset()[0]

    def step(self, actions: np.ndarray) -> Rows:
        rewards = np.zeros(len(self._envs), np.float32)
        terminated, truncated = np.zeros((2, len(self._envs)), bool)
        for i, env in enumerate(self._envs):
            if self._ended[i]:
                self._restart(i)
                continue
            self._obs[i], rewards[i], terminated[i], truncated[i], _ = env.step(actions[i])
            self._journal.actions[i].append(actions[i])
        self._ended = terminated | truncated
        return self._obs.copy(), rewards, terminated, truncated

    def render(self, i: int) -> np.ndarray | None:
        env = self._envs[i]
        if env.unwrapped.render_mode is None:
            # Asked for from the start, pictures cost LunarLander half its speed: it then keeps
            # account of every spark.
            env.unwrapped.render_mode = "rgb_array"
        return env.render()

    def state(self) -> dict[str, Any]:
        return {
            "ended": self._ended.tolist(),
            # As they stand now: after an episode's end no journal leads there.
            "random": [env.unwrapped.np_random.bit_generator.state for env in self._envs],
            **self._journal.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        kind = self.action_space.dtype
        for i, env in enumerate(self._envs):
            random = np.random.Generator(np.random.PCG64())
            random.bit_generator.state = state["origins"][i]
            env.unwrapped.np_random = random
            self._restart(i)
            for action in np.array(state["actions"][i], kind):
                self._obs[i] = env.step(action)[0]
                self._journal.actions[i].append(action)
            if random.bit_generator.state != state["random"][i]:
                raise ValueError(
                    f"environment {i} did not come back to where it was saved: it draws random "
                    "numbers of its own, or another version of it is installed"
                )
        self._ended = np.array(state["ended"])

    def close(self) -> None:
        for env in self._envs:
            env.close()


class Poles:
    """Gymnasium's vectorised CartPole. Its whole state is a few arrays."""

    def __init__(self, spec: gym.envs.registration.EnvSpec, num_envs: int, options: dict):
        # Named by hand, since the other native versions in Gymnasium need JAX.
        mode = "vector_entry_point"
        options = {"render_mode": "rgb_array", **options}
        self._env = gym.make_vec(spec, num_envs=num_envs, vectorization_mode=mode, **options)
        if self._env.metadata.get("autoreset_mode") is not AutoresetMode.NEXT_STEP:
            raise RuntimeError(f"{spec.id}: this version of Gymnasium resets in another way")
        self.action_space = self._env.single_action_space
        self.obs_space = self._env.single_observation_space

    def reset(self, seed: int | None) -> np.ndarray:
        return self._env.reset(seed=seed)[0]

    def step(self, actions: np.ndarray) -> Rows:
        obs, rewards, terminated, truncated, _ = self._env.step(actions)
        # Copies: the environment goes on writing into some of these arrays.
        return obs, rewards.astype(np.float32), terminated.copy(), truncated.copy()

    def render(self, i: int) -> np.ndarray | None:
        return (self._env.render() or [None] * self._env.num_envs)[i]

    def state(self) -> dict[str, Any]:
        env = self._env.unwrapped
        return {
            "state": env.state.tolist(),
            "steps": env.steps.tolist(),
            "prev_done": env.prev_done.tolist(),
            "random": env.np_random.bit_generator.state,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        env = self._env.unwrapped
        env.reset(seed=0)  # makes the arrays that the next lines overwrite
        env.state = np.array(state["state"], env.state.dtype)
        env.steps = np.array(state["steps"], env.steps.dtype)
        env.prev_done = np.array(state["prev_done"], bool)
        env.np_random.bit_generator.state = state["random"]

    def close(self) -> None:
        self._env.close()


class MinAtar:
    """N copies of one MinAtar game, without its display code and with a time limit."""

    def __init__(self, name: str, num_envs: int, sticky_actions: float, ramping: bool):
        game = _minatar_game(name)
        self._games = [game.Env(ramping=ramping) for _ in range(num_envs)]
        height, width, channels = self._games[0].state_shape()
        self._actions = self._games[0].minimal_action_set()
        self.action_space = gym.spaces.Discrete(len(self._actions))
        self.obs_space = gym.spaces.Box(0, 1, (channels, height, width), np.uint8)
        self._sticky = sticky_actions
        self._obs = np.zeros((num_envs, channels, height, width), np.uint8)
        self._rng = np.random.default_rng(0)
        self._last = np.zeros(num_envs, np.int64)
        self._age = np.zeros(num_envs, np.int64)
        self._ended = np.zeros(num_envs, bool)
        self._journal = Journal(num_envs)

    def reset(self, seed: int | None) -> np.ndarray:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
            for game, child in zip(self._games, spread(seed, len(self._games)), strict=True):
                game.random = np.random.RandomState(child)
        for i in range(len(self._games)):
            self._restart(i)
        self._ended[:] = False
        return self._obs.copy()

    def _restart(self, i: int) -> None:
        kind, keys, position, *_ = self._games[i].random.get_state()
        self._journal.begin(i, [kind, keys.tolist(), position])
        self._games[i].reset()
        self._last[i] = self._age[i] = 0  # action 0 is "do nothing" in every game
        self._obs[i] = self._games[i].state().transpose(2, 0, 1)

    def step(self, actions: np.ndarray) -> Rows:
        rewards = np.zeros(len(self._games), np.float32)
        terminated = np.zeros(len(self._games), bool)
        sticky = self._rng.random(len(self._games)) < self._sticky
        self._last = np.where(sticky, self._last, actions)
        self._age += 1
        for i in range(len(self._games)):
            if self._ended[i]:
                self._restart(i)
                continue
            rewards[i], terminated[i] = self._act(i, self._last[i])
        truncated = (self._age >= MINATAR_TIME_LIMIT) & ~terminated
        self._ended = terminated | truncated
        return self._obs.copy(), rewards, terminated, truncated

    def _act(self, i: int, action: int) -> tuple[float, bool]:
        """Take the action that the game gets: the chosen one, or the one that stuck."""
        game = self._games[i]
        outcome = game.act(self._actions[action])
        self._obs[i] = game.state().transpose(2, 0, 1)
        self._journal.actions[i].append(action)
        return outcome

    def render(self, i: int, scale: int = 16) -> np.ndarray:
        channels, height, width = self._obs[i].shape
        frame = np.full((height, width, 3), 20, np.uint8)
        # Channel 0 (the player) is drawn last, so that nothing hides it.
        for channel in reversed(range(channels)):
            frame[self._obs[i, channel] > 0] = _PALETTE[channel % len(_PALETTE)]
        return frame.repeat(scale, axis=0).repeat(scale, axis=1)

    def state(self) -> dict[str, Any]:
        return {
            "sticky": self._rng.bit_generator.state,
            "last": self._last.tolist(),
            "age": self._age.tolist(),
            "ended": self._ended.tolist(),
            **self._journal.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        for i, game in enumerate(self._games):
            game.random = np.random.RandomState()
            game.random.set_state(state["origins"][i])
            self._restart(i)
            for action in state["actions"][i]:
                self._act(i, action)
        self._rng.bit_generator.state = state["sticky"]
        self._last, self._age = np.array(state["last"]), np.array(state["age"])
        self._ended = np.array(state["ended"])

    def close(self) -> None:
        pass


def _minatar_game(name: str) -> ModuleType:
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


def spread(seed: int, count: int) -> list[int]:
    """``count`` unrelated seeds from one."""
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(count)]


def quiet_rendering() -> None:
    """Draw pictures in memory, so that no screen is needed. A choice of the user's stays."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("MUJOCO_GL", "egl")
