"""The widget of lesson 09: the rewards of one group, and the advantages that GRPO makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from course_lib.classroom import live, plots
from course_lib.rlhf import grpo

GROUP = 6
LOWEST, HIGHEST, STEP = 0.0, 1.0, 0.05
GROUPS = {  # rewards to begin with
    "one right": (1.0, 0, 0, 0, 0, 0),
    "half right": (1.0, 1.0, 1.0, 0, 0, 0),
    "one wrong": (1.0, 1.0, 1.0, 1.0, 1.0, 0),
    "nearly tied": (0.55, 0.5, 0.5, 0.5, 0.5, 0.5),
    "tied": (0.5,) * GROUP,
}


class GroupExplorer:
    """Six responses to one prompt: what each was rewarded, and how hard each is pushed.

    `group_advantages(rewards, scale)` is the function at work: pass your own to try it.
    """

    def __init__(
        self,
        rewards: Sequence[float] = GROUPS["one right"],
        group_advantages: Callable = grpo.group_advantages,
    ):
        self._group_advantages = group_advantages
        self.rewards: list[float] = [0.0] * GROUP
        self.set(rewards)

    def set(self, rewards: Sequence[float]) -> str:
        """Give the group other rewards, and return the sentence for it."""
        if len(rewards) != GROUP:
            raise ValueError(f"the group has {GROUP} responses, got {len(rewards)} rewards")
        for reward in rewards:
            live.changed({"a reward": 0.0}, {"a reward": reward}, {"a reward": (LOWEST, HIGHEST)})
        self.rewards = [round(float(reward), 2) for reward in rewards]
        return repr(self)

    def advantages(self, scale: str) -> np.ndarray:
        """(G,) of the present rewards; ``scale`` "std" or "none"."""
        return self._group_advantages(torch.tensor([self.rewards]), scale)[0].numpy()

    def push(self, scale: str) -> float:
        """How much the group moves the policy in all: the sum of the sizes of its advantages."""
        return float(np.abs(self.advantages(scale)).sum())

    def reason(self) -> str:
        """One or two sentences: what this group teaches."""
        spread = max(self.rewards) - min(self.rewards)
        if spread == 0:
            return (
                "A tied group: nothing is better than anything else, so all advantages are 0 and "
                "this prompt teaches nothing, however high or low the reward is."
            )
        with_std, without = self.push("std"), self.push("none")
        words = (
            f"Divided by the deviation the group pushes with {with_std:.1f} in all, undivided with "
            f"{without:.1f}. "
        )
        if spread <= 2 * STEP + 1e-9:
            return words + (
                "The rewards hardly differ, and dividing by their tiny deviation makes a large "
                "difference of it: noise in the reward would be pushed as hard as an answer."
            )
        share = sum(self.rewards) / GROUP
        if share <= 0.25 or share >= 0.75:
            side = "hard" if share <= 0.25 else "easy"
            return words + (
                f"For this policy the prompt is {side}. Its deviation is small, so the division "
                "multiplies its push by more than that of a prompt that is half solved."
            )
        return words + "This prompt is about half solved: here the deviation is at its largest."

    def __repr__(self) -> str:
        rewards = ", ".join(f"{reward:g}" for reward in self.rewards)
        rows = [
            f"{name}: " + ", ".join(f"{a:+.2f}" if a else "0" for a in self.advantages(scale))
            for name, scale in (("divided", "std"), ("undivided", "none"))
        ]
        return f"rewards {rewards}; advantages {'; '.join(rows)}. {self.reason()}"

    @live.drawn((9.5, 3.6), 1, 2)
    def figure(self, left, right):
        """Rewards with their mean on the left, both kinds of advantages on the right."""
        place = np.arange(1, GROUP + 1)
        left.bar(place, self.rewards, color=plots.GREY)
        mean = float(np.mean(self.rewards))
        left.axhline(mean, color=plots.COLORS[1], label=f"mean {mean:.2f}")
        left.set(xlabel="response", ylabel="reward", ylim=(0, 1.05))
        left.legend()
        looks = (("std", "divided by the deviation", 0), ("none", "undivided", 1))
        for shift, (scale, label, color) in zip((-0.2, 0.2), looks, strict=True):
            right.bar(
                place + shift, self.advantages(scale), 0.4, label=label, color=plots.COLORS[color]
            )
        right.axhline(0, color=plots.GREY, linewidth=1)
        right.set(xlabel="response", ylabel="advantage", ylim=(-2.2, 2.2))
        right.legend(loc="lower left")
        for ax in (left, right):
            ax.set_xticks(place)

    def widget(self):
        """The live form: a menu of groups, six sliders, the picture and the sentence."""
        import ipywidgets as widgets

        # The picture first: who has read the sentence looks at it.
        views, redraw = live.follow(figure=self.figure, text=self.__repr__)
        sliders = [
            live.slider(f"response {i}", reward, LOWEST, HIGHEST, STEP)
            for i, reward in enumerate(self.rewards, start=1)
        ]
        start = next((n for n, r in GROUPS.items() if list(r) == self.rewards), None)
        menu = live.menu("group", start, list(GROUPS))
        several = False  # while the menu moves all sliders, draw once

        def moved(_: object) -> None:
            if not several:
                self.set([slider.value for slider in sliders])
                redraw()

        def chosen(event: Mapping) -> None:
            nonlocal several
            several = True
            for slider, reward in zip(sliders, GROUPS[event["new"]], strict=True):
                slider.value = reward
            several = False
            moved(event)

        for slider in sliders:
            slider.observe(moved, "value")
        menu.observe(chosen, "value")
        live.align([menu, *sliders])
        columns = [widgets.VBox(sliders[:3]), widgets.VBox(sliders[3:])]
        return widgets.VBox([menu, widgets.HBox(columns), *views])

    _repr_mimebundle_ = live.bundle
