"""Bandits: UCB1 and greed on three arms, the regret after 2,000 pulls."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Goal, at_most, by, fresh_seeds, reported
from course_lib.rl import bandits

CHANCES = np.array([0.2, 0.5, 0.8])


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(5 if quick else 20)
    runs = []
    for seed in seeds:
        for width in (0.0, 1.0):
            end = list(bandits.train(CHANCES, bandits.Config(width=width), seed))[-1]
            runs.append({"seed": seed, "width": width, "regret": end["regret"]})
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    lost = {
        width: max(run["regret"] for run in runs)
        for width, runs in by(result["runs"], "width").items()
    }
    return [
        at_most(
            "UCB1, three arms, 2,000 pulls: largest regret of any seed", 150, lost[1.0], form=".0f"
        ),
        reported("greed, the same: largest regret of any seed", f"{lost[0.0]:.0f}"),
    ]
