"""Figures of lesson 13 and its deck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from course_lib.classroom import plots
from course_lib.evaluation import committed_result, t_interval
from course_lib.lessons.decision_transformer.gamble import PAYOFFS, conditioned
from course_lib.rl.dataset import Dataset
from course_lib.rl.envs import Envs, Step
from course_lib.worlds import crossing


def draw_returns(games: Mapping[str, Dataset], axes: Sequence[Axes]) -> None:
    """How the returns of each record's games are spread, a histogram each."""
    most = max(data.returns.max() for data in games.values())
    for ax, (kind, data) in zip(axes, games.items(), strict=True):
        share = np.full(len(data.returns), 100 / len(data.returns))
        ax.hist(data.returns, bins=np.arange(-0.5, most + 1.5), weights=share)
        ax.axvline(data.returns.mean(), color=plots.INK, ls="--", lw=1.5)
        ax.set(title=f"{kind}: mean {data.returns.mean():.1f}", xlabel="return of a game, bricks")
    axes[0].set_ylabel("games, %")


def draw_asked(ax: Axes, mine: Mapping[float, float] | None = None) -> Axes:
    """Return asked for against return got: ten committed models, and the learner's own."""
    runs = committed_result("offline_ladder")["runs"]
    for i, (key, name) in enumerate({"got": "actions drawn", "got_greedy": "greedy"}.items()):
        tables = [run[key] for run in runs if key in run]
        asked = [float(ask) for ask in tables[0]]
        found = np.array([list(table.values()) for table in tables])  # (seeds, asks)
        middle, low, high = np.array([t_interval(column) for column in found.T]).T
        look = {"color": plots.COLORS[i], "ls": plots.LINES[i], "marker": plots.MARKERS[i]}
        ax.plot(asked, middle, label=f"{name} ({len(tables)} seeds)", **look)
        ax.fill_between(asked, low, high, color=plots.COLORS[i], alpha=0.18, lw=0)
    ax.plot([0, 25], [0, 25], color=plots.GREY, lw=1, label="got what was asked for")
    if mine:
        ax.plot(*zip(*mine.items(), strict=True), "k*", ms=13, ls="", label="yours, drawn")
    ax.set(xlabel="return asked for, bricks", ylabel="return got, bricks", ylim=(0, 20))
    ax.legend()
    return ax


def draw_gamble(axes: Sequence[Axes]) -> dict[float, dict[str, float]]:
    """What an ideal model does for each return it is asked for, and what that earns on average."""
    found = conditioned()
    asked = [f"ask {ask:g}" for ask in found]
    doors = list(PAYOFFS)
    left = np.zeros(len(found))
    for i, door in enumerate(doors):
        share = np.array([row[door] for row in found.values()])
        axes[0].bar(asked, share, bottom=left, color=plots.COLORS[i], label=door, width=0.6)
        left += share
    axes[0].set(ylabel="chance of each door", ylim=(0, 1.25))
    axes[0].legend(loc="upper center", ncols=2)
    axes[1].bar(asked, [row["earns"] for row in found.values()], color=plots.COLORS[2], width=0.6)
    axes[1].set(ylabel="earned on average")
    return found


def draw_crossing(ax: Axes, shares: np.ndarray | None = None, title: str = "") -> Axes:
    """The maze; ``shares`` (S,) says how often walkers came to each cell, darker for more."""
    picture = np.full((len(crossing.LAYOUT), len(crossing.LAYOUT[0])), np.nan)
    for number, (row, column) in enumerate(crossing.CELLS):
        picture[row, column] = 0.0 if shares is None else shares[number]
    ax.imshow(np.ma.masked_invalid(picture), cmap="Blues", vmin=0, vmax=1.3)
    for row, column in crossing.CELLS:
        words = NAMES.get(crossing.LAYOUT[row][column])
        if words:
            ax.text(column, row, words, ha="center", va="center", size=10, linespacing=0.95)
    ax.set(xticks=[], yticks=[], title=title)
    ax.set_facecolor("#555555")
    ax.grid(False)
    return ax


WALKERS = {  # of `benchmarks/decision_transformer/stitching.py`, as figures call them
    "cloning": "clone of all",
    "cloning the best tenth": "clone of the best tenth",
    "decision transformer, drawn": "decision transformer",
    "one-step values": "one-step values",
    "conservative Q-learning": "CQL",
    "conservative Q-learning, alpha 0.1": "CQL, alpha 0.1",
    "implicit Q-learning": "IQL",
    "dynamic programming": "dynamic programming",
}
NAMES = {"A": "A", "B": "B", "T": "trap\n0", "G": "goal\n10", "x": "prize\n3"}


