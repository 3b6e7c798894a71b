"""Figures of lesson 12 and its deck: frames, their tokens, futures mixed and futures drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from course_lib.classroom import plots
from course_lib.classroom.widgets.transformer_world_model import COLOURS, EMPTY
from course_lib.evaluation import bootstrap_interval
from course_lib.world_models.frame_tokenizer import FrameTokenizer
from course_lib.world_models.imagination import Dream
from course_lib.world_models.truth import one_ball_one_paddle
from course_lib.world_models.world_model import WorldModel


def draw_frame(frame: Tensor | np.ndarray, ax: Axes, title: str = "") -> Axes:
    """A frame (C, H, W) of zeros and ones, or of probabilities: half a ball is half as bright."""
    shares = np.asarray(frame, dtype=float)
    picture = np.full((*shares.shape[1:], 3), _rgb(EMPTY))
    for channel in reversed(range(len(shares))):  # channel 0 last: nothing hides it
        share = shares[channel][..., None]
        picture = share * _rgb(COLOURS[channel % len(COLOURS)]) + (1 - share) * picture
    ax.imshow(picture)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, size=12, weight="normal", loc="center")
    ax.grid(False)
    return ax


def draw_tokens(frame: Tensor, tokenizer: FrameTokenizer, ax: Axes) -> Axes:
    """A frame (C, H, W) with the grid of its patches and the number of each."""
    draw_frame(frame, ax)
    side = tokenizer.patch
    for edge in range(0, frame.shape[1] + 1, side):
        ax.axhline(edge - 0.5, color="white", lw=1)
        ax.axvline(edge - 0.5, color="white", lw=1)
    tokens = tokenizer.encode(frame[None])[0].view(frame.shape[1] // side, -1)
    for (row, column), token in np.ndenumerate(tokens.numpy()):
        at = (side * column + (side - 1) / 2, side * row + (side - 1) / 2)
        box = {"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.5}
        ax.text(*at, str(token), color="white", size=12, ha="center", va="center", bbox=box)
    return ax


def kept_whole(dream: Dream, seed: int = 0) -> np.ndarray:
    """Share of dreamed frames with one ball and one paddle after 1, 2, ... steps, (horizon,).

    Actions are random. Of each dream the steps up to its end count, and that end.
    """
    rng = np.random.default_rng(seed)
    dream.reset()
    shares = []
    for _ in range(dream.horizon):
        step = dream.step(rng.integers(dream.num_actions, size=dream.num_envs))
        whole = one_ball_one_paddle(torch.as_tensor(step.obs)).numpy()
        shares.append(whole[step.valid].mean() if step.valid.any() else np.nan)
    return np.array(shares)


@torch.no_grad()
def cell_chances(model: WorldModel, obs: Tensor, actions: Tensor, same: Tensor) -> Tensor:
    """Probability of each cell after the last step of windows, (B, C, H, W): futures mixed.

    ``obs`` (B, T, C, H, W), ``actions`` and ``same`` (B, T), as for ``model.start``.
    """
    memory = model.start(obs[:, :-1], actions[:, :-1], same[:, :-1])
    mixed = 0.0

    def mix(chance_logits: Tensor, decode, draws: Tensor, temperature: float) -> Tensor:
        nonlocal mixed
        chances = chance_logits.softmax(-1)
        every = [
            decode(torch.full_like(draws, v).long()).sigmoid() for v in range(chances.shape[1])
        ]
        mixed = sum(chances[:, v, None, None, None] * p for v, p in enumerate(every))
        return (mixed > 0.5).to(torch.uint8)

    found = model.step(memory, obs[:, -1], actions[:, -1], sample_frame=mix)
    return mixed if isinstance(mixed, Tensor) else found.logits.sigmoid()


def draw_scores(
    runs: Sequence[Mapping], names: Mapping[str, str], ax: Axes, score: str = "return"
) -> Axes:
    """Mean over seeds with interval and dots for each agent, what it computed beside its name."""
    bars, dots = {}, {}
    for agent, label in names.items():
        mine = [run for run in runs if run["agent"] == agent]
        values = [run[score] for run in mine]
        if not values:
            continue
        label = f"{label}, {np.mean([run['cpu'] for run in mine]):.0f} s"
        bars[label] = (float(np.mean(values)), *bootstrap_interval(values))
        dots[label] = values
    return plots.bars_with_intervals(bars, label="bricks per game", runs=dots, ax=ax)


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
