"""Widgets of lesson 01: Bellman backups step by step, and the same map learned from episodes.

Both stand on FrozenLake and draw its sixteen values with the best actions as arrows.
"""

from __future__ import annotations

from collections.abc import Callable

import gymnasium
import numpy as np

from course_lib.classroom import live, plots
from course_lib.rl import q_learning as tabular

MAP = (5.6, 4.5)  # inches


class BellmanExplorer:
    """Value iteration on FrozenLake, one sweep at a time, with the discount under your finger.

    `backup` is the function at work: pass your own to try it.
    """

    def __init__(
        self,
        gamma: float = 0.95,
        slippery: bool = True,
        backup: Callable = tabular.bellman_backup,
    ):
        env = gymnasium.make("FrozenLake-v1", is_slippery=slippery)
        self.model = tabular.tabular_model(env)
        self.backup = backup
        self.gamma = gamma
        self.reset()

    def reset(self) -> str:
        """Forget everything: all values are zero."""
        self.sweeps = 0
        self.change = 0.0  # the largest change of a value in the last sweep
        self.values = np.zeros(len(self.model.rewards))
        return repr(self)

    def sweep(self, times: int = 1) -> str:
        """Back every state up once, `times` times over, and return the summary."""
        for _ in range(times):
            values = self.q().max(axis=1)
            self.change = float(np.abs(values - self.values).max())
            self.values = values
            self.sweeps += 1
        return repr(self)

    def set(self, gamma: float) -> str:
        """Choose another discount and do the same number of sweeps again, from zero."""
        live.changed(vars(self), {"gamma": gamma}, {"gamma": (0, 1)})
        self.gamma, sweeps = gamma, self.sweeps
        self.reset()
        return self.sweep(sweeps)

    def q(self) -> np.ndarray:
        """The backup of the values as they stand, (16, 4)."""
        return self.backup(self.model.transitions, self.model.rewards, self.values, self.gamma)

    def __repr__(self) -> str:
        known = int((self.values > 0).sum())
        sweeps = "1 sweep" if self.sweeps == 1 else f"{self.sweeps} sweeps"
        return (
            f"{sweeps} with gamma {self.gamma:.2f}: {known} of 11 squares know of the goal, the "
            f"start is worth {self.values[0]:.3f}, the last sweep changed a value by "
            f"{self.change:.3f} at most."
        )

    @live.drawn(MAP)
    def figure(self, ax):
        """The map."""
        policy = tabular.epsilon_greedy(self.q().round(9), 0.0)
        plots.value_map(self.values, plots.FROZEN_LAKE, policy=policy, limits=(0.0, 1.0), ax=ax)

    def widget(self):
        """The live form: three buttons, one slider, the map and one sentence."""
        controls = {
            "one sweep": self.sweep,
            "ten sweeps": lambda: self.sweep(10),
            "reset": self.reset,
            "gamma": live.slider("gamma", self.gamma),
        }
        return live.form(self.set, controls, figure=self.figure, text=self.__repr__)

    _repr_mimebundle_ = live.bundle


class QLearningExplorer:
    """The same lake without its model: Q-learning from episodes, with alpha and epsilon to drag.

    `target`, `policy` and `update` are the functions at work: pass your own to try them.
    """

    def __init__(
        self,
        alpha: float = 0.2,
        epsilon: float = 1.0,
        gamma: float = 0.95,
        seed: int = 0,
        slippery: bool = True,
        *,
        target: Callable = tabular.q_learning_target,
        policy: Callable = tabular.epsilon_greedy,
        update: Callable = tabular.q_update,
    ):
        self.env = gymnasium.make("FrozenLake-v1", is_slippery=slippery)
        self.exact = tabular.value_iteration(tabular.tabular_model(self.env), gamma)
        self.settings = {"alpha": alpha, "epsilon": epsilon}
        self.gamma, self.seed = gamma, seed
        self.target, self.policy, self.update = target, policy, update
        self.reset()

    def reset(self) -> str:
        """Forget everything, and start again with the same seed."""
        self.q = np.zeros((16, 4))
        self.played = self.reached = 0
        # Not the seed alone: the lake draws its slips from that stream.
        self.rng = np.random.default_rng((self.seed, 1))
        self.env.reset(seed=self.seed)
        return repr(self)

    def set(self, **settings: float) -> str:
        """Change alpha or epsilon for the episodes to come; what was learned stays."""
        limits = dict.fromkeys(self.settings, (0, 1))
        self.settings = live.changed(self.settings, settings, limits)
        return repr(self)

    def episodes(self, count: int) -> str:
        """Play and learn from that many episodes, and return the summary."""
        q, alpha, epsilon = self.q, self.settings["alpha"], self.settings["epsilon"]
        for _ in range(count):
            state, _ = self.env.reset()
            ended = False
            while not ended:
                action = int(self.rng.choice(4, p=self.policy(q[state], epsilon)))
                next_state, reward, terminated, truncated, _ = self.env.step(action)
                # Q-learning ignores the next action; 0 stands in for it.
                goal = self.target(reward, terminated, q[next_state], 0, self.gamma)
                q[state, action] = self.update(q[state, action], goal, alpha)
                state, ended = next_state, terminated or truncated
            self.played += 1
            self.reached += reward > 0
        return repr(self)

    def error(self) -> float:
        """The largest distance between a learned and an exact state value."""
        return float(np.abs(self.q.max(axis=1) - self.exact.max(axis=1)).max())

    def __repr__(self) -> str:
        alpha, epsilon = self.settings["alpha"], self.settings["epsilon"]
        return (
            f"{self.played} episodes so far, {self.reached} reached the goal (alpha {alpha:.2f}, "
            f"epsilon {epsilon:.2f}). The start seems worth {self.q[0].max():.3f}; exactly, it is "
            f"{self.exact[0].max():.3f}. Largest error of a value: {self.error():.3f}."
        )

    @live.drawn(MAP)
    def figure(self, ax):
        """The map, its colours on the scale of the exact values."""
        look = {"policy": tabular.epsilon_greedy(self.q, 0.0), "limits": (0.0, self.exact.max())}
        plots.value_map(self.q.max(axis=1), plots.FROZEN_LAKE, **look, ax=ax)

    def widget(self):
        """The live form: three buttons, two sliders, the map and one sentence."""
        controls = {
            "10 episodes": lambda: self.episodes(10),
            "100 episodes": lambda: self.episodes(100),
            "reset": self.reset,
        }
        controls |= {name: live.slider(name, value) for name, value in self.settings.items()}
        return live.form(self.set, controls, figure=self.figure, text=self.__repr__)

    _repr_mimebundle_ = live.bundle
