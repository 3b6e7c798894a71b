"""Planning with a learned model on CartPole and Pendulum, and model-free peers at equal real steps.

MPC learns the dynamics from the real steps of its recipe (`world_models/mpc.py`, chosen on seeds
below 100) and then plays ten episodes that no seed trained on; what counts is their mean. DQN and
PPO of this course get exactly as many steps, with settings for so short a run. DQN also gets four
gradient steps per real step, since a model is compute spent to save steps and so is replay; and,
on fewer seeds, three times as many real steps. On Pendulum it chooses among five torques.

What the planner is told: when CartPole ends, how far its limits are (a margin as reward) and the
reward of Pendulum. Two more rows take that away: CartPole with the task's own reward of 1 per step,
and Pendulum with a reward that is learned like everything else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.harness import Clock, Goal, by, fresh_seeds, mean_over_seeds, reported
from benchmarks.world_models import kept
from course_lib.evaluation import evaluate, t_interval
from course_lib.rl import dqn, ppo
from course_lib.rl.agent import Agent, AgentConfig
from course_lib.rl.envs import Envs, Step, make
from course_lib.world_models import dynamics, experience, mpc, planning
from course_lib.world_models.planning import Planner

EPISODES = 10  # per seed, all played at once
CARTPOLE, PENDULUM = "CartPole-v1", "Pendulum-v1"
RECIPES = {CARTPOLE: mpc.CARTPOLE, PENDULUM: mpc.PENDULUM}
TASKS = {CARTPOLE: planning.CARTPOLE, PENDULUM: planning.PENDULUM}
COLLECTORS = {CARTPOLE: 1, PENDULUM: 2}  # environments played at once while collecting
GOALS = {CARTPOLE: (475.0, 1_000), PENDULUM: (-250.0, 5_000)}  # return, and real steps at most
STEPS = {name: r.random_steps + r.rounds * r.round_steps for name, r in RECIPES.items()}
TORQUES = np.linspace(-2, 2, 5, dtype=np.float32)[:, None]
FEWER = 5  # seeds of the rows that are only reported

DQN = {
    CARTPOLE: replace(
        dqn.CARTPOLE,
        total_steps=STEPS[CARTPOLE],
        learning_starts=100,
        batch_size=64,
        train_every=4,
        epsilon_fraction=0.5,
    ),
    PENDULUM: dqn.Config(
        total_steps=STEPS[PENDULUM],
        gamma=0.95,
        obs_scale=(1.0, 1.0, 4.0),
        reward_scale=0.05,
        learning_starts=200,
        batch_size=64,
        train_every=4,
        epsilon_fraction=0.5,
    ),
}
PPO = {
    CARTPOLE: replace(
        ppo.CARTPOLE,
        total_steps=STEPS[CARTPOLE],
        num_envs=4,
        rollout_length=50,
        epochs=10,
        minibatch_size=50,
    ),
    PENDULUM: ppo.Config(
        total_steps=STEPS[PENDULUM],
        num_envs=5,
        rollout_length=100,
        epochs=10,
        minibatch_size=100,
        gamma=0.95,
        learning_rate=1e-3,
        scale_rewards=True,
        agent=AgentConfig(normalize_obs=True),
    ),
}


class Torques:
    """Pendulum with five numbered torques, for an agent that only knows numbered actions."""

    action_size = None

    def __init__(self, envs: Envs):
        self._envs = envs
        self.num_envs, self.obs_shape, self.num_actions = envs.num_envs, envs.obs_shape, 5

    def reset(self) -> np.ndarray:
        return self._envs.reset()

    def step(self, actions: np.ndarray) -> Step:
        return self._envs.step(TORQUES[actions])


def tested(policy: Callable, name: str, seed: int, discrete: bool = False) -> dict:
    """Ten episodes that nobody trained on: their returns, and CPU seconds per real step."""
    envs = make(name, EPISODES, 10_000 + seed)
    with Clock() as clock:
        returns = evaluate(policy, Torques(envs) if discrete else envs, EPISODES)
    return {
        "return": round(float(returns.mean()), 1),
        "returns": [round(float(x), 1) for x in returns],
        "play_seconds": round(clock.cpu, 2),
    }


def planned(name: str, seed: int, less_told: bool) -> list[dict]:
    """MPC on one seed: learn, play; then, with the same data, play while knowing less."""
    run = mpc.Run(make(name, COLLECTORS[name], seed), TASKS[name], RECIPES[name], seed)
    with Clock() as clock:
        rows = list(mpc.train(run))
    head = {"env": name, "seed": seed, "steps": int(rows[-1]["steps"])}
    learned = {"learn_seconds": round(clock.cpu, 2), "error": round(rows[-1]["error"], 4)}
    first = {"method": "MPC", **head, **learned, **tested(run.planner(EPISODES, seed), name, seed)}
    return [first, {**head, **knowing_less(run, name, seed)}] if less_told else [first]


def knowing_less(run: mpc.Run, name: str, seed: int) -> dict:
    """CartPole with its own reward; Pendulum with a reward learned from the same real steps."""
    task, model = run.task, run.model
    with Clock() as clock:
        if name == CARTPOLE:
            method = "MPC, the task's own reward"
            task = task._replace(reward=planning.cartpole_alive)
        else:
            method, task = "MPC, learned reward", task._replace(reward=None)
            config = replace(run.config.model, learn_reward=True)
            model = dynamics.Dynamics(3, 1, config, seed)
            for _ in dynamics.train(model, experience.transitions(*run.data), config, seed):
                pass
    planner = Planner(model, task, run.config.planner, EPISODES, seed)
    learned = {"learn_seconds": round(clock.cpu, 2)}
    return {"method": method, **learned, **tested(planner, name, seed)}


def model_free(name: str, seed: int, more: bool) -> list[dict]:
    """DQN and PPO on as many real steps; with ``more``, DQN on three times as many as well."""
    head = {"env": name, "seed": seed, "steps": STEPS[name]}
    runs = [deep_q(name, seed, *settings) for settings in ((1, 1), (4, 1), (4, 3))[: 2 + more]]
    config = PPO[name]
    envs = make(name, config.num_envs, seed)
    agent = Agent(envs, config.agent, seed)
    with Clock() as clock:
        for _ in ppo.train(agent, envs, config, seed):
            pass
    result = {"learn_seconds": round(clock.cpu, 2), **tested(agent.act, name, seed)}
    return [*runs, {"method": "PPO", **head, **result}]


def deep_q(name: str, seed: int, ratio: int, times: int) -> dict:
    """DQN with ``ratio`` gradient steps per real step, on ``times`` the real steps of MPC."""
    steps, burst = times * STEPS[name], ratio * DQN[name].train_every
    config = replace(DQN[name], gradient_steps=burst, total_steps=steps)
    envs = make(name, 4, seed)
    envs = Torques(envs) if name == PENDULUM else envs
    agent = dqn.DQN(envs.obs_shape, envs.num_actions, config, seed)
    with Clock() as clock:
        for _ in dqn.train(agent, envs, config, seed):
            pass
    method = f"DQN, {ratio} gradient step{'s' * (ratio > 1)} per real step"
    result = tested(agent.act, name, seed, discrete=name == PENDULUM)
    head = {"method": method, "env": name, "seed": seed, "steps": steps}
    return {**head, "learn_seconds": round(clock.cpu, 2), **result}


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(2 if quick else 10)
    code = (dynamics, experience, mpc, planning, sys.modules[__name__])
    plans, peers = kept.folder("world_models", *code), kept.folder("world_models", *code, dqn, ppo)
    runs: list[dict] = []
    for name in RECIPES:
        for k, seed in enumerate(seeds):
            given = (name, seed, k < FEWER)
            runs += kept.once(plans / f"{seed}_mpc_{name}.json", lambda x=given: planned(*x))
            runs += kept.once(peers / f"{seed}_free_{name}.json", lambda x=given: model_free(*x))
    return {"seeds": seeds, "episodes": EPISODES, "runs": runs}


def judge(result: dict) -> list[Goal]:
    goals = []
    for name, (goal, most) in GOALS.items():
        methods = by(by(result["runs"], "env")[name], "method", "steps")
        mine = next(runs for (method, _), runs in methods.items() if method == "MPC")
        good, needed = sum(run["return"] >= goal for run in mine), 9 * len(mine) // 10
        steps = mine[0]["steps"]
        goals.append(
            Goal(
                f"MPC, {name}, {steps:,} real steps: mean of {result['episodes']} episodes",
                f">= {goal:g} on {needed} of {len(mine)} seeds, from <= {most:,} steps",
                f"{good} of {len(mine)}, worst {min(r['return'] for r in mine):.0f}; "
                + _words(mine),
                good >= needed and steps <= most,
            )
        )
        for (method, taken), runs in methods.items():
            if method != "MPC":
                goals.append(reported(f"{method}, {name}, {taken:,} real steps", _words(runs)))
        best = max(
            t_interval([run["return"] for run in runs])[2]
            for (method, taken), runs in methods.items()
            if not method.startswith("MPC") and taken == steps
        )
        low = t_interval([run["return"] for run in mine])[1]
        goals.append(
            Goal(
                f"MPC against DQN and PPO, {name}, equal real steps",
                "95 % t intervals apart",
                f"MPC's begins at {low:.0f}, the best peer's ends at {best:.0f}",
                bool(low > best),
            )
        )
    return goals


def _words(runs: list[dict]) -> str:
    returns = mean_over_seeds([run["return"] for run in runs], ".0f")
    learn, play = (np.mean([run[f"{what}_seconds"] for run in runs]) for what in ("learn", "play"))
    return f"{returns} over {len(runs)} seeds, {learn:.0f} CPU s to learn, {play:.1f} to play"
