"""Imagined frames per second with policy updates, on one thread, and one dreamed frame's latency.

The same PPO learns in the same `Dream`, once on the lesson's model, which draws a frame at once,
and once on a model of the same size that writes it token by token (`iris_peer.py`); the two take
turns. The peer is not trained: what it writes costs the same. Its ends are made rare, so that
its policy learns from as many frames.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from benchmarks.harness import Clock, Goal, at_least, by, reported
from benchmarks.transformer_world_model.dream_runs import GAME
from benchmarks.transformer_world_model.iris_peer import TokenWorldModel
from course_lib.rl.agent import Agent
from course_lib.rl.envs import make
from course_lib.world_models import dreamer, world_model
from course_lib.world_models.frame_tokenizer import FrameTokenizer
from course_lib.world_models.imagination import Dream, from_replay

DREAMS = 256
CONFIG = replace(dreamer.BREAKOUT, frames=(3008,), model_steps=(1200,), updates=(1000,))
PATCHES = {"IRIS-style, 25 tokens a frame": 2, "IRIS-style, 4 tokens a frame": 5}
OURS = "chance token"


def learners(seed: int) -> tuple[dreamer.Run, dict]:
    """A model trained for a minute, and every kind of dream with a policy that learns in it."""
    run = dreamer.Run(make(GAME, CONFIG.num_envs, seed), CONFIG, seed)
    rows = dreamer.train(run)
    for _ in range(CONFIG.model_steps[0]):
        next(rows)
    starts = from_replay(run.replay, CONFIG.context, CONFIG.near_death)
    models: dict[str, nn.Module] = {OURS: run.model}
    seen = run.replay.obs.flatten(0, 1)
    for name, patch in PATCHES.items():
        tokenizer = FrameTokenizer.fit(seen, patch)
        models[name] = TokenWorldModel(tokenizer, run.model.num_actions, layers(tokenizer))
        nn.init.constant_(models[name].events.bias, -4.0)
    made = {}
    for name, model in models.items():
        dream = Dream(model, starts, DREAMS, CONFIG.horizon, seed)
        agent = Agent(make(GAME, 1), CONFIG.policy.agent, seed)
        made[name] = (model.num_parameters(), dreamer.learn_in(dream, agent, CONFIG, seed))
    return run, made


def layers(tokenizer: FrameTokenizer) -> int:
    """Blocks that bring the peer to about the size of ours: embeddings count too."""
    block, ours = 111_000, 483_000
    return max(1, round((ours - 2 * 96 * tokenizer.vocab_size) / block))


def latency(model: world_model.WorldModel, frames: int, seed: int) -> list[float]:
    """Milliseconds of each of so many dreamed frames, one dream alone, key by key."""
    envs, rng = make(GAME, 1, seed), np.random.default_rng(seed)
    obs = torch.as_tensor(envs.reset())
    memory = model.start(obs[:, None][:, :0], torch.zeros(1, 0, dtype=torch.int64))
    generator, taken = torch.Generator().manual_seed(seed), []
    for _ in range(frames):
        action = torch.as_tensor(rng.integers(3, size=1))
        start = time.perf_counter()
        obs = model.step(memory, obs, action, generator, temperature=0.5).next_obs
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def measure(quick: bool) -> dict:
    turns = 1 if quick else 5
    run, made = learners(seed=200)
    for _, policy in made.values():
        next(policy)  # warm up
    runs = []
    for turn in range(turns):
        for name, (parameters, policy) in made.items():
            updates = 8 if name == OURS else 1
            with Clock() as clock:
                for _ in range(updates):
                    next(policy)
            frames = updates * DREAMS * CONFIG.horizon
            runs.append(
                {
                    "model": name, "turn": turn, "parameters": parameters,
                    "frames": frames, "cpu": round(clock.cpu, 3), "wall": round(clock.wall, 3),
                    "per_cpu_s": round(frames / clock.cpu), "per_s": round(frames / clock.wall),
                }
            )  # fmt: skip
            print(runs[-1], flush=True)
    taken = latency(run.model, 100 if quick else 1000, 200)
    result = {"seeds": [200], "dreams": DREAMS, "horizon": CONFIG.horizon, "runs": runs}
    return result | {
        "latency_ms": {
            "median": round(float(np.median(taken)), 2),
            "p95": round(float(np.quantile(taken, 0.95)), 2),
        }
    }


def judge(result: dict) -> list[Goal]:
    runs = by(result["runs"], "model")
    speed = {name: float(np.median([run["per_cpu_s"] for run in of])) for name, of in runs.items()}
    size = {name: f"{of[0]['parameters'] / 1e6:.2f} M weights" for name, of in runs.items()}
    what = f"Imagined frames per CPU second with policy updates, {result['dreams']} dreams"
    measured = f"{speed[OURS]:,.0f} ({size[OURS]})"
    goals = [at_least(what, 10_000, speed[OURS], measured, ",")]
    for k, name in enumerate(PATCHES):
        what = f"Times as fast as a token-by-token model ({name}), same run"
        times = speed[OURS] / speed[name]
        words = f"{times:.1f} ({speed[name]:,.0f} frames per CPU second, {size[name]})"
        goals.append(reported(what, words) if k else at_least(what, 3, times, words))
    took = result["latency_ms"]
    goals.append(
        Goal(
            "One dreamed frame alone, median of 1,000",
            "<= 5 ms",
            f"{took['median']:.1f} ms (95 % below {took['p95']:.1f} ms)",
            took["median"] <= 5,
        )
    )
    return goals
