"""Figures of lesson 14 and its deck."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor
from torch.nn.functional import cosine_similarity

from course_lib.agents.instructions import InstructionAgent
from course_lib.classroom import plots
from course_lib.evaluation import committed_result, t_interval
from course_lib.lessons.language_agents.trials import player
from course_lib.worlds.commands import Commands
from course_lib.worlds.minigrid_rooms import picture

RESULT = "instruction_agents"
SHOWN = {  # readers as figures call them
    "MiniLM": "MiniLM",
    "MiniLM, raw": "MiniLM, raw",
    "bag of words": "bag, 16",
    "bag of words, all 24": "bag, all 24",
    "word vectors": "word vectors",
}


def draw_rooms(envs: Commands, axes: Sequence[Axes]) -> None:
    """The rooms of the first environments, and what is asked for in each."""
    for i, ax in enumerate(axes):
        ax.imshow(picture(envs.rooms, i))
        said = textwrap.fill(f"“{envs.sentences[envs.numbers[i]]}”", 22)
        ax.set_title(said, fontsize=12)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)


def draw_cosines(
    ax: Axes, vectors: Tensor, labels: Sequence[str], title: str, beside: bool = True
) -> Axes:
    """The cosine of each sentence's vector (S, D) with each other's, as colours and numbers."""
    cosines = cosine_similarity(vectors[:, None], vectors[None], dim=-1).numpy()
    ax.imshow(cosines, cmap="cividis", vmin=-1, vmax=1)
    for row, column in np.ndindex(*cosines.shape):
        value = cosines[row, column]
        ink = "white" if value < 0.2 else "black"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, size=12)
    numbers = range(len(labels))
    ax.set(xticks=[], yticks=list(numbers), title=title)
    ax.set_yticklabels(labels if beside else [""] * len(labels))
    ax.grid(False)
    return ax


def draw_table(ax: Axes) -> Axes:
    """The table of generalisation: success by row and reader, mean over seeds with t intervals."""
    runs = committed_result(RESULT)["runs"]
    rows = list(runs[0]["success"])
    for column, kind in enumerate(SHOWN):
        found = np.array([[r["success"][row] for row in rows] for r in runs if r["reader"] == kind])
        means, low, high = t_interval(found)
        for y, (mean, lower, upper) in enumerate(zip(means, low, high, strict=True)):
            ink = "white" if mean < 0.5 else "black"
            words = f"{mean:.2f}\n[{max(lower, 0):.2f}, {min(upper, 1):.2f}]"
            ax.text(column, y, words, ha="center", va="center", color=ink, size=11)
        ax.imshow(means[:, None], cmap="cividis", vmin=0, vmax=1, aspect="auto",
                  extent=(column - 0.5, column + 0.5, len(rows) - 0.5, -0.5))  # fmt: skip
    ax.set(
        xlim=(-0.5, len(SHOWN) - 0.5), ylim=(len(rows) - 0.5, -0.5), xticks=range(len(SHOWN)),
        yticks=range(len(rows)),
    )  # fmt: skip
    ax.set_xticklabels(SHOWN.values())
    ax.set_yticklabels(rows)
    ax.xaxis.tick_top()
    ax.grid(False)
    return ax


LOOKED_UP = (
    *("paraphrase", "new verb", "held-out pair", "colour synonym", "kind synonym"),
    *("both synonyms", "negation", "relation", "free words"),
)


def draw_map_and_look_up(ax: Axes) -> Axes:
    """Success of the trained map and of the look-up, row by row, with t intervals over seeds."""
    runs = [run for run in committed_result(RESULT)["runs"] if "looked_up" in run]
    names = {"success": "trained map", "looked_up": "nearest training sentence"}
    places = np.arange(len(LOOKED_UP))
    for i, (part, name) in enumerate(names.items()):
        found = np.array([[run[part][row] for row in LOOKED_UP] for run in runs])
        means, low, high = t_interval(found)
        ends = np.clip([means - low, high - means], 0, None)
        y = places + (i - 0.5) * 0.38
        ax.barh(y, means, 0.36, xerr=ends, color=plots.COLORS[i], label=name, capsize=3)
    ax.set(xlim=(0, 1), yticks=places, xlabel="success, 95 % t interval over seeds")
    ax.set_yticklabels(LOOKED_UP)
    ax.invert_yaxis()
    ax.legend(loc="lower right")
    return ax


def draw_training(ax: Axes, kinds: Sequence[str]) -> Axes:
    """Share of training episodes that succeed, against frames, by reader."""
    runs = committed_result(RESULT)["runs"]
    curves: dict[str, list[dict]] = {}
    for run in runs:
        if run["reader"] in kinds:
            steps, shares = np.array(run["curve"]).T
            curve = {"steps": steps.tolist(), "return": shares.tolist()}
            curves.setdefault(run["reader"], []).append(curve)
    plots.learning_curves({kind: curves[kind] for kind in kinds}, band="t", ax=ax)
    ax.set(xlabel="frames", ylabel="training episodes that succeed", ylim=(0, 1))
    ax.legend(loc="lower right", title="band: 95 % t interval")
    return ax


def film(agent: InstructionAgent, envs: Commands, episodes: int, seed: int = 0) -> list[np.ndarray]:
    """Pictures (H, W, 3) of the first room while ``agent`` acts in it, for so many episodes."""
    policy, obs = player(agent, seed), envs.reset()
    frames, ended = [envs.render(0)], 0
    while ended < episodes:
        obs, _, terminated, truncated, valid = envs.step(policy(obs))
        ended += int((terminated | truncated)[0])
        frames += [envs.render(0)] * (1 if valid[0] else 3)  # a look at each new room
    return frames
