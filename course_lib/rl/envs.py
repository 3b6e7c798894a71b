"""Many copies of one environment, stepped together, with episode ends handled once.

``make("CartPole-v1", num_envs=16)`` gives sixteen poles behind one ``step``. Acting on all of
them costs one call to the network instead of sixteen, which is what makes an agent learn
quickly on one CPU core.

**What happens when an episode ends.** Gymnasium offers several conventions; here it is always
NEXT_STEP, for every environment. The step that ends an episode returns the true final
observation. The step after it ignores the action, returns the first observation of the new
episode and a reward of 0. That second step is not part of any episode, so it must not be
learned from. ``Step.valid`` is False there, and that is all that other code needs to know::

    time      t              t + 1                   t + 2
    obs       final state    first state (reset)     second state
    ended     True           False                   False
    valid     True           False: belongs nowhere  True

Sources: Gymnasium 1.x, "Vector environments: autoreset"; MinAtar (Young and Tian,
arXiv 1903.03176). MinAtar's games run here without its display code, which would import
seaborn, and with a time limit, which the original does not have.
"""

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
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


class Step(NamedTuple):
    """What one step of ``N`` environments returned."""

    obs: np.ndarray  # (N, *obs_shape) true successor where valid, first observation where not
    rewards: np.ndarray  # (N,) float32
    terminated: np.ndarray  # (N,) bool: the task itself ended, the future is worth nothing
    truncated: np.ndarray  # (N,) bool: the clock ran out, the future would have gone on
    valid: np.ndarray  # (N,) bool: False on the reset row after an end; learn nothing from it


class Envs:
    """``N`` copies of one environment. Build it with ``make``."""

    def __init__(self, name: str, backend: Any, seed: int):
        self.name = name
        self.num_envs: int = backend.num_envs
        self.obs_shape: tuple[int, ...] = backend.single_observation_space.shape
        # One of these two is None: actions are numbered 0 to A - 1, or are vectors of D numbers.
        self.num_actions: int | None = None
        self.action_size: int | None = None
        self._bounds: tuple[np.ndarray, np.ndarray] | None = None
        if isinstance(backend.single_action_space, gym.spaces.Discrete):
            self.num_actions = int(backend.single_action_space.n)
        else:
            self.action_size = int(backend.single_action_space.shape[0])
            self._bounds = backend.single_action_space.low, backend.single_action_space.high
        # Tables need the number of states; None where observations are not plain numbers.
        self.num_states: int | None = None
        if isinstance(backend.single_observation_space, gym.spaces.Discrete):
            self.num_states = int(backend.single_observation_space.n)
        self._backend = backend
        self._seed: int | None = seed
        self._ended: np.ndarray | None = None

    def reset(self, seed: int | None = None) -> np.ndarray:
        """Start new episodes everywhere and return their observations, (N, *obs_shape).

        The first call uses the seed given to ``make``. Later calls go on with the same random
        stream, so they start different episodes, unless a ``seed`` is given.
        """
        seed = self._seed if seed is None else _whole("seed", seed, 0)
        self._seed = None
        self._ended = np.zeros(self.num_envs, bool)
        if seed is not None and isinstance(self._backend, gym.vector.SyncVectorEnv):
            # Gymnasium would use seed, seed + 1, ...: two runs with neighbouring seeds would
            # then share all but one of their episodes.
            return _numbers(self._backend.reset(seed=_spread(seed, self.num_envs))[0])
        return _numbers(self._backend.reset(seed=seed)[0])

    def step(self, actions: np.ndarray) -> Step:
        """Take ``actions``. Episodes restart by themselves: see ``Step.valid``.

        ``actions``: (N,) integers, or (N, D) numbers where actions are continuous. Numbers beyond
        the environment's limits are brought back to them here, so that a policy can go on
        reasoning about the action that it chose.
        """
        if self._ended is None:
            raise RuntimeError("call reset() before the first step()")
        actions = np.asarray(actions)
        size = () if self.action_size is None else (self.action_size,)
        if actions.shape != (self.num_envs, *size):
            raise ValueError(
                f"actions must have shape {(self.num_envs, *size)}, one per environment, "
                f"got {actions.shape}"
            )
        if self._bounds is not None:
            actions = np.clip(actions, *self._bounds)
        valid = ~self._ended
        obs, rewards, terminated, truncated, _ = self._backend.step(actions)
        self._ended = terminated | truncated
        # Copies: some environments reuse these arrays at the next step.
        rewards = rewards.astype(np.float32)
        return Step(_numbers(obs), rewards, terminated.copy(), truncated.copy(), valid)

    def render(self, i: int = 0) -> np.ndarray:
        """Return a picture of environment ``i``: (H, W, 3) uint8."""
        if self._ended is None:
            raise RuntimeError("call reset() before render()")
        if isinstance(self._backend, _MinAtar):
            return self._backend.render(i)
        # Pictures are drawn in memory, so no screen is needed. setdefault leaves a choice
        # that the user made.
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        if isinstance(self._backend, gym.vector.SyncVectorEnv):
            frame = self._backend.envs[i].render()
        else:
            frame = (self._backend.render() or [None] * self.num_envs)[i]
        if frame is None:
            raise RuntimeError(f"{self.name} cannot draw itself as an array")
        return np.asarray(frame, np.uint8)

    def close(self) -> None:
        """Free what the environments hold; windows and surfaces, above all."""
        self._backend.close()


