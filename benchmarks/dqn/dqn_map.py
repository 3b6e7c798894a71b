"""What the network of lesson 02's live run believes, and where that run has been.

The notebook trains one agent on CartPole-v1 with seed 0 and draws its values. Here the same run is
repeated with every step written down. Counted are the steps by place of the cart, the steps in the
corner of the map where the network pushes the wrong way, and the steps with a value above 100, the
most that is possible: for how many of those is the one-step target higher still?
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Goal, reported
from course_lib.lessons.dqn.widget import QMap
from course_lib.rl import dqn
from course_lib.rl.envs import Envs, Step, make

PLACES = (-2.3, -2.0, -1.5, -1.0, 0.0, 1.0, 1.5, 2.0, 2.3)  # m from the middle of the track
BOUND = 1 / (1 - dqn.CARTPOLE.gamma)  # no value can be larger


class Recorder:
    """Environments that keep what was seen: observations, actions, successors of valid steps."""

    def __init__(self, envs: Envs):
        self.envs = envs
        self.num_envs, self.num_actions = envs.num_envs, envs.num_actions
        self.obs_shape = envs.obs_shape
        self._obs, self._kept = np.empty(0), []

    def reset(self) -> np.ndarray:
        self._obs = self.envs.reset()
        return self._obs

    def step(self, actions: np.ndarray) -> Step:
        step = self.envs.step(actions)
        rows = self._obs, actions, step.obs, step.terminated
        self._kept.append([each[step.valid].copy() for each in rows])
        self._obs = step.obs
        return step

    def steps(self) -> list[np.ndarray]:
        """Observations (T, 4), actions (T,), next observations (T, 4), terminated (T,)."""
        return [np.concatenate(column) for column in zip(*self._kept, strict=True)]


def measure(quick: bool) -> dict:
    config = dqn.CARTPOLE
    envs = Recorder(make("CartPole-v1", num_envs=16, seed=0))
    agent = dqn.DQN(envs.obs_shape, envs.num_actions, config, seed=0)
    for row in dqn.train(agent, envs, config, seed=0):
        if quick and row["steps"] > 5_000:
            break
    obs, actions, after, terminated = envs.steps()
    x, angle, spin = obs[:, 0], obs[:, 2], obs[:, 3]

    at_rest = agent.q_values(np.array([[place, 0, 0, 0] for place in PLACES], np.float32))
    rolling = agent.q_values(np.array([[2.3, 1, 0, 0]], np.float32))
    grid = QMap(agent).values()
    at_middle = agent.q_values(np.where([True, True, False, False], 0, obs).astype(np.float32))
    corner = (angle > 0.1) & (spin > 0.4) & (at_middle[:, 0] > at_middle[:, 1])

    value = agent.q_values(obs)[np.arange(len(obs)), actions]
    target = 1 + config.gamma * (1 - terminated) * agent.q_values(after).max(axis=1)
    high = value > BOUND
    run = {
        "seed": 0,
        "steps": len(obs),
        "visits": {
            "more than 2 m to the left": int((x < -2).sum()),
            "1.5 to 2 m to the left": int(((x >= -2) & (x < -1.5)).sum()),
            "1.5 to 2 m to the right": int(((x > 1.5) & (x <= 2)).sum()),
            "more than 2 m to the right": int((x > 2).sum()),
            "corner of the map with the wrong push": int(corner.sum()),
        },
        "value_at_rest": {
            str(place): round(float(best), 1)
            for place, best in zip(PLACES, at_rest.max(axis=1), strict=True)
        },
        "value_at_2.3_m_rolling_right": round(float(rolling.max()), 1),
        "map": [round(float(end), 1) for end in (grid.max(-1).min(), grid.max(-1).max())],
        "map_above_bound": round(float((grid.max(-1) > BOUND).mean()), 3),
        "map_below_0": round(float((grid.max(-1) < 0).mean()), 3),
        "mean_best_value_1.5_to_2_m_right": _mean_best(agent, obs[(x > 1.5) & (x <= 2)]),
        "mean_best_value_1.5_to_2_m_left": _mean_best(agent, obs[(x >= -2) & (x < -1.5)]),
        "steps_valued_above_bound": int(high.sum()),
        "of_those_with_a_higher_target": int((target > value)[high].sum()),
    }
    return {"seeds": [0], "runs": [run]}


def judge(result: dict) -> list[Goal]:
    (run,) = result["runs"]
    visits = ", ".join(f"{place}: {count}" for place, count in run["visits"].items())
    rest = ", ".join(f"{place} m: {value}" for place, value in run["value_at_rest"].items())
    rest += f"; at 2.3 m and rolling to the right at 1 m/s: {run['value_at_2.3_m_rolling_right']}"
    high, higher = run["steps_valued_above_bound"], run["of_those_with_a_higher_target"]
    return [
        reported(f"DQN, CartPole-v1, the notebook's run: of {run['steps']} steps", visits),
        reported("DQN, CartPole-v1, the notebook's run: value of an upright pole at rest", rest),
        reported(
            f"DQN, CartPole-v1, the notebook's run: steps with a value above {BOUND:.0f}",
            f"{high}; the target is higher than the value in {higher / max(high, 1):.0%}",
        ),
    ]


def _mean_best(agent: dqn.DQN, obs: np.ndarray) -> float | None:
    return round(float(agent.q_values(obs).max(axis=1).mean()), 1) if len(obs) else None
