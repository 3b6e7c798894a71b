"""Figures of lesson 12 and its deck: frames, their tokens, futures mixed and futures drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from torch import Tensor

from course_lib.classroom import plots
from course_lib.evaluation import bootstrap_interval, iqm
from course_lib.lessons.transformer_world_model.widget import COLOURS, EMPTY
from course_lib.rl.envs import Step, make
from course_lib.world_models.frame_tokenizer import FrameTokenizer
from course_lib.world_models.frames import Windows
from course_lib.world_models.imagination import Dream
from course_lib.world_models.world_model import Prediction, WorldModel
from course_lib.worlds.breakout import one_ball_one_paddle, same_frame


def draw_frame(frame: Tensor | np.ndarray, ax: Axes, title: str = "") -> Axes:
    """A frame (C, H, W) of zeros and ones, or of probabilities: half a ball is half as bright."""
    shares = np.asarray(frame, dtype=float)
    picture = np.full((*shares.shape[1:], 3), to_rgb(EMPTY))
    for channel in reversed(range(len(shares))):  # channel 0 last: nothing hides it
        share = shares[channel][..., None]
        picture = share * np.array(to_rgb(COLOURS[channel % len(COLOURS)])) + (1 - share) * picture
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
    shares = []
    for _, step in _at_random(dream, np.random.default_rng(seed)):
        whole = one_ball_one_paddle(torch.as_tensor(step.obs)).numpy()
        shares.append(whole[step.valid].mean() if step.valid.any() else np.nan)
    return np.array(shares)


def _at_random(dream: Dream, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, Step]]:
    """Each step of a dream whose actions are random, with the frames before it."""
    before = dream.reset()
    for _ in range(dream.horizon):
        step = dream.step(rng.integers(dream.num_actions, size=dream.num_envs))
        yield before, step
        before = step.obs


def foretold(
    model: WorldModel,
    player: Callable[[np.ndarray], np.ndarray],
    steps: int = 40,
    games: int = 64,
    seed: int = 1,
) -> float:
    """Share of Breakout's frames that ``model`` foretells in every cell, from game starts on.

    ``player`` maps frames (N, C, H, W) to actions (N,). The real game obeys every action here, so
    there is one right answer; the model says its likeliest one. First episodes only.
    """
    envs = make("MinAtar/Breakout", games, seed, sticky_actions=0.0)
    obs, alive, right = envs.reset(), np.ones(games, bool), []
    memory = model.start(torch.zeros(games, 0, *obs.shape[1:]), torch.zeros(games, 0).long())
    for _ in range(steps):
        actions = player(obs)
        predicted = model.step(
            memory, torch.as_tensor(obs), torch.as_tensor(actions), temperature=0.0
        )
        step = envs.step(actions)
        right.extend(same_frame(predicted.next_obs, torch.as_tensor(step.obs)).numpy()[alive])
        alive &= ~(step.terminated | step.truncated)
        obs = step.obs
    return float(np.mean(right))


BOOKS = {
    "lost": "ball lost, and the game goes on",
    "ended": "game over, and the ball is in play",
    "unpaid": "brick gone, and nothing is paid",
    "paid": "paid, and no brick is gone",
}


def audit(dream: Dream, batches: int = 4, seed: int = 0) -> dict[str, float]:
    """How often a dream of Breakout says what its own pictures deny: four shares.

    A ball in the last row is lost, and then the game is over; a brick that is gone pays 1; nothing
    else ends or pays. The first two are shares of the lost balls and of the ends; the other two of
    the bricks and of the payments. Actions are random.
    """
    rng, total = np.random.default_rng(seed), dict.fromkeys([*BOOKS, *"LEBP"], 0)
    for _ in range(batches):
        for before, step in _at_random(dream, rng):
            lost = step.obs[:, 1, -1].any(axis=-1)
            gone = step.obs[:, 3].sum((1, 2)) < before[:, 3].sum((1, 2))
            counts = {"L": lost, "E": step.terminated, "B": gone, "P": step.rewards > 0}
            counts |= {"lost": lost & ~step.terminated, "ended": ~lost & step.terminated}
            counts |= {"unpaid": gone & (step.rewards == 0), "paid": ~gone & (step.rewards > 0)}
            for name, true in counts.items():
                total[name] += int((true & step.valid).sum())
    return {name: total[name] / max(total[of], 1) for name, of in zip(BOOKS, "LEBP", strict=True)}


@torch.no_grad()
def cell_chances(model: WorldModel, windows: Windows) -> Tensor:
    """Probability of each cell after the last step of ``windows`` (B, T): futures mixed.

    For a model without a chance token, which knows nothing else. Returns (B, C, H, W).
    """
    return _predict(model, windows).logits.sigmoid()


def _predict(
    model: WorldModel, windows: Windows, generator: torch.Generator | None = None
) -> Prediction:
    """What ``model`` says of the last step of each window, having read those before."""
    memory = model.start(windows.obs[:, :-1], windows.actions[:, :-1], windows.same_episode)
    return model.step(memory, windows.obs[:, -1], windows.actions[:, -1], generator)


def draw_futures(
    averaging: WorldModel, drawing: WorldModel, windows: Windows, axes: Sequence[Axes]
) -> None:
    """The step of ``windows`` whose ball may go two ways, four times: the frame before it, the
    average of all futures, one frame of cells tossed alone, one drawn by a chance token.
    """
    mixed = cell_chances(averaging, windows)
    ball = mixed[:, 1].flatten(1)
    doubt = int((ball * (1 - ball)).sum(1).argmax())
    generator = torch.Generator().manual_seed(0)
    tossed = (torch.rand(64, *mixed.shape[1:], generator=generator) < mixed[doubt]).float()
    ghosts = ~one_ball_one_paddle(tossed)
    draw_frame(windows.obs[doubt, -1], axes[0], "now")
    draw_frame(mixed[doubt], axes[1], "average of all futures")
    draw_frame(tossed[int(ghosts.int().argmax())], axes[2], "each cell tossed alone")
    drawn = _predict(drawing, windows, generator).next_obs
    draw_frame(drawn[doubt], axes[3], "one token drawn")


def draw_scores(
    runs: Sequence[Mapping], names: Mapping[str, str], ax: Axes, score: str = "return"
) -> Axes:
    """Interquartile mean, interval and dots of each agent's seeds; its CPU seconds by its name."""
    bars, dots = {}, {}
    for agent, label in names.items():
        if mine := [run for run in runs if run["agent"] == agent]:
            label = f"{label}, {np.mean([run['cpu'] for run in mine]):.0f} s"
            dots[label] = [run[score] for run in mine]
            bars[label] = _with_interval(dots[label])
    return plots.bars_with_intervals(
        bars, label="bricks per game, interquartile mean", runs=dots, ax=ax
    )


def verdicts(runs: Sequence[Mapping], mine: str, score: str = "return") -> dict[str, str]:
    """For each other agent: is ``mine`` above it, below it, or can the intervals not tell?

    Interquartile means over seeds; "above" and "below" where the 95 % intervals do not overlap.
    """
    agents = dict.fromkeys(run["agent"] for run in runs)
    found = {a: _with_interval([r[score] for r in runs if r["agent"] == a]) for a in agents}
    _, low, high = found.pop(mine)
    return {
        agent: "above" if low > its_high else "below" if high < its_low else "no verdict"
        for agent, (_, its_low, its_high) in found.items()
    }


def _with_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Interquartile mean and its 95 % bootstrap interval."""
    return iqm(values), *bootstrap_interval(values, iqm)
