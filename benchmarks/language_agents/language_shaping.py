"""Language as a shaping reward: a wrong deed is paid by how much it sounds like the command.

The agent that reads with MiniLM, trained once with the task's own reward and once with
`instruction_runs.Shaped`, which pays half the cosine between the sentence and a sentence that says
what was done. The runs without shaping are those of `instruction_agents`.
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness import SHARE, Goal, by, fresh_seeds, mean_over_seeds, reported
from benchmarks.language_agents.instruction_agents import EPISODES, KIND, verdict
from benchmarks.language_agents.instruction_runs import trained
from course_lib.lessons.language_agents import trials
from course_lib.worlds import sentences

ROWS = ("seen", "held-out pair", "both synonyms")
# Shares of the frames after which the curves are compared; the first was added after seeing them.
EARLY = {"a quarter": 0.25, "half": 0.5}
NAMES = {False: "the task's reward", True: "shaped"}


def one_agent(shaped: bool, seed: int, quick: bool) -> dict:
    agent, found = trained(KIND, seed, sentences.training(), quick, shaped=shaped)
    rows = sentences.rows(seed)
    asked = {name: rows[name] for name in ROWS}
    run = {"reward": NAMES[shaped], "seed": seed, **found}
    run["success"] = trials.table(agent, asked, EPISODES, 10_000 + seed)
    print({k: v for k, v in run.items() if k != "curve"}, flush=True)
    return run


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    return {"seeds": seeds, "runs": [one_agent(r, s, quick) for s in seeds for r in NAMES]}


def judge(result: dict) -> list[Goal]:
    runs, goals, seeds = by(result["runs"], "reward"), [], len(result["seeds"])
    title = f"Sentences, {KIND}, {seeds} seeds, "
    plain, shaped = (runs[name] for name in NAMES.values())
    for words, share in EARLY.items():
        won = [_by_then(found, share) for found in (plain, shaped)]
        means = " and ".join(mean_over_seeds(values, within=SHARE) for values in won)
        goals.append(
            reported(
                f"{title}training success after {words} of the frames, without and with shaping",
                f"{means}; shaped less not {verdict(won[1] - won[0])}",
            )
        )
    for row in ROWS:
        values = [np.array([r["success"][row] for r in found]) for found in (plain, shaped)]
        words = " and ".join(mean_over_seeds(v, within=SHARE) for v in values)
        words += f"; shaped less not {verdict(values[1] - values[0])}"
        goals.append(reported(f"{title}{row}: success without and with shaping", words))
    return goals


def _by_then(runs: list[dict], share: float) -> np.ndarray:
    """Share of training episodes that succeeded after that share of the frames, by seed."""
    return np.array([run["curve"][int(share * len(run["curve"])) - 1][1] for run in runs])