def draw_walkers(ax: Axes, start: str) -> Axes:
    """The share of walkers from ``start``, "A" or "B", who reach the goal, learner by learner."""
    runs = committed_result("stitching")["runs"]
    shares = {
        shown: [r["reached"] for r in runs if (r["method"], r["start"]) == (method, start)]
        for method, shown in WALKERS.items()
    }
    bars = {name: np.clip(t_interval(values), 0, 1) for name, values in shares.items()}
    look = {"label": f"share at the goal, from {start}", "interval": "95 % t interval"}
    return plots.bars_with_intervals(bars, runs=shares, ax=ax, **look)


LADDER = {  # of `offline_ladder`, as the figure calls them
    "cloning": "clone of all",
    "cloning the best tenth": "clone of the best tenth",
    "decision transformer": "decision transformer",
    "the same without returns": "the same without returns",
    "implicit Q-learning": "IQL",
    "conservative Q-learning": "CQL",
    "plain Q-learning": "offline DQN",
}


def draw_ladder(ax: Axes, key: str, names: Mapping[str, str] = LADDER) -> Axes:
    """The learners of one record: mean return over seeds, ``key`` "drawn" or "greedy"."""
    runs = committed_result("offline_ladder")["runs"]
    scores = {
        shown: [run[key] for run in runs if run["method"] == method and key in run]
        for method, shown in names.items()
    }
    scores = {name: values for name, values in scores.items() if values}
    bars = {name: t_interval(values) for name, values in scores.items()}
    title = {"drawn": "drawn actions", "greedy": "greedy actions"}[key]
    look = {"label": f"bricks, {title}", "interval": "95 % t interval"}
    return plots.bars_with_intervals(bars, runs=scores, ax=ax, **look)


PLAYERS = {  # of `another_player`, as the figure calls them
    "pretrained, not fine-tuned": "pretrained alone",
    "pretrained, then fine-tuned": "then fine-tuned",
    "from scratch": "from scratch",
    "from scratch, as many updates as both together": "from scratch, longer",
}


def draw_another_player(ax: Axes) -> Axes:
    """540 frames of another player: with and without pretraining on the replay."""
    runs = committed_result("another_player")["runs"]
    scores = {
        shown: [run["drawn"] for run in runs if run["what"] == what]
        for what, shown in PLAYERS.items()
    }
    bars = {name: t_interval(values) for name, values in scores.items()}
    look = {"label": "bricks, drawn actions", "interval": "95 % t interval"}
    return plots.bars_with_intervals(bars, runs=scores, ax=ax, **look)


def draw_value_probe(ax: Axes, labels: int) -> Axes:
    """How much of the returns frozen features explain, from so many labelled frames."""
    runs = [run for run in committed_result("value_probe")["runs"] if run["labels"] == labels]
    names = dict.fromkeys(run["features"] for run in runs)
    scores = {name: [run["r2"] for run in runs if run["features"] == name] for name in names}
    bars = {name: t_interval(values) for name, values in scores.items()}
    look = {"label": f"R², {labels:,} labels", "interval": "95 % t interval"}
    return plots.bars_with_intervals(bars, runs=scores, ax=ax, **look)


def draw_online(ax: Axes) -> Axes:
    """PPO after a clone: bricks of drawn actions against frames played, from three starts."""
    runs = committed_result("offline_to_online")["runs"]
    curves: dict[str, list[dict]] = {}
    for run in runs:
        curve = {"steps": run["frames"], "return": run["curve"]}
        curves.setdefault(run["start"], []).append(curve)
    plots.learning_curves(curves, band="t", ax=ax)
    ax.set(xlabel="frames of PPO", ylabel="bricks", ylim=(0, 11))
    ax.legend(loc="upper left", fontsize=11, title="band: 95 % t interval", title_fontsize=11)
    return ax


class Filmed:
    """Environments that keep a picture of the first of them at every step, in ``frames``."""

    def __init__(self, envs: Envs):
        self.envs, self.num_envs = envs, envs.num_envs
        self.frames: list[np.ndarray] = []  # (H, W, 3) uint8 each

    def reset(self) -> np.ndarray:
        obs = self.envs.reset()
        self.frames.append(self.envs.render(0))
        return obs

    def step(self, actions: np.ndarray) -> Step:
        step = self.envs.step(actions)
        self.frames.append(self.envs.render(0))
        return step
