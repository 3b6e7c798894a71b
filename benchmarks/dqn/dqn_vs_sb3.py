"""DQN against Stable-Baselines3's DQN on CartPole-v1: seeds solved and time to first reach 475.

The two train in turns in one process with one thread. Stable-Baselines3 has the hyperparameters
that the RL Zoo tuned for this environment; this library has `dqn.CARTPOLE`, which scales rewards
and observations and acts in 16 environments at once. Both are part of the recipe that is compared.

Every 2000 environment steps the same 20 greedy episodes are played with either agent; the time of
these checks is not counted. "First reaches 475" is the training time until the first check with a
mean of 475. A seed whose checks never show it counts with its whole training time, which
flatters it. "Solved" looks at the last policy, over 100 greedy episodes with another seed.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.dqn.dqn_cartpole import SOLVED, train_and_test
from benchmarks.harness import Goal, by, fresh_seeds
from course_lib.evaluation import evaluate
from course_lib.rl import dqn
from course_lib.rl.envs import make

CHECK_EVERY = 2000
STEPS = 50_000
ZOO = {
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 100_000,
    "learning_starts": 1000,
    "gamma": 0.99,
    "target_update_interval": 10,
    "train_freq": 256,
    "gradient_steps": 128,
    "exploration_fraction": 0.16,
    "exploration_final_eps": 0.04,
    "policy_kwargs": {"net_arch": [256, 256]},
}


def train_sb3(seed: int) -> dict:
    """Train and test Stable-Baselines3's DQN as `train_and_test` does with ours."""
    import gymnasium as gym
    from stable_baselines3 import DQN
    from stable_baselines3.common.callbacks import BaseCallback

    check_envs = make("CartPole-v1", 20, 20_000 + seed)

    class Checks(BaseCallback):
        steps: list[int]

        def _on_training_start(self) -> None:
            self.steps, self.curve, self.first, self.checking = [], [], None, 0.0

        def _on_step(self) -> bool:
            if self.num_timesteps % CHECK_EVERY == 0:
                pause = time.perf_counter()
                self.steps.append(self.num_timesteps)
                self.curve.append(round(float(evaluate(policy, check_envs, 20).mean()), 1))
                if self.first is None and self.curve[-1] >= SOLVED:
                    self.first = round(pause - start - self.checking, 2)
                self.checking += time.perf_counter() - pause
            return True

    model = DQN("MlpPolicy", gym.make("CartPole-v1"), seed=seed, device="cpu", verbose=0, **ZOO)

    def policy(obs: np.ndarray) -> np.ndarray:
        return model.predict(obs, deterministic=True)[0]

    checks = Checks()
    start = time.perf_counter()
    model.learn(STEPS, callback=checks)
    seconds = time.perf_counter() - start - checks.checking
    returns = evaluate(policy, make("CartPole-v1", 100, 10_000 + seed), 100)
    return {
        "seed": seed,
        "return": round(float(returns.mean()), 1),
        "seconds": round(seconds, 2),
        "seconds_to_first_475": checks.first,
        "greedy": checks.curve,
        "steps": checks.steps,
    }


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    runs = []
    for seed in seeds:
        ours = train_and_test(dqn.CARTPOLE, seed, check_every=CHECK_EVERY)
        runs.append({"agent": "course_lib", **ours})
        runs.append({"agent": "stable-baselines3", **train_sb3(seed)})
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    solved, first, reached = {}, {}, {}
    for agent, runs in by(result["runs"], "agent").items():
        solved[agent] = sum(run["return"] >= SOLVED for run in runs)
        times = [run["seconds_to_first_475"] for run in runs]
        reached[agent] = sum(t is not None for t in times)
        first[agent] = [
            run["seconds"] if t is None else t for t, run in zip(times, runs, strict=True)
        ]
    (ours, theirs), n = map(np.mean, first.values()), len(result["seeds"])
    medians = [np.median(times) for times in first.values()]
    return [
        Goal(
            "DQN against Stable-Baselines3, CartPole-v1: seeds solved by the last policy",
            "more",
            f"{solved['course_lib']} against {solved['stable-baselines3']} of {n}",
            solved["course_lib"] > solved["stable-baselines3"],
        ),
        Goal(
            "DQN against Stable-Baselines3, CartPole-v1: mean training time to first reach 475",
            ">= 5 times less",
            f"{theirs / ours:.1f} times less: {ours:.1f} s against {theirs:.1f} s "
            f"(medians {medians[0]:.1f} s and {medians[1]:.1f} s; reached on "
            f"{reached['course_lib']} and {reached['stable-baselines3']} of {n} seeds)",
            bool(theirs >= 5 * ours),
        ),
    ]
