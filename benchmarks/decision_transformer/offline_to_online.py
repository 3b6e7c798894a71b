"""From a recording to the game: PPO from scratch, from a clone, from a clone that knows values.

The recording is that of a medium player of Breakout. *The clone* has PPO's network and imitates
it; its value head has learned nothing. *Clone and values* also fits the discounted returns of the
recording, in the same updates. Then PPO plays 40,000 frames, with the same settings for all three.
After each of the first updates, and after every second one later, 64 new games are played with
drawn actions. "The fall at first contact" is the lowest of the checks after the first four updates
less the check before them. Frames until 4 and 6 bricks are those of the first check that shows so
many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from benchmarks.decision_transformer.offline_runs import (
    data,
    discounted,
    drawn,
    learn,
    mean_of,
    once,
    paired,
    test,
    verdict,
)
from benchmarks.harness import Clock, Goal, by, fresh_seeds, mean_over_seeds, reported
from course_lib.rl import offline, ppo
from course_lib.rl.agent import Agent
from course_lib.rl.envs import make

FRAMES, LEVELS = 40_000, (4, 6)
CONFIG = replace(ppo.BREAKOUT, total_steps=FRAMES, minibatch_size=256)
CLONING = offline.Config(steps=1_200)
VALUE_COEF = 0.05  # of the squared error of values, beside the cloning loss
FIRST = 4  # updates after which every one is checked
SCRATCH, CLONE, VALUES = "from scratch", "from a clone", "from a clone with values"


def clone_with_values(agent: Agent, seed: int, steps: int) -> Iterator[dict[str, float]]:
    """As ``offline.train_cloning``, with a squared error of values added to the loss."""
    shown, rng = data("medium"), np.random.default_rng((seed, 1))
    returns = torch.from_numpy(discounted(shown.rewards, shown.ended, CONFIG.gamma))
    optimizer = torch.optim.AdamW(
        agent.network.parameters(), CLONING.learning_rate, weight_decay=CLONING.weight_decay
    )
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = CLONING.learning_rate * (1 - 0.95 * step / steps)
        rows = rng.integers(len(shown), size=CLONING.batch_size)
        policy, values = agent.network(shown.obs(rows))
        loss = -policy.logp(torch.from_numpy(shown.actions[rows])).mean()
        error = ((returns[rows] - values) ** 2).mean()
        optimizer.zero_grad()
        (loss + VALUE_COEF * error).backward()
        optimizer.step()
        yield {"loss": loss.item(), "value_error": error.item()}


def prepare(agent: Agent, start: str, seed: int, steps: int) -> dict:
    """Teach ``agent`` what its start asks for."""
    if start == SCRATCH:
        return {}
    if start == VALUES:
        return learn(clone_with_values(agent, seed, steps))
    return learn(offline.train_cloning(agent, data("medium"), replace(CLONING, steps=steps), seed))


def run(start: str, seed: int, quick: bool) -> dict:
    config = replace(CONFIG, total_steps=4_096) if quick else CONFIG

    def work() -> dict:
        envs = make("MinAtar/Breakout", config.num_envs, seed)
        agent = Agent(envs, config.agent, seed)
        prepared = prepare(agent, start, seed, 60 if quick else CLONING.steps)
        frames, checks = [0], [test(drawn(agent, seed), seed)]
        training = ppo.train(agent, envs, config, seed)
        with Clock() as clock:
            rows = list(_checked(training, lambda: test(drawn(agent, seed), seed), frames, checks))
        early = [x for x, at in zip(checks, frames, strict=True) if 0 < at <= FIRST * _rollout()]
        return {
            "start": start, "seed": seed, "prepared_cpu": prepared.get("cpu", 0.0),
            "cpu_with_checks": round(clock.cpu, 1), "before": checks[0], "lowest": min(early),
            "fall": round(min(early) - checks[0], 3), "end": checks[-1],
            **{f"to_{level}": reach(frames, checks, level) for level in LEVELS},
            "explained": [round(row["explained"], 3) for row in rows[:FIRST]],
            "frames": frames, "curve": checks,
        }  # fmt: skip

    name = f"online_{start.replace(' ', '_')}_{FRAMES}_{CLONING.steps}_{seed}"
    return once(name, work, quick)


def _rollout() -> int:
    return CONFIG.num_envs * CONFIG.rollout_length


def _checked(training, check, frames: list[int], checks: list[float]) -> Iterator[dict]:
    """Let PPO train, and test it after each of the first updates and every second one later."""
    row = None
    for update, row in enumerate(training, start=1):
        if update <= FIRST or update % 2 == 0:
            frames.append(int(row["steps"]))
            checks.append(check())
        yield row
    if frames[-1] != int(row["steps"]):
        frames.append(int(row["steps"]))
        checks.append(check())


def reach(frames: list[int], checks: list[float], level: float) -> int | None:
    """Frames at the first check that shows so many bricks; None if there is none."""
    return next((at for at, x in zip(frames, checks, strict=True) if x >= level), None)


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    starts = (SCRATCH, CLONE, VALUES)
    runs = [run(start, seed, quick) for seed in seeds for start in starts]
    return {"seeds": seeds, "frames": FRAMES, "runs": runs}


def frames_to(runs: list[dict], level: int) -> str:
    """Median over seeds, those that never got there counted as later than all, and how many did."""
    times = [run[f"to_{level}"] for run in runs]
    there = sum(x is not None for x in times)
    middle = float(np.median([np.inf if x is None else x for x in times]))
    median = f"median {middle:,.0f}" if np.isfinite(middle) else "median: never"
    return f"{median}, {there} of {len(times)} seeds"


def judge(result: dict) -> list[Goal]:
    runs, goals, seeds = by(result["runs"], "start"), [], len(result["seeds"])
    title = f"Breakout, PPO {result['frames']:,} frames, {seeds} seeds, "
    for start, rows in runs.items():
        fall = mean_over_seeds([run["fall"] for run in rows], "+.2f")
        words = f"before {mean_of(rows, 'before')}; lowest of the first {FIRST} updates "
        words += f"{mean_of(rows, 'lowest')}, a change of {fall}; end {mean_of(rows, 'end')}"
        goals.append(reported(f"{title}{start}: bricks", words))
        words = "; ".join(f"{level}: {frames_to(rows, level)}" for level in LEVELS)
        goals.append(reported(f"{title}{start}: frames until so many bricks", words))
    for one, other in ((CLONE, SCRATCH), (VALUES, SCRATCH), (VALUES, CLONE)):
        end = verdict(paired(runs[one], runs[other], "end"))
        words = f"at the end {end}"
        if other != SCRATCH:
            low = verdict(paired(runs[one], runs[other], "lowest"))
            words += f"; lowest of the first {FIRST} updates {low}"
        goals.append(reported(f"{title}{one} against {other}", words))
    return goals
