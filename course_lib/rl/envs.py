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

Source: Gymnasium 1.x, "Vector environments: autoreset".
"""

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from course_lib.rl.backends import Loop, Poles, gymnasium_loop, quiet_rendering
from course_lib.rl.minatar import MinAtar


class Step(NamedTuple):
    """What one step of ``N`` environments returned."""

    obs: np.ndarray  # (N, *obs_shape) true successor where valid, first observation where not
    rewards: np.ndarray  # (N,) float32
    terminated: np.ndarray  # (N,) bool: the task itself ended, the future is worth nothing
    truncated: np.ndarray  # (N,) bool: the clock ran out, the future would have gone on
    valid: np.ndarray  # (N,) bool: False on the reset row after an end; learn nothing from it


class Envs:
    """``N`` copies of one environment. Build it with ``make``."""

    def __init__(self, name: str, num_envs: int, backend: Loop | Poles | MinAtar, seed: int):
        self.name = name
        self.num_envs = num_envs
        self.obs_shape: tuple[int, ...] = backend.obs_space.shape
        # Tables need the number of states; None where observations are not plain numbers.
        self.num_states: int | None = None
        self._first_state = self._first_action = 0  # some environments count from 1; here, from 0
        if isinstance(backend.obs_space, gym.spaces.Discrete):
            self.num_states = int(backend.obs_space.n)
            self._first_state = int(backend.obs_space.start)
        # One of these two is None: actions are numbered 0 to A - 1, or are vectors of D numbers.
        self.num_actions: int | None = None
        self.action_size: int | None = None
        self._bounds: tuple[np.ndarray, np.ndarray] | None = None
        if isinstance(backend.action_space, gym.spaces.Discrete):
            self.num_actions = int(backend.action_space.n)
            self._first_action = int(backend.action_space.start)
        else:
            self.action_size = int(backend.action_space.shape[0])
            self._bounds = backend.action_space.low, backend.action_space.high
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
        return self._numbers(self._backend.reset(seed))

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
        elif self._first_action:
            actions = actions + self._first_action
        valid = ~self._ended
        obs, rewards, terminated, truncated = self._backend.step(actions)
        self._ended = terminated | truncated
        return Step(self._numbers(obs), rewards, terminated, truncated, valid)

    def render(self, i: int = 0) -> np.ndarray:
        """Return a picture of environment ``i``: (H, W, 3) uint8."""
        if self._ended is None:
            raise RuntimeError("call reset() before render()")
        quiet_rendering()
        frame = self._backend.render(i)
        if frame is None:
            raise RuntimeError(f"{self.name} cannot draw itself as an array")
        return np.asarray(frame, np.uint8)

    def state(self) -> dict[str, Any]:
        """Where every environment stands, its random numbers included, ready for JSON."""
        if self._ended is None:
            raise RuntimeError("call reset() before state()")
        return {"name": self.name, "num_envs": self.num_envs, **self._backend.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back, to the bit, to where ``state`` was called on environments made alike."""
        saved, here = (state["name"], state["num_envs"]), (self.name, self.num_envs)
        if saved != here:
            raise ValueError(
                f"this state is of {saved[1]} x {saved[0]}, so it cannot continue in "
                f"{here[1]} x {here[0]}"
            )
        self._backend.load_state(state)
        self._seed = None
        self._ended = np.array(state.get("ended", state.get("prev_done")), bool)

    def _numbers(self, obs: np.ndarray) -> np.ndarray:
        """Networks compute in float32; some environments (MuJoCo) observe in float64."""
        obs = obs - self._first_state if self._first_state else obs
        return obs.astype(np.float32) if obs.dtype == np.float64 else obs

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
        backend = MinAtar(name, num_envs, sticky_actions, difficulty_ramping)
    else:
        backend = _gymnasium(name, num_envs, options or {})
    return Envs(name, num_envs, backend, seed)


def _gymnasium(name: str, num_envs: int, options: dict[str, Any]) -> Loop | Poles:
    """The native vector version where there is one that resets as we want, else a loop."""
    try:
        spec = gym.spec(name)
    except gym.error.Error as error:
        raise ValueError(
            f"no environment is called {name!r}: give a Gymnasium id such as 'CartPole-v1' "
            f"or a MinAtar game such as 'MinAtar/Breakout'"
        ) from error
    backend = (Poles if name == "CartPole-v1" else gymnasium_loop)(spec, num_envs, options)
    actions, obs = backend.action_space, backend.obs_space
    vector = isinstance(actions, gym.spaces.Box) and len(actions.shape) == 1
    if not vector and not isinstance(actions, gym.spaces.Discrete):
        raise ValueError(
            f"{name} takes neither numbered actions nor vectors, so no lesson can use it"
        )
    if not isinstance(obs, gym.spaces.Box | gym.spaces.Discrete):
        raise ValueError(f"{name} observes neither numbers nor arrays, so no lesson can use it")
    return backend


def _whole(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)
