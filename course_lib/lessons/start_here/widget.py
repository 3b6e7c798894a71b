"""The widget of lesson 00: how far ahead a discount looks."""

from __future__ import annotations

import numpy as np

from course_lib.classroom import live
from course_lib.classroom.plots import COLORS
from course_lib.rl.returns import discounted_return

STEPS = 100


class DiscountExplorer:
    """A reward of 1 at each of 100 steps, and how much of it each discount lets through."""

    def __init__(self, gamma: float = 0.9):
        self.gamma = gamma

    def weights(self) -> np.ndarray:
        """What a reward of 1 at step t is worth today, (100,)."""
        return self.gamma ** np.arange(STEPS)

    def set(self, gamma: float) -> str:
        """Choose another discount and return the summary."""
        self.gamma = live.changed(vars(self), {"gamma": gamma}, {"gamma": (0, 1)})["gamma"]
        return repr(self)

    def __repr__(self) -> str:
        weights = self.weights()
        total = discounted_return([1.0] * STEPS, self.gamma)
        half = int(np.searchsorted(np.cumsum(weights), total / 2)) + 1
        steps = "step" if half == 1 else f"{half} steps"
        return (
            f"gamma {self.gamma:.2f}: the return of 100 rewards is {total:.1f}. "
            f"Half of it comes from the first {steps}. "
            f"The last reward is worth {weights[-1]:.2g} today."
        )

    @live.drawn((8, 2.8))
    def figure(self, ax):
        """The weight of every step as bars."""
        ax.bar(np.arange(STEPS), self.weights(), width=1.0, color=COLORS[0])
        ax.set(xlabel="step t", ylabel="worth today, γᵗ", ylim=(0, 1.05), xlim=(-1, STEPS))

    def widget(self):
        """The live form: one slider, one picture, one sentence."""
        controls = {"gamma": live.slider("gamma", self.gamma)}
        return live.form(self.set, controls, figure=self.figure, text=self.__repr__)

    _repr_mimebundle_ = live.bundle
