"""What agents do where they fail: the wrong thing, the thing that was named beside, or nothing.

The agents of `instruction_agents` with MiniLM and with all 24 words, 400 rooms a row, one episode
each: *right*, *out of time* (nothing was done until the clock ran out), *the other* (the other
thing that the sentence names, in the rows "negation" and "relation"), or *wrong* in another way.
And without any agent: for how many sentences the nearest one of training has the right goal, by all
384 numbers of MiniLM and by the 16 whitened ones that the agent hears.
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness import SHARE, Goal, by, fresh_seeds, mean_over_seeds, reported
from benchmarks.language_agents.instruction_runs import trained
from course_lib.agents import instructions
from course_lib.lessons.language_agents import trials
from course_lib.worlds import sentences

KINDS = ("MiniLM", "bag of words, all 24")
ROOMS = 400
NAMES = ("right", "wrong", "the other", "out of time")
ROWS = (
    *("paraphrase", "new verb", "held-out pair", "colour synonym", "kind synonym"),
    *("both synonyms", "negation", "relation", "free words"),
)


def one_agent(kind: str, seed: int, quick: bool) -> list[dict]:
    agent, _ = trained(kind, seed, sentences.training(), quick)
    rows, runs = sentences.rows(seed), []
    for row in ROWS:
        found = trials.outcomes(agent, rows[row], ROOMS, 10_000 + seed)
        shares = {name: float((found == number).mean()) for number, name in enumerate(NAMES)}
        runs.append({"reader": kind, "seed": seed, "row": row, **shares})
    return runs


def nearest_goals() -> list[dict]:
    """Share of a row's sentences whose nearest one of training asks for the same, seed 0's row."""
    training = sentences.training()
    texts = [command.sentence for command in training]
    goals = {command.sentence: command.goal for command in training}
    whitened = instructions.whitened(trials.minilm(), texts)
    runs = []
    for row in ROWS:
        commands = sentences.rows()[row]
        run = {"reader": "nearest", "row": row}
        for name, encoder in {"all 384": trials.minilm(), "16 whitened": whitened}.items():
            known = instructions.nearest(encoder, texts)([c.sentence for c in commands])
            right = [goals[text] == c.goal for text, c in zip(known, commands, strict=True)]
            run[name] = float(np.mean(right))
        runs.append(run)
    return runs


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    runs = [run for kind in KINDS for seed in seeds for run in one_agent(kind, seed, quick)]
    return {"seeds": seeds, "runs": runs + nearest_goals()}


def judge(result: dict) -> list[Goal]:
    runs, goals, seeds = by(result["runs"], "reader", "row"), [], len(result["seeds"])
    for (reader, row), found in runs.items():
        if reader == "nearest":
            words = ", ".join(
                f"{found[0][name]:.2f} by {name}" for name in ("all 384", "16 whitened")
            )
            goals.append(reported(f"Sentences, nearest one has the right goal, {row}", words))
            continue
        parts = {name: [run[name] for run in found] for name in NAMES}
        words = "; ".join(
            f"{name} {mean_over_seeds(shares, within=SHARE)}"
            for name, shares in parts.items()
            if max(shares) > 0
        )
        goals.append(reported(f"Sentences, {seeds} seeds, {reader}: what is done, {row}", words))
    return goals
