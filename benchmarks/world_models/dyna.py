"""Dyna-Q with 0, 5 and 50 planning steps: how many real steps and episodes until the way is found.

The agent has solved its task when its greedy policy reaches the goal in at most 20 % more steps
than the best way: 14 in the maze of Sutton & Barto (2018, figure 8.2), 13 along the cliff, 6 across
the frozen lake without slipping. That is looked at every ten real steps. "Exactly the best way"
would measure luck: a detour of two steps is worth so little less that an agent can keep it for
long. Runs that never get there count with the length of the run, so their means are lower bounds.
With 0 planning steps it is Q-learning.

Until the goal is reached for the first time, there is nothing to plan with; how long that takes is
chance. So the steps after that are given too.
"""

from __future__ import annotations

from collections.abc import Callable

import gymnasium
import numpy as np

from benchmarks.harness import Clock, Goal, by, fresh_seeds, mean_over_seeds
from course_lib.evaluation import t_interval
from course_lib.rl import q_learning as tabular
from course_lib.world_models import dyna
from course_lib.worlds.maze import DYNA_MAZE, Maze

PLANNING = (0, 5, 50)
DETOUR = 1.2  # a way so much longer than the best one is good enough
EVERY = 10  # real steps between two looks at the greedy policy
SETTINGS = tabular.Config(steps=20_000, gamma=0.95, alpha=0.1, report_every=EVERY)
TASKS: dict[str, tuple[Callable[[], gymnasium.Env], int]] = {  # and the steps of the best way
    "maze": (lambda: Maze(DYNA_MAZE), 14),
    "CliffWalking-v1": (lambda: gymnasium.make("CliffWalking-v1"), 13),
    "FrozenLake-v1, no slipping": (lambda: gymnasium.make("FrozenLake-v1", is_slippery=False), 6),
}


class Counting(gymnasium.Wrapper):
    """Counts the steps, the episodes that ended, and the steps until the goal was first reached."""

    steps, episodes, first = 0, 0, None

    def step(self, action):
        row = self.env.step(action)
        self.steps += 1
        self.episodes += row[2] or row[3]
        if self.first is None and row[2] and row[1] != 0:
            self.first = self.steps
        return row


def solved(q: np.ndarray, env: gymnasium.Env, best: int) -> bool:
    """Whether always taking the best action leads to the goal in about ``best`` steps."""
    state, _ = env.reset()
    for _ in range(int(DETOUR * best)):
        state, reward, terminated, _, _ = env.step(int(q[state].argmax()))
        if terminated:
            return reward != 0  # a fall into a hole of the lake pays nothing
    return False


def train(task: str, planning_steps: int, seed: int) -> dict:
    """One run, stopped as soon as it has solved its task."""
    build, best = TASKS[task]
    env, check = Counting(build()), build()
    q = np.zeros((int(env.observation_space.n), int(env.action_space.n)))
    found, steps = False, 0
    with Clock() as clock:
        for row in dyna.train(q, env, SETTINGS, dyna.Config(planning_steps), seed):
            found, steps = solved(q, check, best), int(row["steps"])
            if found:
                break
    return {
        "task": task,
        "planning_steps": planning_steps,
        "seed": seed,
        "solved": found,
        "steps": steps,
        "episodes": int(env.episodes),
        "first_goal": env.first or steps,
        "seconds": round(clock.cpu, 2),
    }


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(3 if quick else 20)
    runs = []
    for task in TASKS:
        for planning_steps in PLANNING:
            runs += [train(task, planning_steps, seed) for seed in seeds]
            print(task, planning_steps, _words(runs[-len(seeds) :]), flush=True)
    return {"seeds": seeds, "settings": vars(SETTINGS), "runs": runs}


def judge(result: dict) -> list[Goal]:
    goals = []
    for task, runs in by(result["runs"], "task").items():
        groups = by(runs, "planning_steps")
        after = {n: t_interval(_after(mine))[1:] for n, mine in groups.items()}
        goals.append(
            Goal(
                f"Dyna-Q, {task}: real steps until the greedy way is at most 20 % "
                "longer than the best one, n planning steps",
                "after the first goal, n = 50 below n = 5 below n = 0, 95 % t intervals apart",
                "; ".join(f"n = {n}: {_words(mine)}" for n, mine in groups.items()),
                bool(after[50][1] < after[5][0] and after[5][1] < after[0][0]),
            )
        )
    return goals


def _after(runs: list[dict]) -> list[int]:
    """Real steps that were still needed once the goal had been reached for the first time."""
    return [run["steps"] - run["first_goal"] for run in runs]


def _words(runs: list[dict]) -> str:
    steps, after = (
        mean_over_seeds([run["steps"] for run in runs], ".0f"),
        mean_over_seeds(_after(runs), ".0f"),
    )
    episodes = np.mean([run["episodes"] for run in runs])
    missed = sum(not run["solved"] for run in runs)
    rest = f", {missed} of {len(runs)} never" if missed else ""
    return f"{steps} steps, {after} after the first goal, {episodes:.1f} episodes{rest}"
