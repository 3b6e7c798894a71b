"""The checkpoint to play in: how true it is, one step at a time and over whole dreams.

Nothing is trained here; `play_model.py` in the lesson's room says how the checkpoint was
made.
The exam is that of `world_model_breakout.py`, on games that it has not seen. "In step" is the
number of moves until a dream and the real game first differ, actions taken as chosen in both and
the likeliest future dreamed; a follower of the ball, with 10 % random moves, holds the keys.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.harness import Goal, by, reported
from benchmarks.transformer_world_model.dream_runs import GAME
from benchmarks.transformer_world_model.world_model_breakout import exam, grade, scripted
from course_lib.lessons.transformer_world_model.play_model import play_model
from course_lib.rl.envs import make
from course_lib.world_models.world_model import WorldModel

LONG = 200  # moves


def at_random(seed: int):
    """A player who knows nothing."""
    rng = np.random.default_rng(seed)
    return lambda obs: rng.integers(3, size=len(obs))


def in_step(model: WorldModel, seed: int, games: int = 64) -> dict:
    """Moves until dream and game first differ, or the game ends; share of games that differed."""
    envs, policy = make(GAME, games, 30_000 + seed, sticky_actions=0.0), scripted(seed)
    real = envs.reset()
    obs = torch.as_tensor(real)
    memory = model.start(obs[:, None][:, :0], torch.zeros(games, 0, dtype=torch.int64))
    same, moves, differed = np.ones(games, bool), np.zeros(games, int), np.zeros(games, bool)
    for _ in range(LONG):
        actions = policy(real)
        predicted = model.step(memory, obs, torch.as_tensor(actions), temperature=0.0)
        step = envs.step(actions)
        obs, real = predicted.next_obs, step.obs
        right = (obs.numpy() == real).all((1, 2, 3))
        right &= predicted.terminated.numpy() == step.terminated
        differed |= same & ~right
        same &= right
        moves += same
        same &= ~step.terminated
    return {"in_step": [int(m) for m in moves], "differed": float(differed.mean())}


def measure(quick: bool) -> dict:
    model = play_model()
    seeds = list(range(200, 201 if quick else 205))
    runs = []
    for seed in seeds:
        for name, player in (("follower", scripted(seed)), ("random", at_random(seed))):
            marks = grade(model, exam(player, seed), seed)
            runs.append({"player": name, "seed": seed} | marks)
        runs[-2] |= in_step(model, seed)
        print(runs[-2], flush=True)
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    goals = []
    for player, runs in by(result["runs"], "player").items():
        exact, possible = (np.mean([run[name] for run in runs]) for name in ("exact", "possible"))
        goals.append(
            Goal(
                f"Checkpoint to play in, {player}: next frame right, drawn frame possible",
                ">= 0.98 each",
                f"{exact:.4f}, {possible:.4f}",
                bool(min(exact, possible) >= 0.98),
            )
        )
    followed = [run for run in result["runs"] if "in_step" in run]
    moves = np.concatenate([run["in_step"] for run in followed])
    differed = np.mean([run["differed"] for run in followed])
    what = f"Checkpoint to play in: moves in step with the real game, of at most {LONG}"
    words = f"median {np.median(moves):.0f} (games end); {differed:.1%} of the games ever differed"
    return [*goals, reported(what, words)]
