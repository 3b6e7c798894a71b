"""The same game, another player: pretrain on a learner's replay, then see a little of the expert.

A transformer without returns (cloning with a memory of eight steps) reads the replay of a PPO run
on Breakout. Then it is fine-tuned on about 540 frames of another player, the expert, whole episodes
drawn by the seed. Against it stand the same transformer from scratch on these 540 frames, in as
many updates as the fine-tuning and in as many as pretraining and fine-tuning have together, and the
pretrained one as it was. Scores are mean returns of 64 games with drawn actions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.decision_transformer.offline_runs import (
    data,
    learn,
    mean_of,
    once,
    paired,
    played,
    transformer,
    verdict,
)
from benchmarks.harness import Goal, at_least, at_most, by, fresh_seeds, reported
from course_lib.agents import decision_transformer as dt
from course_lib.evaluation import t_interval
from course_lib.rl.dataset import Dataset

FRAMES = 480  # at least so many of the expert's, in whole episodes: about 540 on average
BASE = dt.Config(returns=False, steps=500)
SCRATCH = replace(BASE, steps=150, warmup=20)
FINE = replace(SCRATCH, learning_rate=3e-4)
LONG = replace(SCRATCH, steps=BASE.steps + FINE.steps)
ALONE, TUNED, NEW, LONGER = (
    "pretrained, not fine-tuned",
    "pretrained, then fine-tuned",
    "from scratch",
    "from scratch, as many updates as both together",
)


def a_little(seed: int) -> Dataset:
    """Whole episodes of the expert, in an order drawn by ``seed``, until there are ``FRAMES``."""
    expert = data("expert")
    order = np.random.default_rng((seed, 8)).permutation(len(expert.returns))
    lengths = (expert.ends - expert.starts + 1)[order]
    return expert.only(order[: np.searchsorted(lengths.cumsum(), FRAMES) + 1])


def scored(what: str, seed: int, shown: Dataset, model, found: dict) -> dict:
    model.eval()
    return {
        "what": what, "seed": seed, "frames": len(shown), **found, "drawn": played(model, seed),
        "greedy": played(model, seed, greedy=True),
    }  # fmt: skip


def short(config: dt.Config, quick: bool) -> dt.Config:
    return replace(config, steps=config.steps // 15) if quick else config


def players(seed: int, quick: bool) -> list[dict]:
    """Pretrained and from scratch."""

    def work() -> list[dict]:
        few, replay, runs = a_little(seed), data(), []
        model = transformer(seed, BASE)
        found = learn(dt.train(model, replay, short(BASE, quick), seed))
        runs.append(scored(ALONE, seed, replay, model, found))
        model.train()
        found = learn(dt.train(model, few, short(FINE, quick), seed))
        runs.append(scored(TUNED, seed, few, model, found))
        for name, config in ((NEW, SCRATCH), (LONGER, LONG)):
            model = transformer(seed, config)
            found = learn(dt.train(model, few, short(config, quick), seed))
            runs.append(scored(name, seed, few, model, found))
        return runs

    return once(f"another_{BASE.steps}_{FINE.steps}_{seed}", work, quick)


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    return {"seeds": seeds, "runs": [run for seed in seeds for run in players(seed, quick)]}


def judge(result: dict) -> list[Goal]:
    runs, goals, seeds = by(result["runs"], "what"), [], len(result["seeds"])
    title = f"Breakout, another player, {seeds} seeds, "
    for what, rows in runs.items():
        frames = [run["frames"] for run in rows]
        about = f"{np.mean(frames):,.0f} frames, {rows[0]['steps']:,} updates"
        words = f"{mean_of(rows, 'drawn')} (greedy {mean_of(rows, 'greedy')})"
        name = f"{title}{what} ({about}): bricks"
        mean = float(np.mean([run["drawn"] for run in rows]))
        limits = {TUNED: (at_least, 5), NEW: (at_most, 4)}
        if what in limits:
            limit, number = limits[what]
            goals.append(limit(name, number, mean, words))
        else:
            goals.append(reported(name, words))
    (_, low, _), (_, _, high) = (
        t_interval([run["drawn"] for run in runs[what]]) for what in (TUNED, NEW)
    )
    goals.append(
        Goal(
            f"{title}{TUNED} against {NEW}",
            "the t intervals lie apart",
            f"{verdict(paired(runs[TUNED], runs[NEW], 'drawn'))}; lower end {low:.2f} against "
            f"upper end {high:.2f}",
            bool(low > high),
        )
    )
    for one, other in ((TUNED, LONGER), (TUNED, ALONE)):
        words = verdict(paired(runs[one], runs[other], "drawn"))
        loss = paired(runs[one], runs[other], "loss")
        words += f"; loss in training {verdict(loss, 'higher', 'lower', '.3f')}"
        goals.append(reported(f"{title}{one} against {other}", words))
    return goals
