"""Two ways in which a policy fails that learned in a dream, each with its cure; paired seeds.

*Reward and end that do not look*: heads that read what the transformer knew before the frame came,
not the two frames between which it happened. The dream then shows a missed ball and goes on, or
pays for a brick that still stands. Cure: read the pair.

*One side of the game never seen*: dreams that begin only in episodes whose ball was launched from
the left. Cure: begin in all of the replay.

Frames and models are those of `dream_breakout.py`; the model of the first failure learns from the
same frames as often. In every case a new policy learns in dreams alone, in as many updates.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from benchmarks.harness import SHARE, Clock, Goal, by, mean_over_seeds, reported
from benchmarks.transformer_world_model import dream_runs
from benchmarks.transformer_world_model.world_model_breakout import exam, grade
from benchmarks.world_models import kept
from course_lib.evaluation import t_interval
from course_lib.rl.agent import Agent
from course_lib.rl.envs import make
from course_lib.world_models import dreamer, world_model
from course_lib.world_models.frames import FrameReplay
from course_lib.world_models.imagination import Dream, from_replay
from course_lib.world_models.world_model import WorldModel

UPDATES = 150
RECIPE, BLIND, ONE_SIDED = "the recipe", "events from the hidden state", "launched from the left"


def launched_left(replay: FrameReplay) -> torch.Tensor:
    """Steps of episodes whose ball was launched from the left, (N, S) bool."""
    ended = replay.terminated | replay.truncated
    first = torch.ones_like(ended)
    first[:, 1:] = ended[:, :-1]
    left = replay.obs[:, :, 1].any(dim=2).long().argmax(dim=2) < 5  # the ball's column
    steps = torch.arange(ended.shape[1]).expand_as(ended)
    begun = torch.where(first, steps, 0).cummax(dim=1).values
    return left.gather(1, begun)


def one_sided(replay: FrameReplay) -> FrameReplay:
    """The same streams without the episodes launched from the right."""
    kept = launched_left(replay)
    kept &= torch.arange(kept.shape[1]) < replay.lengths[:, None]
    few = FrameReplay(*replay.actions.shape[:1], tuple(replay.obs.shape[2:]), kept.shape[1])
    for name in dream_runs.COLUMNS[:-1]:
        for i, rows in enumerate(kept):
            getattr(few, name)[i, : rows.sum()] = getattr(replay, name)[i, rows]
    few.lengths = kept.sum(1)
    return few


def by_side(agent: Agent, seed: int) -> dict[str, float]:
    """Mean real return of episodes launched from the left and from the right."""
    envs, policy = make(dream_runs.GAME, 200, 10_000 + seed), dream_runs.drawn(agent, seed)
    obs = envs.reset()
    left = obs[:, 1].any(1).argmax(1) < 5
    returns, going = np.zeros(200), np.ones(200, bool)
    while going.any():  # one episode each
        step = envs.step(policy(obs))
        returns += step.rewards * going
        going &= ~(step.terminated | step.truncated)
        obs = step.obs
    sides = {"left": returns[left], "right": returns[~left]}
    return {name: round(float(values.mean()), 3) for name, values in sides.items()}


def unseeing(seed: int, replay: FrameReplay) -> WorldModel:
    """A model whose events are read from the hidden state, from the same frames as often."""
    recipe = dreamer.BREAKOUT
    model = WorldModel(replace(recipe.model, event_head="hidden"), replay.obs.shape[2:], 3, seed)
    run = world_model.Run(model, recipe.training, seed)
    for steps in recipe.model_steps:
        for _ in world_model.train(model, replay, recipe.training, steps, run=run):
            pass
    return model


def without(case: str, seed: int) -> dict:
    """Train a policy in one kind of dream, then let it play the real game."""

    def work() -> dict:
        _, model, player = dream_runs.dream(seed)
        replay = dream_runs.replay_of(seed)
        if case == BLIND:
            model = unseeing(seed, replay)
        starts = from_replay(one_sided(replay) if case == ONE_SIDED else replay, 4, 0.5)
        config = replace(dreamer.BREAKOUT, updates=(UPDATES,), frames=(1,), model_steps=(1,))
        agent = Agent(make(dream_runs.GAME, 1), config.policy.agent, seed)
        with Clock() as clock:
            dream = Dream(model, starts, config.policy.num_envs, config.horizon, seed)
            rows = list(dreamer.learn_in(dream, agent, config, seed))
        marks = grade(model, exam(dream_runs.drawn(player, seed), seed), seed)
        names = ("missed_death", "false_death", "invented", "unpaid")
        return {
            "case": case, "seed": seed, "cpu": round(clock.cpu, 1),
            "dreamed_return": round(float(np.mean([r["return"] for r in rows[-10:]])), 3),
            "real_return": dream_runs.test(dream_runs.drawn(agent, seed), seed),
            **by_side(agent, seed), **{name: marks[name] for name in names},
            "curve": [round(r["return"], 2) for r in rows[::5]],
        }  # fmt: skip

    file = f"{seed}_failure_{case.replace(' ', '_')}.json"
    return kept.once(dream_runs.folder() / file, work)


def measure(quick: bool) -> dict:
    seeds = list(range(310, 311 if quick else 320))
    runs = [without(case, seed) for seed in seeds for case in (RECIPE, BLIND, ONE_SIDED)]
    return {"seeds": seeds, "updates": UPDATES, "runs": runs}


def judge(result: dict) -> list[Goal]:
    cases = by(result["runs"], "case")
    recipe = {run["seed"]: run["real_return"] for run in cases[RECIPE]}
    goals = []
    for case, runs in cases.items():
        parts = []
        for key, label in NAMED.items():
            within = SHARE if key in SHARES else RETURN
            parts.append(f"{label} {mean_over_seeds([r[key] for r in runs], within=within)}")
        if case != RECIPE:
            change = [run["real_return"] - recipe[run["seed"]] for run in runs]
            _, low, high = t_interval(change)
            clear = "worse" if high < 0 else "better" if low > 0 else "no clear difference"
            parts.insert(0, f"against the recipe {mean_over_seeds(change)}: {clear}")
        goals.append(reported(f"Dreams, Breakout: {case}", "; ".join(parts)))
    return goals


NAMED = {
    "real_return": "real return",
    "dreamed_return": "dreamed return",
    "left": "launched left",
    "right": "launched right",
    "missed_death": "missed deaths",
    "invented": "invented rewards",
}
SHARES = ("missed_death", "invented")
RETURN = (0.0, np.inf)  # bricks of a game
