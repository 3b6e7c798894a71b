"""What the benchmarks of lesson 13 share: the data, how a player is tested, how two are compared.

Finished runs are kept under ``build``, in another folder as soon as the library's code that made
them changes, so that a measurement that was interrupted goes on. Timings are those of the first
time. A quick measurement keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Clock, mean_over_seeds
from benchmarks.world_models import kept
from course_lib import randomness
from course_lib.agents import decision_transformer as dt
from course_lib.evaluation import evaluate, t_interval
from course_lib.rl import dataset, dqn, networks, offline
from course_lib.rl.agent import Agent, AgentConfig
from course_lib.rl.dataset import Dataset
from course_lib.rl.envs import Envs, make
from course_lib.worlds import offline_data

EPISODES = 64  # of one test, one in each environment
ASKED = 15.0  # bricks; chosen before anything was measured
BRICKS = (0.0, np.inf)  # what a return can be
# One convolution and one dense layer, as the Q networks have them.
POLICY = AgentConfig(hidden=(128,), shared=True, activation="relu")
# What a run depends on besides its own benchmark's constants, which stand in its file's name.
MODULES = (dataset, dqn, dt, networks, offline, offline_data)


@cache
def data(kind: str = "replay", game: str = "Breakout") -> Dataset:
    """A recording that the course ships."""
    return offline_data.load(game, kind)


def folder() -> Path:
    """Where finished runs are kept."""
    return kept.folder("offline", *MODULES)


def once(name: str, work: Callable[[], Any], quick: bool = False) -> Any:
    """What was kept under ``name``, or what ``work`` gives, kept; a quick run is not kept."""
    if not quick:
        return kept.once(folder() / f"{name}.json", work)
    result = work()
    for run in result if isinstance(result, list) else [result]:
        print({k: v for k, v in run.items() if not isinstance(v, list)}, flush=True)
    return result


def learn(training: Iterable[dict[str, float]]) -> dict[str, float]:
    """Run a training to its end: mean of the metrics of its last tenth, CPU seconds, steps."""
    rows = []
    with Clock() as clock:
        for row in training:
            rows.append(row)
    last = rows[-max(1, len(rows) // 10) :]
    names = [name for name in last[0] if name not in ("step", "steps")]
    means = {name: round(float(np.mean([row[name] for row in last])), 4) for name in names}
    return means | {"cpu": round(clock.cpu, 2), "steps": len(rows)}


# --- Tests ---------------------------------------------------------------------------------------


def arena(seed: int, game: str = "Breakout", count: int = EPISODES) -> Envs:
    """Environments whose seed no training and no recording has seen."""
    return make(f"MinAtar/{game}", count, 10_000 + seed)


def test(act: Callable[[np.ndarray], np.ndarray], seed: int, game: str = "Breakout") -> float:
    """Mean return of a policy that reads one observation."""
    return round(float(evaluate(act, arena(seed, game), EPISODES).mean()), 3)


def drawn(agent: Agent, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Actions as the policy draws them."""
    generator = randomness.generator(seed, 21)
    return lambda obs: agent.act(obs, greedy=False, generator=generator)


def played(
    model: dt.DecisionTransformer,
    seed: int,
    asked: float = ASKED,
    greedy: bool = False,
    game: str = "Breakout",
) -> float:
    """Mean return of a decision transformer that is asked for so much."""
    returns = dt.play(model, arena(seed, game), asked, EPISODES, greedy=greedy, seed=seed)
    return round(float(np.mean(returns)), 3)


def transformer(
    seed: int, config: dt.Config, like: Dataset | None = None
) -> dt.DecisionTransformer:
    """A decision transformer that knows nothing yet."""
    like = like or data()
    return dt.DecisionTransformer(like.obs_shape, like.num_actions, config, seed)


def q_agent(like: Dataset, seed: int, hidden: tuple[int, ...] = (128,)) -> dqn.DQN:
    """Q networks of the same size as ``POLICY``."""
    return dqn.DQN(like.obs_shape, like.num_actions, dqn.Config(hidden=hidden), seed)


def discounted(rewards: np.ndarray, ended: np.ndarray, gamma: float) -> np.ndarray:
    """Discounted rewards from each row on to the end of its episode, (S,) float32."""
    returns, rest = np.zeros(len(rewards), np.float64), 0.0
    for t in reversed(range(len(rewards))):
        rest = rewards[t] + gamma * (0.0 if ended[t] else rest)
        returns[t] = rest
    return returns.astype(np.float32)


# --- Words ---------------------------------------------------------------------------------------


def verdict(
    differences: Sequence[float], more: str = "ahead", less: str = "behind", form: str = ".2f"
) -> str:
    """Mean of paired differences, its 95 % t interval, and what it says in a word."""
    _, low, high = t_interval(differences)
    word = more if low > 0 else less if high < 0 else "no clear difference"
    return f"{mean_over_seeds(differences, '+' + form)}: {word}"


def paired(runs: Sequence[dict], others: Sequence[dict], key: str, key_of_others: str = "") -> list:
    """Differences run by run of two lists in one order of seeds; says so where they are not."""
    seeds = [[run["seed"] for run in part] for part in (runs, others)]
    if seeds[0] != seeds[1]:
        raise ValueError(f"paired runs must have the same seeds in one order, got {seeds}")
    both = zip(runs, others, strict=True)
    return [one[key] - other[key_of_others or key] for one, other in both]


def mean_of(runs: Sequence[dict], key: str, form: str = ".2f") -> str:
    """Mean return over seeds with its interval, which begins at 0 at the lowest."""
    return mean_over_seeds([run[key] for run in runs], form, BRICKS)


def spent(runs: Sequence[dict]) -> str:
    """Mean CPU seconds of a fit."""
    return f"{np.mean([run['cpu'] for run in runs]):.0f}"
