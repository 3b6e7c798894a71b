"""Two mistakes that a decision transformer survives without an error, and what they cost.

*Return to go never lowered*: bricks do not come off what is asked for, so that it plays on as if it
had hit none. The trained model is the right one; only its playing is wrong.

*The action read at its own token*: the second token of a step is the action instead of the state,
so that what is to be predicted stands in the input. The loss falls to almost 0; to play, no action
is known yet.

Training is that of the lesson's decision transformer on Breakout's replay, on five seeds.
"""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
from torch import Tensor

from benchmarks.decision_transformer.offline_runs import (
    ASKED,
    EPISODES,
    arena,
    data,
    learn,
    mean_of,
    once,
    paired,
    played,
    transformer,
    verdict,
)
from benchmarks.harness import Goal, by, fresh_seeds, mean_over_seeds, reported
from course_lib.agents import decision_transformer as dt
from course_lib.rl.envs import Envs, Step

ASKS = (0, 3, 6, 10, 15)
STEPS = dt.Config().steps
RIGHT, FROZEN = "right", "return to go never lowered"
LEAK = "the action read at its own token"


class Unpaid:
    """Environments that keep their rewards from the player, and count them for the judge."""

    def __init__(self, envs: Envs):
        self.envs, self.num_envs = envs, envs.num_envs
        self.obs_shape, self.num_actions = envs.obs_shape, envs.num_actions
        self.earned, self.over = np.zeros(envs.num_envs), np.zeros(envs.num_envs, bool)

    def reset(self) -> np.ndarray:
        return self.envs.reset()

    def step(self, actions: np.ndarray) -> Step:
        step = self.envs.step(actions)
        self.earned += step.rewards * ~self.over  # of each environment the first episode counts
        self.over |= step.terminated | step.truncated
        return step._replace(rewards=np.zeros_like(step.rewards))


def never_lowered(model: dt.DecisionTransformer, seed: int, asked: float) -> float:
    """Mean return where the player never hears of a reward."""
    envs = Unpaid(arena(seed))
    dt.play(model, envs, asked, EPISODES, seed=seed)
    return round(float(envs.earned.mean()), 3)


def action_first(returns: Tensor, states: Tensor, actions: Tensor) -> Tensor:
    """The mistake: R, a, s instead of R, s, a, so that the second token is the action."""
    return RIGHT_ORDER(returns, actions, states)


RIGHT_ORDER = dt.interleave


def one_seed(seed: int, quick: bool) -> list[dict]:
    def work() -> list[dict]:
        config, runs = replace(dt.Config(), steps=STEPS // 40 if quick else STEPS), []
        model = transformer(seed, config)
        found = learn(dt.train(model, data(), config, seed))
        model.eval()
        for asked in (0, int(ASKED)) if quick else ASKS:
            about = {"seed": seed, "asked": asked}
            runs.append({"case": RIGHT, **about, "got": played(model, seed, asked), **found})
            runs.append({"case": FROZEN, **about, "got": never_lowered(model, seed, asked)})
        model = transformer(seed, config)
        with patch.object(dt, "interleave", action_first):
            found = learn(dt.train(model, data(), config, seed))
            model.eval()
            got = played(model, seed)
        return [*runs, {"case": LEAK, "seed": seed, "asked": int(ASKED), "got": got, **found}]

    return once(f"mistakes_{STEPS}_{seed}", work, quick)


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 5)
    return {"seeds": seeds, "runs": [run for seed in seeds for run in one_seed(seed, quick)]}


def judge(result: dict) -> list[Goal]:
    runs, goals, seeds = by(result["runs"], "case", "asked"), [], len(result["seeds"])
    title = "decision transformer, Breakout"
    for (case, asked), rows in runs.items():
        if case != FROZEN:
            continue
        right = runs[RIGHT, asked]
        change = paired(rows, right, "got")
        more = f"{sum(x > 0 for x in change)} of {seeds} seeds got more"
        words = f"{mean_of(rows, 'got')} instead of {mean_of(right, 'got')}; "
        words += f"{verdict(change, 'more', 'fewer')}; {more}"
        goals.append(reported(f"{title}, {case}: bricks when asked for {asked}", words))
    leak, right = runs[LEAK, int(ASKED)], runs[RIGHT, int(ASKED)]
    losses = [mean_over_seeds([r["loss"] for r in x], ".3f", (0, np.inf)) for x in (leak, right)]
    worse = sum(x < 0 for x in paired(leak, right, "got"))
    words = f"{mean_of(leak, 'got')} instead of {mean_of(right, 'got')}; "
    words += f"{verdict(paired(leak, right, 'got'), 'more', 'fewer')}; "
    words += f"{worse} of {seeds} seeds got fewer; loss {losses[0]} instead of {losses[1]}"
    goals.append(reported(f"{title}, {LEAK}: bricks when asked for {int(ASKED)}", words))
    return goals
