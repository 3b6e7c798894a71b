"""What breaks in DQN without a target network, without replay, and with wrong ends of episodes.

All variants train on CartPole-v1 with `dqn.CARTPOLE` and the same budget; each changes one thing.
Every 2000 steps 20 greedy episodes are played: the learning curves of lesson 02. The last policy
plays 100. The goals only ask that the correct run learns; which mistakes hurt, and how much, is
what the numbers are for.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.dqn.dqn_cartpole import SOLVED, train_and_test
from benchmarks.harness import Goal, by, fresh_seeds, mean_over_seeds, reported
from course_lib.classroom import use
from course_lib.lessons.dqn import exercises
from course_lib.rl import dqn
from course_lib.rl.envs import Envs, Step

CORRECT = "correct"
FUTURE = "bootstraps through termination"  # a fallen pole is worth what the network says


class TruncationAsTermination:
    """Environments that call running out of time a termination, as one flag `done` would."""

    def __init__(self, envs: Envs):
        self.envs = envs
        self.num_envs, self.num_actions = envs.num_envs, envs.num_actions
        self.obs_shape = envs.obs_shape

    def reset(self) -> np.ndarray:
        return self.envs.reset()

    def step(self, actions: np.ndarray) -> Step:
        step = self.envs.step(actions)
        done = step.terminated | step.truncated
        return step._replace(terminated=done, truncated=np.zeros_like(done))


# `train_every` transitions are what came in since the last gradient steps. Without replay the
# agent has only those. Sixteen poles are a mixture even so; one pole alone is a single stretch.
NO_REPLAY = replace(dqn.CARTPOLE, replay_capacity=dqn.CARTPOLE.train_every)
VARIANTS = {
    CORRECT: {"config": dqn.CARTPOLE},
    "no target network": {"config": replace(dqn.CARTPOLE, target_tau=1.0)},
    "no replay": {"config": NO_REPLAY},
    "one pole": {"config": dqn.CARTPOLE, "num_envs": 1},
    "one pole, no replay": {"config": NO_REPLAY, "num_envs": 1},
    FUTURE: {"config": dqn.CARTPOLE},
    "truncation treated as termination": {"config": dqn.CARTPOLE, "wrap": TruncationAsTermination},
}
MISTAKES = {FUTURE: [exercises.double_dqn_target.mistake(FUTURE)]}


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    runs = []
    for seed in seeds:
        for variant, options in VARIANTS.items():
            with use(*MISTAKES.get(variant, ())):
                run = train_and_test(seed=seed, check_every=2000, **options)
            runs.append({"variant": variant, **run})
    return {"seeds": seeds, "runs": runs}


LATE = 20_000  # environment steps: the checks from here on tell how steady a variant is


def judge(result: dict) -> list[Goal]:
    found = {v: {r["seed"]: r for r in of} for v, of in by(result["runs"], "variant").items()}
    goals = []
    for variant, runs in found.items():
        returns = [run["return"] for run in runs.values()]
        solved, needed = sum(r >= SOLVED for r in returns), len(returns) - 1
        low = {seed: _low(run) for seed, run in runs.items()}
        measured = f"{solved} of {len(returns)} solved, mean {np.mean(returns):.0f}, "
        measured += f"worst {min(returns):.0f}; {sum(low.values())} of {_late(runs)} checks below"
        goal = reported(f"DQN, CartPole-v1, {variant}: seeds solved", measured)
        if variant == CORRECT:  # the only promise; the others are there to be seen
            goal = replace(goal, goal=f"at least {needed}", met=solved >= needed)
        goals.append(goal)
    for variant in found:
        if variant != CORRECT:
            rival = "one pole" if variant == "one pole, no replay" else CORRECT
            goals.append(_compared(variant, found[variant], rival, found[rival]))
    return goals


def _low(run: dict) -> int:
    """How many of a run's checks from `LATE` on are below the goal."""
    checks = zip(run["steps"], run["greedy"], strict=True)
    return sum(step >= LATE and value < SOLVED for step, value in checks)


def _late(runs: dict[int, dict]) -> int:
    return sum(step >= LATE for run in runs.values() for step in run["steps"])


def _compared(variant: str, runs: dict, rival: str, theirs: dict) -> Goal:
    """Per seed: checks below the goal, and the final mean value, less those of another variant."""
    low, value = (
        [what(runs[seed]) - what(theirs[seed]) for seed in runs if seed in theirs]
        for what in (_low, lambda run: run["q"])
    )
    if len(low) < 2:
        return reported(f"DQN, CartPole-v1, {variant} less {rival}", "one seed")
    return reported(
        f"DQN, CartPole-v1, {variant} less {rival}, per seed: checks below {SOLVED:.0f}; value",
        f"{mean_over_seeds(low, '.1f')}; {mean_over_seeds(value, '.1f')}",
    )
