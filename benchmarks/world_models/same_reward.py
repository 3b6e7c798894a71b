"""CartPole for MPC, DQN and PPO, all with the shaped reward, beside the runs of `mpc` without it.

In `mpc` the planner is paid for its distance from both limits (`planning.cartpole_margin`), DQN and
PPO are paid 1 per step. Here DQN and PPO learn from the planner's reward, on as many real steps and
the same seeds. What counts is the true return: the mean length of ten episodes that no seed trained
on. Shaped and unshaped runs share their seeds, so the differences are paired; t intervals. DQN with
four gradient steps per real step, the dearest one, has five seeds, the other two have ten.

The other rows are those of `results/mpc.json`: MPC with the shaped reward, MPC without it (on data
that the planner with the hint collected), DQN and PPO without it. That code and machine still give
those runs is checked by training PPO without the hint again, once per seed.

All settings are those of `mpc`, where the reward was 1 per step; none was tuned to the shaped one.
MPC still knows two things that DQN and PPO have to find out: the formula of the reward, of which
they see values, and when an episode ends.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from benchmarks.harness import Clock, Goal, by, fresh_seeds, reported
from benchmarks.world_models import kept, mpc as told
from benchmarks.world_models.mpc import CARTPOLE, tested
from course_lib.evaluation import committed_result, t_interval
from course_lib.rl import dqn, ppo
from course_lib.rl.agent import Agent
from course_lib.rl.envs import Envs, Step, make
from course_lib.world_models import experience, planning

OWN, SHAPED = "own reward", "shaped reward"
REWARDS = {OWN: planning.cartpole_alive, SHAPED: planning.cartpole_margin}
RATIOS = {
    "DQN, 1 gradient step per real step": 1,
    "DQN, 4 gradient steps per real step": 4,
}


class Rewarded:
    """Environments that pay a planner's reward in place of their own."""

    num_states = action_size = None

    def __init__(self, envs: Envs, reward: Callable):
        self._envs, self._reward = envs, reward
        self.num_envs, self.obs_shape = envs.num_envs, envs.obs_shape
        self.num_actions = envs.num_actions

    def reset(self) -> np.ndarray:
        self._obs = self._envs.reset()
        return self._obs

    def step(self, actions: np.ndarray) -> Step:
        step = self._envs.step(actions)
        vectors = experience.encode(actions, self.num_actions)
        numbers = (torch.as_tensor(x) for x in (self._obs, vectors, step.obs))
        rewards = self._reward(*numbers).numpy().astype(np.float32) * step.valid
        self._obs = step.obs
        return step._replace(rewards=rewards)


def deep_q(method: str, reward: str, seed: int) -> dict:
    """DQN on as many real steps as MPC."""
    config = told.DQN[CARTPOLE]
    config = replace(config, gradient_steps=RATIOS[method] * config.train_every)
    envs = Rewarded(make(CARTPOLE, 4, seed), REWARDS[reward])
    agent = dqn.DQN(envs.obs_shape, envs.num_actions, config, seed)
    return _learned(method, reward, seed, agent, dqn.train(agent, envs, config, seed))


def policy_gradient(reward: str, seed: int) -> dict:
    """PPO on as many real steps as MPC."""
    config = told.PPO[CARTPOLE]
    envs = Rewarded(make(CARTPOLE, config.num_envs, seed), REWARDS[reward])
    agent = Agent(envs, config.agent, seed)
    return _learned("PPO", reward, seed, agent, ppo.train(agent, envs, config, seed))


def _learned(method: str, reward: str, seed: int, agent, training) -> dict:
    with Clock() as clock:
        for _ in training:
            pass
    head = {"method": method, "reward": reward, "seed": seed, "steps": told.STEPS[CARTPOLE]}
    return {**head, "learn_seconds": round(clock.cpu, 2), **tested(agent.act, CARTPOLE, seed)}


