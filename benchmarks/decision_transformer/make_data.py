"""The recordings of MinAtar's games that lesson 13 learns from: made again, bit for bit.

PPO learns Breakout; what passes while it does is the replay. Then three players are recorded by
themselves: one that acts at random, PPO as it was after a third of its steps, and PPO at its end.
PPO also plays SpaceInvaders. Freeway and Asterix, where PPO learns little in this time, are left
to scripted players.

A full run overwrites the files in course_lib/worlds/data. On the machine that made them the bytes
come out again, on another one rounding may lead training elsewhere; the result says which it was.
Seeds are below 100: whoever learns from these files reports seeds from 200 on.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Clock, Goal, at_most, reported
from course_lib.rl import dataset, ppo
from course_lib.rl.agent import Agent
from course_lib.rl.dataset import Dataset
from course_lib.rl.envs import Envs, Step, make
from course_lib.worlds import offline_data, scripted

LIMIT = 1.5  # MB of all files together
TRAINING, PLAYING = 1, 11  # seeds of the environments
KEPT = slice(0, None, 3)  # every third environment goes into the replay
MEDIUM = 1 / 3  # of the steps: how much the medium player has learned
SLIPS = 0.05  # share of a scripted player's actions that are random
RECIPES = {  # game: how PPO learns it
    "Breakout": ppo.BREAKOUT,
    # fewer, larger minibatches: enough for a good player, in less time
    "SpaceInvaders": replace(ppo.BREAKOUT, total_steps=200_000, minibatch_size=256),
}
STEPS = {  # game and kind: steps of each of the 16 environments that are recorded
    ("Breakout", "random"): 1_600,
    ("Breakout", "medium"): 2_800,
    ("Breakout", "expert"): 2_800,
    ("SpaceInvaders", "expert"): 2_400,
    ("Freeway", "expert"): 2_001,  # two episodes, both cut by the clock, and the reset between them
    ("Asterix", "expert"): 2_800,
}

Policy = Callable[[np.ndarray], np.ndarray]  # (N, *obs_shape) to (N,)


class Recording:
    """Stands in for environments and keeps what passes, observations as bits."""

    def __init__(self, envs: Envs):
        self.envs = envs
        self.rows: list[tuple[np.ndarray, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.envs, name)

    def reset(self, seed: int | None = None) -> np.ndarray:
        self.obs = self.envs.reset(seed)
        return self.obs

    def step(self, actions: np.ndarray) -> Step:
        step = self.envs.step(actions)
        bits = np.packbits(self.obs.reshape(len(self.obs), -1), axis=1)
        self.rows.append((bits, actions, *step[1:]))
        self.obs = step.obs
        return step

    def dataset(self, kept: slice) -> Dataset:
        """Whole episodes of the environments that are ``kept``, one environment after the other."""
        columns = (np.stack(column)[:, kept] for column in zip(*self.rows, strict=True))
        return dataset.from_columns(*columns, self.envs.obs_shape, self.envs.num_actions)


def learn(game: str, config: ppo.Config) -> tuple[Dataset, Agent, Agent]:
    """PPO learns ``game``: its replay, the agent after a third of the steps, and the final one."""
    envs = Recording(make(f"MinAtar/{game}", config.num_envs, TRAINING))
    agent, medium = Agent(envs, config.agent, TRAINING), None
    for metrics in ppo.train(agent, envs, config, TRAINING):
        if medium is None and metrics["steps"] >= MEDIUM * config.total_steps:
            medium = copy.deepcopy(agent)
    return envs.dataset(KEPT), medium, agent


def drawn(agent: Agent) -> Policy:
    """Actions as the policy draws them."""
    generator = torch.Generator().manual_seed(PLAYING)
    return lambda obs: agent.act(obs, greedy=False, generator=generator)


def at_random(num_actions: int) -> Policy:
    """Every action equally likely."""
    rng = np.random.default_rng(PLAYING)
    return lambda obs: rng.integers(num_actions, size=len(obs))


def with_slips(player: Policy, num_actions: int) -> Policy:
    """A scripted player that slips now and then, so that its recoveries are recorded as well."""
    return scripted.clumsy(player, num_actions, SLIPS, np.random.default_rng(PLAYING))


def recordings(quick: bool) -> Iterator[tuple[str, str, Dataset, float]]:
    """Game, kind, recording, and CPU seconds of all that had to be done for it since the last."""
    recipes = RECIPES
    if quick:
        recipes = {game: replace(config, total_steps=3_072) for game, config in RECIPES.items()}
    with Clock() as clock:
        replay, medium, expert = learn("Breakout", recipes["Breakout"])
    yield "Breakout", "replay", replay, clock.cpu
    yield record("Breakout", "random", lambda: at_random(3), quick)
    yield record("Breakout", "medium", lambda: drawn(medium), quick)
    yield record("Breakout", "expert", lambda: drawn(expert), quick)
    invader = recipes["SpaceInvaders"]
    yield record(
        "SpaceInvaders", "expert", lambda: drawn(learn("SpaceInvaders", invader)[2]), quick
    )
    yield record("Freeway", "expert", lambda: with_slips(scripted.freeway, 3), quick)
    yield record("Asterix", "expert", lambda: with_slips(scripted.asterix, 5), quick)


def record(
    game: str, kind: str, player: Callable[[], Policy], quick: bool
) -> tuple[str, str, Dataset, float]:
    """Let a player play, and stop the time that it takes to make it and to record it."""
    num_envs, steps = (2, 1_000) if quick else (16, STEPS[game, kind])
    with Clock() as clock:
        envs = make(f"MinAtar/{game}", num_envs, PLAYING)
        data = dataset.record(envs, player(), steps)
    return game, kind, data, clock.cpu


def measure(quick: bool = False) -> dict[str, Any]:
    """Train, play and write every file (quick: tiny ones, into a folder that is then removed)."""
    if quick:
        with tempfile.TemporaryDirectory() as folder:
            return write_all(Path(folder), quick)
    return write_all(offline_data.FOLDER, quick)


def write_all(folder: Path, quick: bool) -> dict[str, Any]:
    """Write every file into ``folder``, made if need be; one run for each."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = []
    for game, kind, data, seconds in recordings(quick):
        path = offline_data.file_of(game, kind, folder)
        before = path.read_bytes() if path.exists() else b""
        offline_data.write(data, path)
        found = offline_data.row(game, kind, path)
        runs.append(
            {**found, "seconds": round(seconds, 1), "same_bytes": path.read_bytes() == before}
        )
        print(runs[-1], flush=True)
    settings = {game: asdict(config) for game, config in RECIPES.items()}
    return {"seeds": [TRAINING, PLAYING], "settings": settings, "runs": runs}


def judge(result: dict[str, Any]) -> list[Goal]:
    """All files together stay small; how well each plays is reported."""
    runs = result["runs"]
    megabytes = sum(run["kilobytes"] for run in runs) / 1000
    again = sum(run["same_bytes"] for run in runs)
    seconds = sum(run["seconds"] for run in runs)
    found = (f"{run['game']} {run['kind']} {run['mean']:.1f}" for run in runs)
    return [
        at_most(
            "recordings that come with the course: all files together, MB",
            LIMIT,
            megabytes,
            f"{megabytes:.2f}, {sum(run['steps'] for run in runs):,} steps in {len(runs)} files",
        ),
        reported("recordings: mean return of an episode", ", ".join(found)),
        reported(
            "recordings made again: files with the bytes that lay there before",
            f"{again} of {len(runs)}, {seconds:.0f} CPU seconds",
        ),
    ]
