"""Runs on MinAtar Breakout that the benchmarks of lesson 12 share: dreamers and their peers.

Finished runs are kept under ``build``, in another folder as soon as the code that made them
changes, so that a measurement that was interrupted goes on. Timings are those of the first time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Clock
from benchmarks.world_models import kept
from course_lib.evaluation import evaluate
from course_lib.rl import dqn, ppo
from course_lib.rl.agent import Agent
from course_lib.rl.envs import make
from course_lib.world_models import dreamer, frames, heads, imagination, world_model
from course_lib.world_models.world_model import WorldModel

GAME = "MinAtar/Breakout"
EPISODES = 100
MODULES = (dreamer, frames, heads, imagination, world_model)


def folder() -> Path:
    """Where dreamers are kept, and what was made of them."""
    return kept.folder("dreams", *MODULES)


def test(act: Callable[[np.ndarray], np.ndarray], seed: int) -> float:
    """Mean return of whole episodes in environments that no training has seen."""
    returns = evaluate(act, make(GAME, EPISODES, 10_000 + seed), EPISODES)
    return round(float(returns.mean()), 3)


def drawn(agent: Agent, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Actions as the policy draws them."""
    generator = torch.Generator().manual_seed(seed)
    return lambda obs: agent.act(obs, greedy=False, generator=generator)


def dream(seed: int, config: dreamer.Config = dreamer.BREAKOUT) -> tuple[dict, WorldModel, Agent]:
    """Train one dreamer; its numbers, its model and its policy."""
    name = f"{seed}_{sum(config.frames)}"
    model_file, agent_folder = folder() / f"{name}.safetensors", folder() / f"{name}_agent"

    def work() -> dict:
        envs = make(GAME, config.num_envs, seed)
        run, spent, rows = dreamer.Run(envs, config, seed), {"model": 0.0, "dream": 0.0}, []
        updates = dreamer.train(run)
        with Clock() as whole:
            while True:
                with Clock() as clock:
                    row = next(updates, None)
                if row is None:
                    break
                spent["dream" if "dreamed" in row else "model"] += clock.cpu
                rows.append(row)
        world_model.save(run.model, model_file, f"dream_runs, seed {seed}")
        run.agent.save(agent_folder)
        np.savez_compressed(folder() / f"{name}.npz", **packed(run.replay))
        last = [row for row in rows if "dreamed" in row][-1]
        return {
            "agent": "dream", "seed": seed, "frames": run.frames,
            "return": test(run.agent.act, seed),
            "drawn": test(drawn(run.agent, seed), seed),
            "cpu": round(whole.cpu, 1), "seconds": round(whole.wall, 1),
            "cpu_model": round(spent["model"], 1), "cpu_dream": round(spent["dream"], 1),
            "dreamed": int(last["dreamed"]),
            "dreamed_per_s": round(last["dreamed"] / spent["dream"]),
            "dreamed_return": round(last["return"], 2),
            "real": [round(x, 2) for x in dict((r["round"], r["real"]) for r in rows).values()],
        }  # fmt: skip

    result = kept.once(folder() / f"{name}.json", work)
    return result, world_model.load(model_file), Agent.load(agent_folder)


COLUMNS = ("obs", "next_obs", "actions", "rewards", "terminated", "truncated", "lengths")


def packed(replay: frames.FrameReplay) -> dict[str, np.ndarray]:
    """A replay as arrays, eight cells to the byte."""
    arrays = {name: getattr(replay, name).numpy() for name in COLUMNS}
    for name in ("obs", "next_obs"):
        arrays[name] = np.packbits(arrays[name])
    return arrays


def replay_of(seed: int, config: dreamer.Config = dreamer.BREAKOUT) -> frames.FrameReplay:
    """All real frames that the dreamer of ``seed`` has played."""
    dream(seed, config)
    arrays = np.load(folder() / f"{seed}_{sum(config.frames)}.npz")
    num_envs, capacity = arrays["actions"].shape
    replay = frames.FrameReplay(num_envs, (4, 10, 10), capacity)
    for name in COLUMNS:
        value = arrays[name]
        if name in ("obs", "next_obs"):
            value = np.unpackbits(value, count=replay.obs.numel()).reshape(replay.obs.shape)
        setattr(replay, name, torch.as_tensor(value))
    return replay


def model_free(agent: str, frames: int, seed: int) -> dict:
    """PPO, or DQN with the gradient steps per frame that its name says; the same number of frames.

    Frames are steps of the environments, reset rows included, for every learner alike.
    """

    def work() -> dict:
        with Clock() as clock:
            act = learn_ppo(frames, seed) if agent == "PPO" else learn_dqn(agent, frames, seed)
        result = {"agent": agent, "seed": seed, "frames": frames}
        policies = {"return": act, "drawn": act} if callable(act) else {
            "return": act.act, "drawn": drawn(act, seed)
        }  # fmt: skip
        scores = {name: test(policy, seed) for name, policy in policies.items()}
        return result | scores | {"cpu": round(clock.cpu, 1), "seconds": round(clock.wall, 1)}

    file = f"{agent.replace(' ', '_')}_{frames}_{seed}.json"
    return kept.once(kept.folder("dreams", dqn, ppo) / file, work)


def learn_ppo(frames: int, seed: int) -> Agent:
    """`ppo.BREAKOUT`, in as many steps; 16 environments, for more updates with few frames."""
    config = replace(ppo.BREAKOUT, total_steps=frames, num_envs=16, rollout_length=32)
    envs = make(GAME, config.num_envs, seed)
    agent = Agent(envs, config.agent, seed)
    for _ in ppo.train(agent, envs, config, seed):
        pass
    return agent


def learn_dqn(agent: str, frames: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """`dqn.BREAKOUT`, in as many steps, with more or fewer gradient steps per frame."""
    per_frame = float(agent.removeprefix("DQN "))
    config = replace(
        dqn.BREAKOUT, total_steps=frames, train_every=16, gradient_steps=round(16 * per_frame)
    )
    envs = make(GAME, 16, seed)
    learner = dqn.DQN(envs.obs_shape, envs.num_actions, config, seed)
    for _ in dqn.train(learner, envs, config, seed):
        pass
    return learner.act
