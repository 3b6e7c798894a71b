"""A widget of lesson 05: what temperature and top-p do to the next token, and to a text."""

from __future__ import annotations

import html
import textwrap
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom import live, plots
from course_lib.lm import generate, gpt

LIMITS = {"temperature": (0.0, 2.0), "top_p": (0.05, 1.0), "seed": (0, 50)}
SHOWN = 12  # tokens in the chart


class Distribution(NamedTuple):
    """The probabilities of the next token, all (V,)."""

    model: Tensor  # as the model gives them: temperature 1, nothing left out
    sampled: Tensor  # as they are drawn from


class TemperatureExplorer:
    """A model that goes on from a prompt, and the chances of the first token that it draws.

    `tokenizer` may be any of this course: it needs `encode` and `decode`.
    """

    def __init__(self, model: gpt.GPT, tokenizer: Any, prompt: str, characters: int = 200):
        self.model, self.tokenizer, self.characters = model, tokenizer, characters
        self.settings: dict[str, Any] = {"prompt": prompt, "temperature": 0.8, "top_p": 1.0}
        self.settings["seed"] = 0
        self.text = ""  # the continuation
        self.set()

    def set(self, **settings: Any) -> str:
        """Change prompt, temperature, top_p or seed; return the new continuation."""
        chosen = live.changed(self.settings, settings, LIMITS)
        if not chosen["prompt"]:
            raise ValueError("the prompt is empty: give the model at least one character to go on")
        self.tokenizer.encode(chosen["prompt"])  # raises where a character has no number
        self.settings = chosen
        self.text = self._continue()
        return self.text

    def _continue(self) -> str:
        _, heat, top_p, seed = self.settings.values()
        sampling = {"temperature": heat, "top_p": top_p if top_p < 1 else None}
        generator = torch.Generator().manual_seed(int(seed))
        read, half = self._tokens(), max(1, self.model.config.context // 2)
        start = len(read)
        while True:
            # A model is good for the positions that it was trained on. Where they are used up it
            # starts again from the later half of what it has.
            window = read[-half:]
            room = max(1, self.model.config.context - len(window))
            limits = generate.Sampling(max_new_tokens=room, **sampling)
            for token in generate.stream(self.model, torch.tensor(window), limits, generator):
                read.append(token)
                text = self.tokenizer.decode(read[start:])
                if len(text) >= self.characters:
                    return text[: self.characters]

    def _tokens(self) -> list[int]:
        return list(self.tokenizer.encode(self.settings["prompt"]))

    @torch.no_grad()
    def distribution(self) -> Distribution:
        """What the model expects after the prompt, and what is left of it to draw from."""
        tokens = torch.tensor([self._tokens()[-self.model.config.context :]])
        last = self.model.hidden(tokens)[:, -1].contiguous()
        logits = self.model.head(last)[0].float()
        if self.settings["temperature"] == 0:
            sampled = torch.zeros_like(logits)
            sampled[logits.argmax()] = 1.0
        else:
            tempered = logits / self.settings["temperature"]
            if self.settings["top_p"] < 1:
                tempered = generate.top_p_filter(tempered, self.settings["top_p"])
            sampled = tempered.softmax(dim=-1)
        return Distribution(logits.softmax(dim=-1), sampled)

    def summary(self) -> str:
        """One sentence: how much choice these settings leave for the next token."""
        model, sampled = self.distribution()
        best = int(model.argmax())
        bits = -(sampled * sampled.clamp(min=1e-30).log2()).sum().item()
        prompt = self.settings["prompt"]
        end = _visible(prompt if len(prompt) <= 24 else "…" + prompt[-20:])
        return (
            f"After “{end}” the model expects "
            f"“{_visible(self.tokenizer.decode([best]))}” first of all ({model[best]:.0%}). At "
            f"temperature {self.settings['temperature']:.2f} and top-p "
            f"{self.settings['top_p']:.2f}, {int((sampled > 0).sum())} of {len(model)} tokens can "
            f"be drawn; the draw is worth {abs(bits):.1f} bits."
        )

    def __repr__(self) -> str:
        return f"{self.summary()}\n\n{self.settings['prompt']}{self.text}"

    def _draw(self, ax) -> None:
        """The most probable next tokens: as the model has them, and as they are drawn."""
        model, sampled = self.distribution()
        top = model.topk(min(SHOWN, len(model))).indices
        place = np.arange(len(top))
        left = {"color": plots.PALE, "edgecolor": plots.GREY, "label": "the model's"}
        right = {"color": plots.COLORS[0], "label": "drawn from"}
        ax.bar(place - 0.2, model[top].numpy(), width=0.4, **left)
        ax.bar(place + 0.2, sampled[top].numpy(), width=0.4, **right)
        names = [_visible(self.tokenizer.decode([int(token)])) for token in top]
        turned = {"rotation": 35, "ha": "right"} if max(map(len, names)) > 5 else {}
        ax.set_xticks(place, labels=names, parse_math=False, **turned)
        highest = max(model.max(), sampled.max())
        limit = next(limit for limit in (0.25, 0.5, 1.0, 2.0) if highest <= limit)
        ax.set(ylim=(0, min(limit, 1) * 1.02), xlabel="next token", ylabel="probability")
        heat, top_p = self.settings["temperature"], self.settings["top_p"]
        ax.set_title(f"temperature {heat:.2f}, top-p {top_p:.2f}")
        ax.grid(axis="x", visible=False)
        ax.legend(loc="upper right")

    chart = live.drawn((9.0, 3.6))(_draw)

    def figure(self):
        """The chart, and below it the text, for a page without a kernel."""
        lines = _wrapped((self.settings["prompt"] + self.text).strip("\n"), 78)
        below = 0.21 * len(lines)

        @live.drawn((9.0, 3.6 + below), 2, 1, height_ratios=(3.6, below))
        def both(self, ax, page) -> None:
            self._draw(ax)
            page.set_axis_off()
            look = {"family": "monospace", "fontsize": 11, "va": "top", "parse_math": False}
            page.text(0, 1, "\n".join(lines), transform=page.transAxes, **look)

        return both(self)

    def widget(self):
        """The live form: a field for the prompt, three sliders, the chart and the continuation."""
        import ipywidgets as widgets

        prompt, temperature, top_p, seed = self.settings.values()
        rows = min(8, prompt.count("\n") + 1)
        controls = {
            "prompt": widgets.Textarea(value=prompt, description="prompt", rows=rows),
            "temperature": live.slider("temperature", temperature, 0.0, 2.0, 0.05),
            "top_p": live.slider("top-p", top_p, 0.05, 1.0, 0.05),
            "seed": live.slider("seed", seed, 0, 50, 1),
        }
        views = {"figure": self.chart, "text": self.summary, "page": self.page}
        return live.form(self.set, controls, **views, at_once=False)

    def page(self) -> str:
        """Prompt and continuation, the prompt in bold."""
        prompt, text = map(html.escape, (self.settings["prompt"].lstrip("\n"), self.text))
        style = "white-space:pre-wrap;font-family:monospace;line-height:1.4;max-width:80ch"
        return f"<div style='{style}'><b>{prompt}</b>{text}</div>"

    _repr_mimebundle_ = live.bundle


temperature = TemperatureExplorer


def _visible(text: str) -> str:
    """A token with its blanks and line ends made visible."""
    for sign, shown in ((" ", "␣"), ("\n", "↵"), ("\t", "⇥")):
        text = text.replace(sign, shown)
    return "".join(sign if sign.isprintable() else "·" for sign in text) or "·"


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters; line ends in the text are kept."""
    return [
        part
        for line in text.expandtabs(4).split("\n")
        for part in (textwrap.wrap(line, width, drop_whitespace=False) or [""])
    ]
