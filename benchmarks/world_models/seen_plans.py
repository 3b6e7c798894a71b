"""Pendulum: does a network that saw its plans fail plan better from new starts, or with any data?

In `model_error` a network learns from 400 random steps, and from what became of its best plans from
ten starts; then it is judged at those ten starts, with twice the data of the one that it is
compared with. Here it is also judged at ten new starts, and beside a network that got as many more
*random* steps. All plan with the most search of `model_error` (1,200 plans of 40 steps, a learned
reward) and follow the best plan without looking. Differences are paired by seed; t intervals.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import torch

from benchmarks.harness import Goal, by, fresh_seeds, reported
from benchmarks.world_models import kept, model_error
from benchmarks.world_models.model_error import AHEAD, FEW, PENDULUM, SINGLE, STARTS, fitted, played
from benchmarks.world_models.same_reward import interval, verdict
from course_lib.world_models import dynamics, experience, planning
from course_lib.world_models.experience import Transitions, transitions

ONE, SEEN, MORE = "400 random steps", "its failed plans added", "as many random steps added"
SAME, NEW = "the starts of those plans", "new starts"
SEEDS = 6


def judged(seed: int) -> list[dict]:
    """Promise and payment of the three networks, at both sets of starts."""
    search = replace(model_error.PLANS, iterations=model_error.SEARCH[-1])
    config = replace(SINGLE, learn_reward=True)
    few = transitions(played(PENDULUM, FEW, seed, 2))
    one = fitted(few, config, seed)
    _, failed = model_error.promise(one, search, seed)
    random = transitions(played(PENDULUM, STARTS * AHEAD, 40_000 + seed, 2))
    models = {
        ONE: one,
        SEEN: fitted(_both(few, failed), config, seed),
        MORE: fitted(_both(few, random), config, seed),
    }
    return [
        {"data": data, "starts": starts, "seed": seed}
        | model_error.promise(model, search, seed + shift)[0]
        for data, model in models.items()
        for starts, shift in ((SAME, 0), (NEW, 20_000))
    ]


def _both(first: Transitions, second: Transitions) -> Transitions:
    return Transitions(*(torch.cat(pair) for pair in zip(first, second, strict=True)))


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(2 if quick else SEEDS)
    code = (dynamics, experience, planning, model_error, sys.modules[__name__])
    folder = kept.folder("world_models", *code)
    runs: list[dict] = []
    for seed in seeds:
        runs += kept.once(folder / f"{seed}_seen.json", lambda s=seed: judged(s))
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    rows = by(result["runs"], "starts", "data")
    goals = []
    for (starts, data), runs in rows.items():
        gap, paid = _gap(runs), interval([run["real"] for run in runs])
        what = f"Pendulum, {data}, judged at {starts}: promised less paid"
        goals.append(reported(what, f"{interval(gap)} over {len(gap)} seeds; paid {paid}"))
    for starts in (SAME, NEW):
        for other in (ONE, MORE):
            seen, less = rows[starts, SEEN], rows[starts, other]
            gap = [b - a for a, b in zip(_gap(seen), _gap(less), strict=True)]
            paid = [a["real"] - b["real"] for a, b in zip(seen, less, strict=True)]
            what = f"Pendulum, judged at {starts}: {SEEN}, against {other}"
            goals.append(
                reported(
                    what,
                    f"gap smaller by {interval(gap)}: {verdict(gap)}; paid more by "
                    f"{interval(paid)}: {verdict(paid)}",
                )
            )
    return goals


def _gap(runs: list[dict]) -> list[float]:
    return [run["promised"] - run["real"] for run in runs]