def from_mpc(seeds: list[int]) -> list[dict]:
    """The rows of `results/mpc.json` at these seeds and as many steps as MPC has."""
    rows = []
    for run in committed_result("mpc")["runs"]:
        if run["env"] == CARTPOLE and run["steps"] == told.STEPS[CARTPOLE] and run["seed"] in seeds:
            reward = SHAPED if run["method"] == "MPC" else OWN
            method = "MPC" if run["method"].startswith("MPC") else run["method"]
            columns = {key: run[key] for key in ("seed", "steps", "return", "returns")}
            rows.append({"method": method, "reward": reward, "from": "mpc", **columns})
    return rows


def checked(run: dict, committed: list[dict]) -> dict:
    """``run``, if the committed run of the same method, reward and seed is the same."""
    named = [(r["method"], r["reward"], r["seed"], r["returns"]) for r in committed]
    if (run["method"], run["reward"], run["seed"], run["returns"]) not in named:
        raise RuntimeError(
            f"{run['method']} with seed {run['seed']} is not what results/mpc.json says: measure "
            "`python -m benchmarks mpc` again first, with this code and on this machine"
        )
    return run


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(2 if quick else 10)
    folder = kept.folder("world_models", planning, dqn, ppo, told, sys.modules[__name__])
    runs = from_mpc(seeds)
    for seed in seeds:
        again = kept.once(folder / f"{seed}_again.json", lambda s=seed: policy_gradient(OWN, s))
        checked(again, runs)
    for method, ratio in RATIOS.items():
        for seed in seeds[: told.FEWER if ratio > 1 else None]:
            file = folder / f"{seed}_dqn_{ratio}.json"
            runs.append(kept.once(file, lambda x=(method, SHAPED, seed): deep_q(*x)))
    for seed in seeds:
        file = folder / f"{seed}_ppo.json"
        runs.append(kept.once(file, lambda s=seed: policy_gradient(SHAPED, s)))
    return {"seeds": seeds, "episodes": told.EPISODES, "runs": runs}


def judge(result: dict) -> list[Goal]:
    rows = by(result["runs"], "method", "reward")
    steps = f"{result['runs'][0]['steps']:,} real steps"
    goals = [
        reported(f"CartPole-v1, {steps}: {method}, {reward}", _words(runs))
        for (method, reward), runs in rows.items()
    ]
    for method, reward in rows:
        if reward == SHAPED:
            change = paired(rows[method, SHAPED], rows[method, OWN])
            what = f"CartPole-v1, {steps}: {method}, shaped less own reward"
            goals.append(reported(what, _verdict(change)))
    for (method, reward), runs in rows.items():
        if method != "MPC":
            change = paired(rows["MPC", reward], runs)
            what = f"CartPole-v1, {steps}, {reward} for both: MPC less {method}"
            goals.append(reported(what, _verdict(change)))
    return goals


def paired(runs: list[dict], others: list[dict]) -> list[float]:
    """Differences of the returns, for each seed that both have."""
    there = {run["seed"]: run["return"] for run in others}
    return [run["return"] - there[run["seed"]] for run in runs if run["seed"] in there]


def _words(runs: list[dict]) -> str:
    returns = [run["return"] for run in runs]
    good = sum(x >= 475 for x in returns)
    return (
        f"{interval(returns)} over {len(runs)} seeds, {good} of them at 475 or more, "
        f"worst {min(returns):.0f}"
    )


def _verdict(change: list[float]) -> str:
    return f"{interval(change)} over {len(change)} seeds: {verdict(change)}"


def interval(values: list[float], form: str = ".0f") -> str:
    """Mean and 95 % t interval: "251 [115, 388]"."""
    mean, low, high = t_interval(values)
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def verdict(change: list[float]) -> str:
    """What a t interval of differences allows to be said, where more is better."""
    _, low, high = t_interval(change)
    return "better" if low > 0 else "worse" if high < 0 else "no clear difference"
