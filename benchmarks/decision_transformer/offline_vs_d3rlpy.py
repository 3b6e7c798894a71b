"""Conservative Q-learning and the decision transformer against d3rlpy's: score and speed.

The same recording of Breakout, steps, batch, rate and sizes of networks, one thread; the two sides
take turns, seed by seed. d3rlpy (Seno and Imai, arXiv 2111.03788) is no part of the kit's
environment. It is looked for where the environment variable D3RLPY says: a virtual environment, or
a folder of packages as `pip install --target` makes it. Its side is `d3rlpy_peer.py`. Each fit
counts the CPU seconds of its own steps but the first, which also pays for what is prepared once.
Q-learning plays greedy, the decision transformer with drawn actions, asked for 15; both sides play
64 games.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.decision_transformer.d3rlpy_peer import METHODS
from benchmarks.decision_transformer.offline_runs import (
    data,
    learn,
    mean_of,
    once,
    paired,
    played,
    q_agent,
    test,
    transformer,
    verdict,
)
from benchmarks.harness import ROOT, Goal, by, fresh_seeds, mean_over_seeds, reported
from course_lib.agents import decision_transformer as dt
from course_lib.rl import offline

VARIABLE = "D3RLPY"
CQL, DT = METHODS
STEPS = {CQL: 2_000, DT: 1_000}
KIT, PEER = "course_lib", "d3rlpy"


def interpreter(folder: Path) -> tuple[Path | str, dict[str, str]]:
    """The Python that has d3rlpy, and the environment to call it with."""
    places = [str(ROOT)]
    own = folder / "bin" / "python"
    if not own.exists():
        own = sys.executable
        places.append(str(folder))
    return own, os.environ | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}


def theirs(method: str, seed: int, steps: int) -> dict:
    python, environment = interpreter(Path(os.environ[VARIABLE]))
    call = [python, "-m", "benchmarks.decision_transformer.d3rlpy_peer", method, seed, steps]
    done = subprocess.run(
        [str(word) for word in call], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"d3rlpy's side stopped with an error:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def after_the_first(training: Iterator[dict[str, float]]) -> float:
    """CPU seconds of all steps but the first, which also pays for what is prepared once."""
    next(training)
    return learn(training)["cpu"]


def ours(method: str, seed: int, steps: int) -> dict:
    if method == CQL:
        config, agent = replace(offline.Config(), steps=steps), q_agent(data(), seed)
        cpu = after_the_first(offline.train_cql(agent, data(), config, seed))
        score, network = test(agent.act, seed), agent.online
    else:
        config = replace(dt.Config(), steps=steps)
        network = transformer(seed, config)
        cpu = after_the_first(dt.train(network, data(), config, seed))
        network.eval()
        score = played(network, seed)
    weights = sum(parameter.numel() for parameter in network.parameters())
    return {"score": score, "cpu": cpu, "weights": weights}


SIDES = {KIT: ours, PEER: theirs}


def fit(side: str, method: str, seed: int, quick: bool) -> dict:
    steps = STEPS[method] // 50 if quick else STEPS[method]

    def work() -> dict:
        found = {"side": side, "method": method, "seed": seed, "steps": steps}
        return found | SIDES[side](method, seed, steps)

    name = f"{side}_{method.replace(' ', '_')}_{steps}_{seed}"
    return once(name, work, quick)


def measure(quick: bool) -> dict:
    if not os.environ.get(VARIABLE):
        raise SystemExit(
            "offline_vs_d3rlpy was skipped: it needs d3rlpy, which is no part of the kit's "
            "environment. Install it elsewhere (`pip install --no-deps --target FOLDER d3rlpy` and "
            f"what it imports), set the environment variable {VARIABLE} to that folder, or to a "
            "virtual environment that has it, and run this again"
        )
    seeds = fresh_seeds(1 if quick else 3)
    runs = []
    for seed in seeds:
        for method in STEPS:
            sides = list(SIDES) if seed % 2 else list(SIDES)[::-1]
            runs += [fit(side, method, seed, quick) for side in sides]
    return {"seeds": seeds, "steps": STEPS, "runs": runs}


def judge(result: dict) -> list[Goal]:
    runs, goals = by(result["runs"], "method", "side"), []
    version = next(run["version"] for run in result["runs"] if run["side"] == PEER)
    for method in STEPS:
        kit, peer = runs[method, KIT], runs[method, PEER]
        title = f"Breakout from a recording, {method}, {len(kit)} seeds, against d3rlpy {version}"
        words = f"{mean_of(kit, 'score')} and {mean_of(peer, 'score')}; difference per seed "
        words += f"{verdict(paired(kit, peer, 'score'))}; weights {kit[0]['weights']:,} and "
        words += f"{peer[0]['weights']:,}"
        goals.append(reported(f"{title}: bricks after {kit[0]['steps']:,} steps", words))
        speeds = [
            np.array([(run["steps"] - 1) / run["cpu"] for run in side]) for side in (kit, peer)
        ]
        words = f"{mean_over_seeds(speeds[0] / speeds[1])} times as many "
        words += f"({speeds[0].mean():.0f} and {speeds[1].mean():.0f})"
        goals.append(reported(f"{title}: steps per CPU second", words))
    return goals
