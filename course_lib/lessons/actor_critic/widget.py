"""The widget of lesson 03: a real stretch of play, and how good gamma and lambda call each step."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from course_lib.classroom import live
from course_lib.classroom.plots import COLORS, GREY
from course_lib.rl import returns
from course_lib.rl.rollout import Rollout


class AdvantageExplorer:
    """Rewards, values and advantages along time, with the ends of the episodes marked.

    Shows environment `i` of a rollout, or the first in which one episode terminated and another
    was truncated. `gae` is the function at work: pass your own to try it.
    """

    def __init__(
        self,
        rollout: Rollout,
        i: int | None = None,
        gae: Callable = returns.gae,
        gamma: float = 0.99,
        lam: float = 0.95,
    ):
        if i is None:
            both = rollout.terminated.any(0) & rollout.truncated.any(0)
            if not both.any():
                raise ValueError(
                    "no environment of this rollout saw both a termination and a truncation: "
                    "play longer, or with a shorter time limit"
                )
            i = int(both.int().argmax())
        self._gae = gae
        # One column, (T, 1): the estimate needs the reset rows in their places.
        self._rollout = Rollout(*(tensor[:, i : i + 1] for tensor in rollout))
        self._shown = self._rollout.valid[:, 0].numpy()
        self.gamma, self.lam = gamma, lam

    def _column(self, name: str) -> np.ndarray:
        return getattr(self._rollout, name)[:, 0].numpy()[self._shown]

    def advantages(self) -> np.ndarray:
        """The advantages of all steps shown, (S,)."""
        r = self._rollout
        ends = r.terminated, r.truncated
        found = self._gae(r.rewards, r.values, r.next_values, *ends, self.gamma, self.lam)
        return found[:, 0].numpy()[self._shown]

    def set(self, gamma: float | None = None, lam: float | None = None) -> str:
        """Choose another discount or lambda and return the summary."""
        changes = {"gamma": gamma, "lam": lam}
        vars(self).update(live.changed(vars(self), changes, {"gamma": (0, 1), "lam": (0, 1)}))
        return repr(self)

    def last_steps(self) -> dict[str, float]:
        """The advantage of the first terminated and of the first truncated step, if there are."""
        found, advantages = {}, self.advantages()
        for name in ("terminated", "truncated"):
            places = np.flatnonzero(self._column(name))
            if len(places):
                found[name] = float(advantages[places[0]])
        return found

    def __repr__(self) -> str:
        rate = self.gamma * self.lam
        if rate == 0:
            memory = "only the next TD error counts"
        elif rate == 1:
            memory = "all TD errors to come count in full"
        else:
            steps = math.log(0.5) / math.log(rate)
            memory = f"the weight of a TD error halves every {steps:.1f} steps"
        words = [
            f"gamma {self.gamma:.2f}, lambda {self.lam:.2f}: {memory}.",
            f"The advantages spread by {self.advantages().std():.1f} (standard deviation).",
        ]
        names = {"terminated": "the pole fell", "truncated": "the clock ran out"}
        for kind, value in self.last_steps().items():
            words.append(f"The step at which {names[kind]}: {value:+.1f}.")
        return " ".join(words)

    @live.drawn((9.5, 4.6), 2, 1, plain=True, sharex=True, height_ratios=(1, 1.3))
    def figure(self, top, bottom):
        """Values and rewards above, advantages below."""
        advantages = self.advantages()
        time = np.arange(len(advantages))
        top.plot(time, self._column("values"), color=COLORS[2], label="value V(s)")
        top.bar(time, self._column("rewards"), width=1.0, color=COLORS[4], label="reward")
        top.set_ylabel("units of reward")
        top.legend(loc="lower right", frameon=False, ncols=2)
        colors = np.where(advantages >= 0, COLORS[0], COLORS[1])
        bottom.bar(time, advantages, width=1.0, color=colors)
        bottom.axhline(0, color=GREY, linewidth=0.8)
        bottom.set(xlabel="time (steps)", ylabel="advantage", xlim=(-1, len(time)))
        looks = {"terminated": ("fell", "-"), "truncated": ("clock", ":")}
        for kind, (word, line) in looks.items():
            for place in np.flatnonzero(self._column(kind)):
                for ax in (top, bottom):
                    ax.axvline(place + 0.5, color="black", linestyle=line, linewidth=1.2)
                top.text(place + 0.5, 1.02, word, transform=top.get_xaxis_transform(), ha="center")
        for ax in (top, bottom):
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(False)

    def widget(self):
        """The live form: two sliders, one picture, one summary."""
        controls = {
            "gamma": live.slider("gamma", self.gamma),
            "lam": live.slider("lambda", self.lam),
        }
        views = {"figure": self.figure, "text": self.__repr__}
        return live.form(self.set, controls, **views, at_once=False)

    _repr_mimebundle_ = live.bundle
