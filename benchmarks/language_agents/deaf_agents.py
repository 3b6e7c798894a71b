"""What a room gives away: agents that hear nothing, in two kinds of rooms.

The same agent and training as in `instruction_agents`, but every sentence is the same row of
zeros. In rooms of three things, one of the target's colour and one of its kind, the target is the
thing that both others resemble, so that one can find it without a word. In rooms of two colours by
two kinds nothing tells them apart. What is left in both is the verb. ``chance`` is the success of
somebody who hears nothing and guesses among all goals that can be reached in a room; ``rule`` that
of somebody who knows which thing is meant and guesses the verb.

In BabyAI's levels a *wanderer*, who turns or walks at random and picks up what lies before it half
of the time, says how much can be had there without listening.
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness import SHARE, Goal, by, fresh_seeds, mean_over_seeds, reported
from benchmarks.language_agents.instruction_agents import EPISODES, LEVELS, missions_of, verdict
from benchmarks.language_agents.instruction_runs import trained
from course_lib.evaluation import evaluate
from course_lib.lessons.language_agents import trials
from course_lib.worlds import commands, sentences
from course_lib.worlds.minigrid_rooms import BabyAI

# Chances of left, right, forward, pick up, toggle, done.
WANDERS = {"go to": (0.25, 0.25, 0.5, 0, 0, 0), "pick up": (0.125, 0.125, 0.25, 0.5, 0, 0)}
ROOMS = {"Commands": "two colours by two kinds", "CommandsSharing": "three things"}


def guesses(level: str, seed: int, count: int = 2_000) -> dict[str, float]:
    """Mean over rooms of 1 over the number of goals there, and over those of the target alone."""
    rng, training = np.random.default_rng((seed, 16)), sentences.training()
    found = {"chance": [], "rule": []}
    for _ in range(count):
        command = training[rng.integers(len(training))]
        things = commands.things_in_the_room(command, commands.LEVELS[level], rng)
        found["chance"].append(commands.chance(things, command.goal, heard=()))
        found["rule"].append(commands.chance(things, command.goal, heard=("colour", "kind")))
    return {name: round(float(np.mean(values)), 4) for name, values in found.items()}


def one_agent(level: str, seed: int, quick: bool) -> dict:
    training = sentences.training()
    agent, found = trained("deaf", seed, training, quick, level)
    won = trials.successes(agent, training, EPISODES, 10_000 + seed, level=level)
    run = {"rooms": ROOMS[level], "seed": seed, **found, "success": float(won.mean())}
    run |= guesses(level, seed)
    print({k: v for k, v in run.items() if k != "curve"}, flush=True)
    return run


def wanderer(level: str, seed: int) -> dict:
    """Success of random play in a level of BabyAI, by the level's own verifier."""
    missions = missions_of(level)
    envs, rng = (
        BabyAI(level, missions, num_envs=50, seed=10_000 + seed),
        np.random.default_rng(seed),
    )
    chances = WANDERS[LEVELS[level]]
    returns = evaluate(lambda obs: rng.choice(len(chances), len(obs), p=chances), envs, 200)
    return {"rooms": level, "seed": seed, "success": float((returns > 0).mean())}


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    runs = [one_agent(rooms, seed, quick) for seed in seeds for rooms in ROOMS]
    return {"seeds": seeds, "runs": runs + [wanderer(lv, s) for s in seeds for lv in LEVELS]}


def judge(result: dict) -> list[Goal]:
    runs, goals, seeds = by(result["runs"], "rooms"), [], len(result["seeds"])
    title = f"Sentences, nothing heard, {seeds} seeds, "
    for level in LEVELS:
        won = [run["success"] for run in runs.pop(level)]
        words = mean_over_seeds(won, within=SHARE)
        goals.append(reported(f"{title}a wanderer in {level}: success", words))
    for rooms, found in runs.items():
        won = [run["success"] for run in found]
        words = f"{mean_over_seeds(won, within=SHARE)}; by chance "
        words += f"{np.mean([run['chance'] for run in found]):.2f}, knowing the thing "
        words += f"{np.mean([run['rule'] for run in found]):.2f}"
        goals.append(reported(f"{title}{rooms}: success", words))
    matched, sharing = (np.array([r["success"] for r in found]) for found in runs.values())
    gap = f"{title}three things less two colours by two kinds"
    return [*goals, reported(gap, verdict(sharing - matched))]
