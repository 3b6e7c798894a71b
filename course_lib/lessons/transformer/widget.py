"""Widgets of lesson 05: attention among five words; `temperature` stands in `sampling.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.classroom import live, plots
from course_lib.lessons.transformer.sampling import TemperatureExplorer, temperature
from course_lib.lm import gpt

__all__ = ["AttentionByHand", "TemperatureExplorer", "attention_by_hand", "temperature"]

WORDS = ("the", "king", "saw", "his", "crown")
# A query says what a word looks for, a key what it is: person, thing, action, small word.
QUERIES = torch.tensor(
    [
        [0.0, 0.0, 0.0, 0.0],  # "the" asks for nothing
        [0.0, 0.0, 0.0, 4.0],  # "king": which one? its small word knows
        [5.0, 0.0, 0.0, 0.0],  # "saw": who did?
        [6.0, 0.0, 0.0, 0.0],  # "his": whose?
        [0.0, 0.0, 0.0, 6.0],  # "crown": which one?
    ]
)
KEYS = torch.tensor(
    [
        [0.0, 0.0, 0.0, 0.6],
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.3, 0.0, 0.0, 1.0],
        [0.0, 1.0, 0.0, 0.0],
    ]
)
# A value is what a word tells to those who look at it.
MEANINGS = ("alive", "royal", "shiny", "looking")
VALUES = torch.tensor(
    [
        [0.0, 0.0, 0.0, 0.0],
        [1.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
        [0.5, 0.0, 0.0, 0.0],
        [0.0, 1.0, 1.0, 0.0],
    ]
)
DIVISORS = (0.25, 16.0)


class AttentionByHand:
    """Five words, queries, keys and values by hand: whom a word looks at, and what it gathers.

    `attention(q, k, v, mask)` is the function at work: pass your own to try it.
    """

    def __init__(
        self,
        attention: Callable[..., Tensor] = gpt.attention,
        word: str = "his",
        divisor: float = 2.0,
        causal: bool = True,
    ):
        self._attention = attention
        self.settings: dict[str, Any] = {"word": "his", "divisor": 2.0, "causal": True}
        self.set(word=word, divisor=divisor, causal=causal)

    def set(self, **settings: Any) -> str:
        """Change the word that asks, the divisor or the mask; return the sentence for it."""
        limits = {"word": WORDS, "divisor": DIVISORS}
        self.settings = live.changed(self.settings, settings, limits)
        return repr(self)

    def mask(self) -> Tensor:
        """Whom the word may see, (1, 5) bool."""
        at = WORDS.index(self.settings["word"])
        return torch.arange(len(WORDS))[None] <= (at if self.settings["causal"] else len(WORDS))

    def scores(self) -> Tensor:
        """Query times key, not yet divided, (5,)."""
        return KEYS @ QUERIES[WORDS.index(self.settings["word"])]

    def weights(self) -> Tensor:
        """How much the word looks at each, (5,): what attention makes of values 1, 0, 0 ..."""
        return self._gather(torch.eye(len(WORDS)))

    def mixed(self) -> Tensor:
        """What the word gathers from them, (4,), one number per meaning."""
        return self._gather(VALUES)

    def _gather(self, values: Tensor) -> Tensor:
        query = QUERIES[[WORDS.index(self.settings["word"])]]
        # `attention` divides by the root of D = 4: make up for it, so that ours is in force.
        query = query * math.sqrt(query.shape[-1]) / self.settings["divisor"]
        return self._attention(query, KEYS, values, self.mask())[0]

    def __repr__(self) -> str:
        word, divisor, causal = self.settings.values()
        weights, mixed = self.weights(), self.mixed()
        seen = WORDS[: WORDS.index(word) + 1] if causal else WORDS
        looks = ", ".join(
            f"{other} {w:.2f}" for other, w in zip(WORDS, weights.tolist(), strict=True)
        )
        gathers = ", ".join(
            f"{name} {x:.2f}" for name, x in zip(MEANINGS, mixed.tolist(), strict=True)
        )
        mask = "and earlier words alone" if causal else "and all other words"
        return (
            f'"{word}" asks, and sees itself {mask} ({len(seen)} of {len(WORDS)}). With scores '
            f"divided by {divisor:.2f} it looks at: {looks}. It gathers: {gathers}."
        )

    @live.drawn((9.5, 3.6), 1, 3)
    def figure(self, scores_ax, weights_ax, mixed_ax):
        """Scores, weights and what is gathered, side by side."""
        mask = self.mask()[0].tolist()
        scores = (self.scores() / self.settings["divisor"]).tolist()
        bars = [
            (scores_ax, WORDS, scores, "scores, divided", plots.COLORS[5]),
            (weights_ax, WORDS, self.weights().tolist(), "weights (sum 1)", plots.COLORS[0]),
            (mixed_ax, MEANINGS, self.mixed().tolist(), "what it gathers", plots.COLORS[1]),
        ]
        for ax, names, numbers, title, color in bars:
            hidden = [names is WORDS and not seen for seen in mask[: len(names)]]
            shown = [0.0 if hide else x for x, hide in zip(numbers, hidden, strict=True)]
            ax.barh(range(len(names)), shown, color=color)
            right = max(1.0, *shown) * (1.35 if ax is scores_ax else 1.25)
            for row, (x, hide) in enumerate(zip(numbers, hidden, strict=True)):
                text = "hidden" if hide and ax is scores_ax else f"{x:.2f}"
                ax.text(shown[row] + right * 0.02, row, text, va="center", fontsize=12)
            ax.set(title=title, xlim=(0, right), yticks=range(len(names)))
            ax.set_yticklabels(names)
            if ax is not scores_ax:
                ax.set_xticks([0, 0.5, 1])
            ax.invert_yaxis()
            ax.grid(axis="y", visible=False)
        scores_ax.set_ylabel(f'"{self.settings["word"]}" asks')

    def widget(self):
        """The live form: a menu, a slider, a switch, the picture and one sentence."""
        import ipywidgets as widgets

        word, divisor, causal = self.settings.values()
        low, high = (math.log2(limit) for limit in DIVISORS)
        look = {"step": 0.25, "description": "divisor", "readout_format": ".2f"}
        controls = {
            "word": live.menu("word", word, WORDS),
            "divisor": widgets.FloatLogSlider(value=divisor, base=2, min=low, max=high, **look),
            "causal": live.switch("causal", causal),
        }
        return live.form(self.set, controls, figure=self.figure, text=self.__repr__)

    _repr_mimebundle_ = live.bundle


attention_by_hand = AttentionByHand
