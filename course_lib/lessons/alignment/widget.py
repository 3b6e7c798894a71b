"""The widget of lesson 10: see of a training run what its makers saw, and say when to stop."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from course_lib.classroom import live
from course_lib.classroom.plots import COLORS, GREY, LINES
from course_lib.rlhf.constraints import mean_of_last

SMOOTH = 3  # updates: single batches are noisy


class GoodhartExplorer:
    """One run: proxy, KL and a reply at each update, the true reward only where it is asked for.

    ``run`` holds a list per column, "proxy", "kl" and "true", one entry per update, and "replies",
    pairs of a question and its reply: a run of `benchmarks/results/alignment_cures.json`.
    """

    def __init__(self, run: Mapping[str, Any], update: int = 1, truth: bool = False):
        lengths = {name: len(run[name]) for name in ("proxy", "kl", "true", "replies")}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"all columns of a run must be of one length, got {lengths}")
        self.columns = {n: np.array(mean_of_last(run[n], SMOOTH)) for n in ("proxy", "kl", "true")}
        self.replies: Sequence[tuple[str, str]] = [tuple(pair) for pair in run["replies"]]
        self.update, self.truth = 1, False
        self.set(update, truth)

    def __len__(self) -> int:
        return len(self.replies)

    def set(self, update: int | None = None, truth: bool | None = None) -> str:
        """Go to another update, from 1, or uncover the true reward; return the summary."""
        changes = {"update": update, "truth": truth}
        vars(self).update(live.changed(vars(self), changes, {"update": (1, len(self))}))
        return repr(self)

    def __repr__(self) -> str:
        question, reply = self.replies[self.update - 1]
        values = {name: column[self.update - 1] for name, column in self.columns.items()}
        words = (
            f"Update {self.update}: proxy {values['proxy']:+.2f}, {values['kl']:.1f} nats from the "
            "model before training"
        )
        if self.truth:
            best = int(self.columns["true"].argmax())
            words += (
                f", true reward {values['true']:+.2f}. The best you could have kept was update "
                f"{best + 1} with {self.columns['true'][best]:+.2f}"
            )
        return f'{words}.\nGuest: "{question}" Model: "{reply}"'

    def as_html(self) -> str:
        """The summary as HTML."""
        first, second = (html.escape(line) for line in repr(self).split("\n"))
        box = "max-width:80ch;line-height:1.5;padding:4px 0 4px 12px;border-left:4px solid #0072B2"
        return f"<div aria-live='polite'>{first}<div style='{box}'>{second}</div></div>"

    @live.drawn((9.5, 3.6), 1, 2)
    def figure(self, left, right):
        """Proxy and KL so far, and the whole truth where it is uncovered."""
        steps = np.arange(1, len(self) + 1)
        end = len(self) if self.truth else self.update
        left.plot(steps[:end], self.columns["proxy"][:end], color=COLORS[0], label="proxy")
        if self.truth:
            look = {"color": COLORS[1], "linestyle": LINES[1]}
            left.plot(steps, self.columns["true"], label="true reward", **look)
        right.plot(steps[:end], self.columns["kl"][:end], color=COLORS[2])
        for ax, name, color in ((left, "proxy", COLORS[0]), (right, "kl", COLORS[2])):
            ax.axvline(self.update, color=GREY, linestyle=":")
            ax.plot(self.update, self.columns[name][self.update - 1], marker="o", color=color)
            ax.set(xlabel="update", xlim=(0, len(self) + 1))
        both = np.concatenate([self.columns["proxy"], self.columns["true"]])
        low = both.min() if self.truth else self.columns["proxy"].min()
        left.set(ylabel="reward (points)", ylim=(low - 0.3, both.max() + 0.3))
        right.set(ylabel="KL (nats per reply)", ylim=(0, 1.05 * self.columns["kl"].max()))
        left.legend(loc="best")

    def widget(self):
        """The live form: a slider, a checkbox, the picture, the words."""
        controls = {
            "update": live.slider("update", self.update, 1, len(self), 1),
            "truth": live.switch("show the true reward", self.truth),
        }
        views = {"figure": self.figure, "page": self.as_html}
        return live.form(self.set, controls, **views, at_once=False)

    _repr_mimebundle_ = live.bundle
