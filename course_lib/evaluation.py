"""Honest numbers: episodes to evaluate a policy, statistics over seeds, and claims that can fail.

The statistics follow Agarwal et al., "Deep Reinforcement Learning at the Edge of the
Statistical Precipice" (NeurIPS 2021): the interquartile mean (IQM) ignores a lucky and an
unlucky quarter of the runs, and an interval says how far another draw of seeds could move it.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_COMPARISONS = {
    ">=": (operator.ge, "at least"),
    ">": (operator.gt, "above"),
    "<=": (operator.le, "at most"),
    "<": (operator.lt, "below"),
    "==": (operator.eq, "equal to"),
}


def evaluate(policy: Callable[[np.ndarray], np.ndarray], envs: Any, episodes: int) -> np.ndarray:
    """Play whole episodes and return their undiscounted returns, shape (E,).

    `policy` maps observations (N, *obs_shape) to actions (N,). Each of the N environments plays
    the same number of episodes, so E is `episodes` rounded up to a multiple of N: taking the
    first E episodes to *end* would favour short ones.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    quota = -(-episodes // envs.num_envs)
    finished: list[list[float]] = [[] for _ in range(envs.num_envs)]
    running = np.zeros(envs.num_envs)
    obs = envs.reset()
    while min(len(done) for done in finished) < quota:
        obs, rewards, terminated, truncated, valid = envs.step(policy(obs))
        running += rewards * valid
        for i in np.flatnonzero(terminated | truncated):
            if len(finished[i]) < quota:
                finished[i].append(float(running[i]))
            running[i] = 0.0
    return np.array(finished).ravel()


def success_rate(returns: np.ndarray, goal: float) -> float:
    """The share of episodes whose return (E,) reaches the goal: between 0 and 1."""
    if len(returns) == 0:
        raise ValueError("success_rate needs at least one episode, got none")
    return float((np.asarray(returns) >= goal).mean())


def committed_result(name: str) -> dict[str, Any]:
    """A committed benchmark result; its `runs` hold one dictionary per run.

    `python -m benchmarks NAME` measures it again and says what it was measured on.
    """
    folder = Path(__file__).parent.parent / "benchmarks" / "results"
    path = folder / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.json"))) or "none"
        raise FileNotFoundError(f"no committed result named {name!r}; there are: {known}")
    return json.loads(path.read_text(encoding="utf-8"))


def iqm(values: Sequence[float] | np.ndarray) -> float:
    """Interquartile mean: the mean of the middle half of the values."""
    from scipy.stats import trim_mean

    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError("iqm needs at least one value, got none")
    return float(trim_mean(values, 0.25, axis=None))


def bootstrap_interval(
    values: Sequence[float] | np.ndarray,
    statistic: Callable[[np.ndarray], float] = np.mean,
    confidence: float = 0.95,
    resamples: int = 5000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over runs: (low, high).

    Resamples the runs with replacement (Efron 1979). With fewer than two runs there is no
    spread to learn from, so the interval is (nan, nan).
    """
    values = np.asarray(values, dtype=float)
    if values.size < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    draws = values[rng.integers(0, values.size, size=(resamples, values.size))]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.apply_along_axis(statistic, 1, draws), [tail, 1 - tail])
    return float(low), float(high)


def t_interval(
    values: Sequence[float] | np.ndarray, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over the first axis and Student's t interval: (mean, low, high).

    For a few runs, whose percentile bootstrap is too narrow: with five it covers their mean in
    about 84 % of cases instead of 95 %. With fewer than two runs low and high are nan.
    """
    from scipy.stats import t

    values = np.asarray(values, dtype=float)
    middle, count = values.mean(0), len(values)
    if count < 2:
        return middle, middle * np.nan, middle * np.nan
    half = t.ppf((1 + confidence) / 2, count - 1) * values.std(0, ddof=1) / np.sqrt(count)
    return middle, middle - half, middle + half


def over_seeds(
    values: Sequence[float], form: str = ".3g", within: tuple[float, float] = (-np.inf, np.inf)
) -> str:
    """The mean over seeds and its 95 % t interval in words: "2.43 [1.98, 2.89]"; of one, itself.

    The ends are cut to what is possible at all, ``within``: a share is never above 1.
    """
    mean, *ends = t_interval(values)
    if len(values) < 2:
        return f"{mean:{form}}"
    low, high = np.clip(ends, *within)
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def claim(sentence: str, measured: float, comparison: str, goal: float) -> None:
    """State a claim that this very run must support; raise `AssertionError` if it does not.

    Prints the sentence, what was measured, and the threshold. When notebooks are compared with
    their stored outputs, what was measured may differ: see ``tests/sanitize.cfg``.
    """
    if comparison not in _COMPARISONS:
        raise ValueError(f"comparison must be one of {list(_COMPARISONS)}, got {comparison!r}")
    holds, words = _COMPARISONS[comparison]
    if not holds(measured, goal):
        raise AssertionError(f"{sentence}: this run gives {measured:.4g}, not {words} {goal:g}")
    print(f"✓ {sentence}: {measured:.3g} ({words} {goal:g})")
