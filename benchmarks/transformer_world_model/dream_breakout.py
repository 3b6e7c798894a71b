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

from benchmarks.harness import Goal, by, iqm_over_seeds, reported
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


def judge(result: dict) -> list[Goal]:
    runs = by(result["runs"], "agent")
    scores = {agent: [run["return"] for run in of] for agent, of in runs.items()}
    cpu = {agent: f"{np.median([run['cpu'] for run in of]):.0f}" for agent, of in runs.items()}
    mine = scores["dream"]
    low, high = bootstrap_interval(mine, iqm)
    goals = []
    for agent in (name for name in PEERS if name in runs):
        theirs = scores[agent]
        bottom, top = bootstrap_interval(theirs, iqm)
        verdict = "above" if low > top else "below" if high < bottom else "inconclusive"
        required = agent != "DQN 8"
        goals.append(
            Goal(
                f"Breakout, {FRAMES:,} real frames: dream-trained policy against {named(agent)}",
                "above, 95 % intervals of the IQM apart" if required else "reported",
                f"{iqm_over_seeds(mine)} against {iqm_over_seeds(theirs)}: "
                f"{verdict}; {cpu['dream']} and {cpu[agent]} CPU-s, "
                f"{len(theirs)} seeds of the peer",
                verdict == "above" or not required,
            )
        )
    drawn = [run["drawn"] for run in runs["dream"]]
    seconds = [run["cpu"] for run in runs["dream"]]
    return [
        *goals,
        Goal(
            "Dream-trained policy, Breakout: worst seed",
            ">= 2.0 (random play 0.4)",
            f"{min(mine):.2f} of {len(mine)}: {', '.join(f'{x:.1f}' for x in sorted(mine))}",
            min(mine) >= 2,
        ),
        reported(
            "Dream-trained policy, Breakout: with drawn actions",
            f"{iqm_over_seeds(drawn)}, worst {min(drawn):.2f}",
        ),
        Goal(
            "Dream-trained policy, Breakout: CPU time of the slowest seed, one core",
            f"<= {LIMIT} s",
            f"{max(seconds):.0f} s (median {np.median(seconds):.0f} s)",
            max(seconds) <= LIMIT,
        ),
    ]


def named(agent: str) -> str:
    """A learner in words."""
    per_frame = agent.removeprefix("DQN ")
    return agent if agent == "PPO" else f"DQN, {per_frame} gradient steps per frame"