def make(
    name: str,
    num_envs: int = 16,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    sticky_actions: float = 0.1,
    difficulty_ramping: bool = True,
) -> Envs:
    """Make ``num_envs`` copies of the environment ``name``.

    ``name``: a Gymnasium id ("CartPole-v1", "FrozenLake-v1", ...) or "MinAtar/Breakout"
    (also Asterix, Freeway, Seaquest, SpaceInvaders). ``options`` goes to Gymnasium's own
    constructor, for example ``{"is_slippery": False}``. The last two arguments are MinAtar's:
    the chance that an action is replaced by the previous one, and whether games speed up.

    MinAtar observations: (N, C, 10, 10) uint8, 0 or 1, one channel per kind of object;
    actions: the game's minimal set; episodes are truncated after 1000 steps.
    """
    num_envs = _whole("num_envs", num_envs, 1)
    seed = _whole("seed", seed, 0)
    if name.startswith("MinAtar/"):
        if options:
            raise ValueError(f"options are for Gymnasium ids, {name} takes none, got {options}")
        if not 0 <= sticky_actions < 1:
            raise ValueError(f"sticky_actions must lie in [0, 1), got {sticky_actions}")
        return Envs(name, _MinAtar(name, num_envs, sticky_actions, difficulty_ramping), seed)
    return Envs(name, _gymnasium(name, num_envs, options or {}), seed)


def _gymnasium(name: str, num_envs: int, options: dict[str, Any]) -> gym.vector.VectorEnv:
    """The native vector version where there is one that resets as we want, else a loop."""
    try:
        spec = gym.spec(name)
    except gym.error.Error as error:
        raise ValueError(
            f"no environment is called {name!r}: give a Gymnasium id such as 'CartPole-v1' "
            f"or a MinAtar game such as 'MinAtar/Breakout'"
        ) from error
    options = {"render_mode": "rgb_array", **options}
    backend = None
    if name == "CartPole-v1":
        # Ten times faster than a loop. It is named here, since the other native versions in
        # Gymnasium need JAX.
        mode = "vector_entry_point"
        backend = gym.make_vec(spec, num_envs=num_envs, vectorization_mode=mode, **options)
        if backend.metadata.get("autoreset_mode") is not AutoresetMode.NEXT_STEP:
            raise RuntimeError(f"{name}: this version of Gymnasium resets in another way")
    else:
        mode = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        backend = gym.make_vec(
            spec, num_envs=num_envs, vectorization_mode="sync", vector_kwargs=mode, **options
        )
    actions = backend.single_action_space
    vector = isinstance(actions, gym.spaces.Box) and len(actions.shape) == 1
    if not vector and not isinstance(actions, gym.spaces.Discrete):
        raise ValueError(
            f"{name} takes neither numbered actions nor vectors, so no lesson can use it"
        )
    if not isinstance(backend.single_observation_space, gym.spaces.Box | gym.spaces.Discrete):
        raise ValueError(f"{name} observes neither numbers nor arrays, so no lesson can use it")
    return backend


class _MinAtar:
    """A batch of one MinAtar game, with the methods of a Gymnasium vector environment."""

    def __init__(self, name: str, num_envs: int, sticky_actions: float, ramping: bool):
        game = _minatar_game(name)
        self.num_envs = num_envs
        self._games = [game.Env(ramping=ramping) for _ in range(num_envs)]
        height, width, channels = self._games[0].state_shape()
        self._actions = self._games[0].minimal_action_set()
        self.single_action_space = gym.spaces.Discrete(len(self._actions))
        self.single_observation_space = gym.spaces.MultiBinary((channels, height, width))
        self._sticky = sticky_actions
        self._obs = np.zeros((num_envs, channels, height, width), np.uint8)
        self._rng = np.random.default_rng(0)
        self._last = np.zeros(num_envs, np.int64)
        self._age = np.zeros(num_envs, np.int64)
        self._ended = np.zeros(num_envs, bool)

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, dict]:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
            for game, child in zip(self._games, _spread(seed, self.num_envs), strict=True):
                game.random = np.random.RandomState(child)
        for i in range(self.num_envs):
            self._restart(i)
        self._ended[:] = False
        return self._obs.copy(), {}

    def _restart(self, i: int) -> None:
        self._games[i].reset()
        self._last[i] = self._age[i] = 0  # action 0 is "do nothing" in every game
        self._obs[i] = self._games[i].state().transpose(2, 0, 1)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        rewards = np.zeros(self.num_envs, np.float32)
        terminated = np.zeros(self.num_envs, bool)
        sticky = self._rng.random(self.num_envs) < self._sticky
        self._last = np.where(sticky, self._last, actions)
        self._age += 1
        for i, game in enumerate(self._games):
            if self._ended[i]:
                self._restart(i)
                continue
            rewards[i], terminated[i] = game.act(self._actions[self._last[i]])
            self._obs[i] = game.state().transpose(2, 0, 1)
        truncated = (self._age >= MINATAR_TIME_LIMIT) & ~terminated
        self._ended = terminated | truncated
        return self._obs.copy(), rewards, terminated, truncated, {}

    def render(self, i: int, scale: int = 16) -> np.ndarray:
        channels, height, width = self._obs[i].shape
        frame = np.full((height, width, 3), 20, np.uint8)
        # Channel 0 (the player) is drawn last, so that nothing hides it.
        for channel in reversed(range(channels)):
            frame[self._obs[i, channel] > 0] = _PALETTE[channel % len(_PALETTE)]
        return frame.repeat(scale, axis=0).repeat(scale, axis=1)

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


def _numbers(obs: np.ndarray) -> np.ndarray:
    """Networks compute in float32; some environments (MuJoCo) observe in float64."""
    return obs.astype(np.float32) if obs.dtype == np.float64 else obs


def _spread(seed: int, count: int) -> list[int]:
    """``count`` unrelated seeds from one."""
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(count)]


def _whole(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)
