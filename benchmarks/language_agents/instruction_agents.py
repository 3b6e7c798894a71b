"""An agent that follows sentences: what it understands, by what it reads them with.

Six agents, alike but for the reader of sentences (`lessons/language_agents/trials.py`), are trained
by the same PPO on the same 180 sentences, as many frames each. Every one is then asked for each row
of the table of generalisation, 400 episodes with drawn actions, and for pairs of sentences in one
room. Sentences replaced by the nearest one of training (the "look-up") are played by the agent that
reads with MiniLM. That agent also takes its final exam in the package MiniGrid itself: the same
task, played by MiniGrid's own step and views, and two levels of BabyAI with BabyAI's own verifier.

The settings were chosen by about a dozen runs on seeds 0 to 2: 16 whitened components out of 12,
16, 20, 32 and 64, for MiniLM; how long to train. The bag of words has the same 16, and once all 24.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.harness import (
    SHARE,
    Goal,
    at_least,
    at_most,
    by,
    fresh_seeds,
    mean_over_seeds,
    reported,
)
from benchmarks.language_agents.instruction_runs import trained
from course_lib.agents.instructions import InstructionAgent
from course_lib.evaluation import evaluate, t_interval
from course_lib.lessons.language_agents import trials
from course_lib.worlds import sentences
from course_lib.worlds.minigrid_rooms import BabyAI, MiniGridRooms
from course_lib.worlds.sentences import Command

EPISODES, ROOMS = 400, 200
TELLS_GOAL = ("seen", "held-out pair", "shuffled")  # rows that a goal code can be asked for
LEVELS = {"BabyAI-GoToLocalS6N4-v0": "go to", "BabyAI-PickupLoc-v0": "pick up"}
KIND = trials.LANGUAGE[0]
READERS = trials.READERS[:-1]


def rows_for(kind: str, seed: int) -> dict[str, list[Command]]:
    rows = sentences.rows(seed)
    return rows if kind in trials.LANGUAGE else {name: rows[name] for name in TELLS_GOAL}


def exam(agent: InstructionAgent, rows: dict[str, list[Command]], seed: int) -> dict[str, float]:
    """Success in MiniGrid, and in two levels of BabyAI, told the mission and told nothing."""
    found = {}
    for name in ("seen", "blank", "shuffled"):
        won = trials.successes(agent, rows[name], EPISODES, seed, physics=MiniGridRooms)
        found[f"MiniGrid, {name}"] = float(won.mean())
    before = agent.sentences
    for level in LEVELS:
        missions = missions_of(level)
        for name in ("told", "blank"):
            envs = BabyAI(level, missions, num_envs=50, seed=seed)
            told = [c.sentence if name == "told" else sentences.BLANK for c in missions]
            agent.hear(told)
            returns = evaluate(trials.player(agent, seed), envs, EPISODES // 2)
            found[f"{level}, {name}"] = float((returns > 0).mean())
    agent.hear(before)
    return found


def missions_of(level: str) -> list[Command]:
    """The plain sentences of training that a level of BabyAI may say as its mission."""
    plain = sentences.training((LEVELS[level],), templates=1)
    return [command for command in plain if command.goal.kind != "door"]


def one_agent(kind: str, seed: int, quick: bool) -> dict:
    training = sentences.training()
    agent, found = trained(kind, seed, training, quick)
    rows, test = rows_for(kind, seed), 10_000 + seed
    pairs = trials.paired(agent, training, ROOMS, test)
    run = {"reader": kind, "seed": seed, **found}
    run["success"] = trials.table(agent, rows, EPISODES, test)
    run |= {"first": float(pairs[0].mean()), "both": float(pairs.all(0).mean())}
    if kind == KIND:
        run["looked_up"] = trials.looked_up(agent, rows, training, EPISODES, test)
        run["exam"] = exam(agent, rows, test)
    print({k: v for k, v in run.items() if k != "curve"}, flush=True)
    return run


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    kinds = READERS[:1] if quick else READERS
    jobs = [(k, s) for k in kinds for s in (seeds if k in trials.LANGUAGE else seeds[:5])]
    return {"seeds": seeds, "runs": [one_agent(kind, seed, quick) for kind, seed in jobs]}


def shares(runs: Sequence[dict], part: str, row: str) -> np.ndarray:
    return np.array([run[part][row] for run in runs])


def verdict(difference: np.ndarray) -> str:
    """A mean difference by seed, its t interval, and whether it is off zero."""
    mean, low, high = t_interval(difference)
    word = "ahead" if low > 0 else "behind" if high < 0 else "no clear difference"
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]: {word}"


def frames_to(run: dict, share: float = 0.9) -> float:
    """Frames until that share of the last episodes succeeded; infinite where it never did."""
    return next((frames for frames, won in run["curve"] if won >= share), np.inf)


def judge(result: dict) -> list[Goal]:
    runs, seeds = by(result["runs"], "reader"), len(result["seeds"])
    title = f"Sentences, {seeds} seeds, "  # goal codes: of five seeds
    return [
        *_training(runs, title),
        *_exam(runs[KIND], title),
        *_rows(runs, title),
        *_readers(runs, title),
    ]


def _training(runs: dict, title: str) -> list[Goal]:
    goals = []
    for kind, found in runs.items():
        cpu, frames = [run["cpu"] for run in found], found[0]["frames"]
        reached = [frames_to(run) for run in found]
        middle = np.median(reached)
        words = f"{middle:,.0f} frames" if np.isfinite(middle) else "never"
        words += f" (median; {np.isfinite(reached).sum()} of "
        words += f"{len(found)} seeds get there); {np.mean(cpu):.0f} CPU-s for {frames:,} frames"
        goals.append(reported(f"{title}{kind}: until 90 % of training episodes succeed", words))
    most = max(run["cpu"] for run in runs[KIND])
    return [*goals, at_most(f"{title}{KIND}: CPU seconds of the slowest", 60, most, form=".0f")]


def _exam(found: list[dict], title: str) -> list[Goal]:
    limits = {"MiniGrid, blank": 0.05, "MiniGrid, shuffled": 0.25}
    goals = []
    for name in found[0]["exam"]:
        values = shares(found, "exam", name)
        words = f"{mean_over_seeds(values, within=SHARE)} (lowest {values.min():.2f}, highest "
        words += f"{values.max():.2f})"
        what = f"{title}{KIND}: success in {name}"
        if name == "MiniGrid, seen":
            passed = int((values >= 0.9).sum())
            need = int(np.ceil(0.9 * len(values)))
            what += "; seeds with at least 0.9"
            goals.append(at_least(what, need, passed, f"{passed} of {len(values)}; {words}"))
        elif name in limits:
            goals.append(at_most(what, limits[name], float(values.mean()), words))
        else:
            goals.append(reported(what, words))
    return goals


def _rows(runs: dict, title: str) -> list[Goal]:
    """The table of generalisation, the trained map against the look-up, and pairs in one room."""
    goals = []
    for kind, found in runs.items():
        for row in found[0]["success"]:
            words = mean_over_seeds(shares(found, "success", row), within=SHARE)
            goals.append(reported(f"{title}{kind}: success, {row}", words))
        both = [run["both"] for run in found]
        words = f"{mean_over_seeds(both, within=SHARE)}; the first of the two "
        words += mean_over_seeds([run["first"] for run in found], within=SHARE)
        goals.append(reported(f"{title}{kind}: both sentences for one room", words))
    found = runs[KIND]
    for row in found[0]["looked_up"]:
        looked = shares(found, "looked_up", row)
        words = mean_over_seeds(looked, within=SHARE)
        ahead = shares(found, "success", row) - looked
        words += f"; the trained map less the look-up {verdict(ahead)}"
        goals.append(reported(f"{title}look-up: success, {row}", words))
    for row, sign in (("held-out pair", 1), ("both synonyms", -1)):
        mapped, looked = (shares(found, part, row) for part in ("success", "looked_up"))
        gap = sign * (mapped - looked)
        apart = t_interval(sign * mapped)[1] > t_interval(sign * looked)[2]
        names = ("the map less the look-up", "the look-up less the map")[sign < 0]
        words = f"{verdict(gap)}; t intervals {'apart' if apart else 'not apart'}"
        met = bool(gap.mean() >= 0.25 and apart)
        goals.append(Goal(f"{title}{row}: {names}", ">= 0.25, intervals apart", words, met))
    return goals


def _readers(runs: dict, title: str) -> list[Goal]:
    """Does pretraining pay? MiniLM less each other reader of words, row by row."""
    if not all(kind in runs for kind in trials.LANGUAGE):
        return []
    goals = []
    for other in trials.LANGUAGE[1:]:
        for row in runs[KIND][0]["success"]:
            mine, theirs = (shares(runs[kind], "success", row) for kind in (KIND, other))
            goals.append(reported(f"{title}{row}: {KIND} less {other}", verdict(mine - theirs)))
    return goals
