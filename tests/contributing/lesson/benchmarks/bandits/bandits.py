"""Bandits: UCB1 and greed on three arms, the regret after 2,000 pulls."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Goal
from course_lib.rl import bandits

CHANCES = np.array([0.2, 0.5, 0.8])


def measure(quick: bool) -> dict:
    seeds = list(range(200, 205 if quick else 220))
    runs = []
    for seed in seeds:
        for width in (0.0, 1.0):
            end = list(bandits.train(CHANCES, bandits.Config(width=width), seed))[-1]
            runs.append({"seed": seed, "width": width, "regret": end["regret"]})
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    lost = {
        width: [run["regret"] for run in result["runs"] if run["width"] == width]
        for width in (0.0, 1.0)
    }
    return [
        Goal(
            "UCB1, three arms, 2,000 pulls: largest regret of any seed",
            "<= 150",
            f"{max(lost[1.0]):.0f}",
            max(lost[1.0]) <= 150,
        ),
        Goal(
            "greed, the same: largest regret of any seed",
            "reported",
            f"{max(lost[0.0]):.0f}",
            True,
        ),
    ]
