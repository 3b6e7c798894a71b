"""What steps the environments behind ``envs.Envs``: ways to run N copies of one.

``Loop`` steps any Gymnasium environment, one copy after the other; ``minatar.MinAtar`` stands on
it. ``Poles`` is Gymnasium's own vectorised CartPole, ten times faster than a loop. All follow the
NEXT_STEP convention that ``envs`` explains, and offer the same methods:

- ``reset(seed)`` returns observations; ``step(actions)`` returns observations, rewards,
  terminated, truncated, each with one row per copy; ``render(i)`` draws copy i.
- ``state()`` describes in plain numbers where everything stands; ``load_state`` goes back there,
  to the bit.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode

Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # obs, rewards, terminated, truncated


class Loop:
    """N copies of an environment with Gymnasium's methods, stepped one after the other.

    ``seeded`` maps a seed to the state of the random numbers that an episode begins with.

    A physics engine's memory cannot be written down, so a journal takes its place: how the random
    numbers of each copy stood before its episode began, and its actions since. To go back means to
    play those again.
    """

    def __init__(self, envs: Sequence[Any], seeded: Callable[[int], dict]):
        self.action_space, self.obs_space = envs[0].action_space, envs[0].observation_space
        self.ended = np.zeros(len(envs), bool)
        self._envs, self._seeded = envs, seeded
        self._obs = np.zeros((len(envs), *(self.obs_space.shape or ())), self.obs_space.dtype)
        self._origins: list[dict] = [{} for _ in envs]
        self._actions: list[list] = [[] for _ in envs]

    def reset(self, seed: int | None) -> np.ndarray:
        # Not seed, seed + 1, ...: two runs with neighbouring seeds would then share all but one
        # of their episodes.
        seeds = None if seed is None else spread(seed, len(self._envs))
        for i in range(len(self._envs)):
            if seeds is not None:
                self._random(i).state = self._seeded(seeds[i])
            self._restart(i)
        self.ended[:] = False
        return self._obs.copy()

    def step(self, actions: np.ndarray) -> Rows:
        rewards = np.zeros(len(self._envs), np.float32)
        terminated, truncated = np.zeros((2, len(self._envs)), bool)
        for i in range(len(self._envs)):
            if self.ended[i]:
                self._restart(i)
            else:
                rewards[i], terminated[i], truncated[i] = self._act(i, actions[i])
        self.ended = terminated | truncated
        return self._obs.copy(), rewards, terminated, truncated

    def _restart(self, i: int) -> None:
        self._origins[i], self._actions[i] = _plain(self._random(i).state), []
        self._obs[i] = self._envs[i].reset()[0]

    def _act(self, i: int, action: Any) -> tuple[float, bool, bool]:
        self._obs[i], *outcome, _ = self._envs[i].step(action)
        self._actions[i].append(action)
        return outcome

    def _random(self, i: int) -> np.random.BitGenerator:
        return self._envs[i].unwrapped.np_random.bit_generator

    def render(self, i: int) -> np.ndarray | None:
        env = self._envs[i]
        if env.unwrapped.render_mode is None:
            # Asked for from the start, pictures cost LunarLander half its speed: it then keeps
            # account of every spark.
            env.unwrapped.render_mode = "rgb_array"
        return env.render()

    def state(self) -> dict[str, Any]:
        return {
            "ended": self.ended.tolist(),
            # As they stand now: after an episode's end no journal leads there.
            "random": [_plain(self._random(i).state) for i in range(len(self._envs))],
            "origins": list(self._origins),
            "actions": [[np.asarray(a).tolist() for a in row] for row in self._actions],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        for i in range(len(self._envs)):
            self._random(i).state = state["origins"][i]
            self._restart(i)
            for action in np.array(state["actions"][i], self.action_space.dtype):
                self._act(i, action)
            if _plain(self._random(i).state) != state["random"][i]:
                raise ValueError(
                    f"environment {i} did not come back to where it was saved: it draws random "
                    "numbers of its own, or another version of it is installed"
                )
        self.ended = np.array(state["ended"])

    def close(self) -> None:
        for env in self._envs:
            env.close()


def gymnasium_loop(spec: gym.envs.registration.EnvSpec, num_envs: int, options: dict) -> Loop:
    """A loop over copies of a Gymnasium environment."""
    # The checker warns about badly written environments, at every step.
    envs = [gym.make(spec, disable_env_checker=True, **options) for _ in range(num_envs)]
    return Loop(envs, lambda seed: np_random(seed)[0].bit_generator.state)


class Poles:
    """Gymnasium's vectorised CartPole. Its whole state is a few arrays."""

    _ARRAYS = ("state", "steps", "prev_done")

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
        arrays = {name: getattr(env, name).tolist() for name in self._ARRAYS}
        return {**arrays, "random": env.np_random.bit_generator.state}

    def load_state(self, state: dict[str, Any]) -> None:
        env = self._env.unwrapped
        env.reset(seed=0)  # makes the arrays that the next lines overwrite
        for name in self._ARRAYS:
            setattr(env, name, np.array(state[name], getattr(env, name).dtype))
        env.np_random.bit_generator.state = state["random"]

    def close(self) -> None:
        self._env.close()


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """The state of random numbers as JSON can hold it: lists in place of arrays."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


def spread(seed: int, count: int) -> list[int]:
    """``count`` unrelated seeds from one."""
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(count)]


def quiet_rendering() -> None:
    """Draw pictures in memory, so that no screen is needed. A choice of the user's stays."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("MUJOCO_GL", "egl")
