"""Breakout learned in dreams from 6,000 real frames, against PPO and DQN with as many; 10 seeds.

A world model spends compute to save frames, and so does replay. So DQN stands here with several
numbers of gradient steps per frame, and every row says what it cost. Each learner's last policy
plays 100 greedy episodes in unseen environments, as in the benchmarks of PPO and DQN; what drawn
actions earn stands in the result, too. A difference is called clear where the 95 % bootstrap
intervals of the interquartile means do not overlap. Recipes were chosen on seeds below 100. The
dreamers have seeds of their own: earlier recipes of theirs were measured on others.
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Goal
from benchmarks.transformer_world_model import dream_runs
from course_lib.evaluation import bootstrap_interval, iqm

FRAMES = 6_000
# How many seeds each: eight gradient steps per frame cost as much as a world model.
PEERS = {"PPO": 10, "DQN 0.5": 10, "DQN 2": 10, "DQN 8": 4}
LIMIT = 170  # CPU seconds
FIRST_SEED = {"peers": 200, "dreams": 310}


def measure(quick: bool) -> dict:
    seeds = {who: list(range(x, x + (1 if quick else 10))) for who, x in FIRST_SEED.items()}
    runs = []
    for agent, number in PEERS.items():
        runs += [dream_runs.model_free(agent, FRAMES, seed) for seed in seeds["peers"][:number]]
        if quick and len(runs) == 2:
            break
    runs += [dream_runs.dream(seed)[0] for seed in seeds["dreams"]]
    return {
        "seeds": seeds["dreams"],
        "seeds_of_peers": seeds["peers"],
        "episodes": dream_runs.EPISODES,
        "runs": runs,
    }


def scores(runs: list[dict], agent: str, how: str = "return") -> list[float]:
    """What each seed's last policy earns per episode, greedily or with ``drawn`` actions."""
    return [run[how] for run in runs if run["agent"] == agent]


def judge(result: dict) -> list[Goal]:
    runs = result["runs"]
    mine = scores(runs, "dream")
    mean, (low, high) = iqm(mine), bootstrap_interval(mine, iqm)
    us = f"{mean:.2f} [{low:.2f}, {high:.2f}]"
    goals = []
    for agent in PEERS:
        theirs = scores(runs, agent)
        if not theirs:
            continue
        peer, (bottom, top) = iqm(theirs), bootstrap_interval(theirs, iqm)
        verdict = "above" if low > top else "below" if high < bottom else "inconclusive"
        cost = f"{cpu(runs, 'dream')} and {cpu(runs, agent)} CPU-s, {len(theirs)} seeds of the peer"
        required = agent != "DQN 8"
        goals.append(
            Goal(
                f"Breakout, {FRAMES:,} real frames: dream-trained policy against {named(agent)}",
                "above, 95 % intervals of the IQM apart" if required else "reported",
                f"{us} against {peer:.2f} [{bottom:.2f}, {top:.2f}]: {verdict}; {cost}",
                verdict == "above" or not required,
            )
        )
    goals.append(
        Goal(
            "Dream-trained policy, Breakout: worst seed",
            ">= 2.0 (random play 0.3)",
            f"{min(mine):.2f} of {len(mine)}: {', '.join(f'{x:.1f}' for x in sorted(mine))}",
            min(mine) >= 2,
        )
    )
    drawn = scores(runs, "dream", how="drawn")
    low, high = bootstrap_interval(drawn, iqm)
    goals.append(
        Goal(
            "Dream-trained policy, Breakout: with drawn actions",
            "reported",
            f"{iqm(drawn):.2f} [{low:.2f}, {high:.2f}], worst {min(drawn):.2f}",
            True,
        )
    )
    seconds = [run["cpu"] for run in runs if run["agent"] == "dream"]
    goals.append(
        Goal(
            "Dream-trained policy, Breakout: CPU time of the slowest seed, one core",
            f"<= {LIMIT} s",
            f"{max(seconds):.0f} s (median {np.median(seconds):.0f} s)",
            max(seconds) <= LIMIT,
        )
    )
    return goals


def named(agent: str) -> str:
    """A learner in words."""
    per_frame = agent.removeprefix("DQN ")
    return agent if agent == "PPO" else f"DQN, {per_frame} gradient steps per frame"


def cpu(runs: list[dict], agent: str) -> str:
    """Median CPU seconds of a learner's training."""
    return f"{np.median(scores(runs, agent, 'cpu')):.0f}"
