"""What the world model knows of Breakout after 20,000 real frames: five seeds, judged by the game.

The first 6,000 frames are those of the dreamers of `dream_breakout.py`; then the policy that was
trained in their dreams plays on. A new model learns from all of it, beside it the head that tosses
a coin for every cell, in as many steps. Copies of the real game say what each step can lead to:
with the chosen action, or with the one before it, since actions stick. *On-policy* frames come from
that policy; *off-policy* frames from a scripted player who goes to where the ball will land, with
one action in ten at random: no better a player than the policy, but another one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import SHARE, Clock, Goal, by, mean_over_seeds, reported
from benchmarks.transformer_world_model import dream_runs
from benchmarks.world_models import kept
from course_lib.rl.agent import Agent
from course_lib.rl.envs import make
from course_lib.world_models import dreamer, world_model
from course_lib.world_models.frames import FrameReplay, Recorder
from course_lib.world_models.imagination import Dream, from_replay
from course_lib.world_models.world_model import WorldModel
from course_lib.worlds import breakout as truth

STEPS, GAMES = 150, 32  # of play per exam
CONTEXT = 8  # steps that the model has seen when it predicts, the present one included
ROLLOUT = 10
FRAMES = 20_000
STEPS_TRAINED = 4_000  # gradient steps of each model, of few windows each as in the recipe
HEADS = ("chance", "bernoulli")


class Exam(NamedTuple):
    """Real play, and what each of its steps could have led to."""

    replay: FrameReplay
    obs: Tensor  # (N, S, 2, C, H, W) uint8, see `truth.outcomes`
    rewards: Tensor  # (N, S, 2)
    terminated: Tensor  # (N, S, 2)


def exam(policy, seed: int) -> Exam:
    """Let ``policy`` play unseen games and ask them at every step what can come next."""
    envs = make(dream_runs.GAME, GAMES, 20_000 + seed)
    obs = envs.reset()
    replay = FrameReplay(GAMES, envs.obs_shape, STEPS)
    paper = Exam(
        replay,
        torch.zeros(GAMES, STEPS, 2, *envs.obs_shape, dtype=torch.uint8),
        torch.zeros(GAMES, STEPS, 2),
        torch.zeros(GAMES, STEPS, 2, dtype=torch.bool),
    )
    for _ in range(STEPS):
        actions = policy(obs)
        possible = truth.outcomes(envs, actions)
        step = envs.step(actions)
        rows = torch.as_tensor(step.valid).nonzero().squeeze(1)
        for column, value in zip(paper[1:], possible, strict=True):
            column[rows, replay.lengths[rows]] = torch.as_tensor(value)[rows]
        replay.add(obs, actions, step)
        obs = step.obs
    return paper


def scripted(seed: int):
    """The off-policy player."""
    rng = np.random.default_rng(seed)
    return lambda obs: truth.follow_the_ball(obs, 0.1, rng)


def grade(model: WorldModel, paper: Exam, seed: int) -> dict[str, float]:
    """Shares of single steps that the model gets right, over all of an exam's steps."""
    replay, generator = paper.replay, torch.Generator().manual_seed(seed)
    last = torch.arange(STEPS)
    use = (last >= CONTEXT - 1) & (last < replay.lengths[:, None])
    marks: dict[str, list[Tensor]] = {}
    for envs, now in zip(*(x.split(256) for x in use.nonzero().T), strict=True):
        windows = replay.take(envs, now - CONTEXT + 1, CONTEXT)
        before = windows.obs[:, :-1], windows.actions[:, :-1], windows.same_episode
        here = windows.obs[:, -1], windows.actions[:, -1]
        likeliest = model.step(model.start(*before), *here, generator, temperature=0.0)
        drawn = model.step(model.start(*before), *here, generator)
        can, rewards, ends = (column[envs, now] for column in paper[1:])
        fits = truth.same_frame(can, drawn.next_obs[:, None])
        # Where a drawn frame is possible, reward and end are those of the outcome it shows.
        which = fits.long().argmax(1, keepdim=True)
        reward, end = (x.gather(1, which)[:, 0] for x in (rewards, ends))
        possible = fits.any(1)
        row = {
            "exact": truth.same_frame(likeliest.next_obs, can[:, 0]),
            "possible": possible,
            "one_each": truth.one_ball_one_paddle(drawn.next_obs),
            "reward_right": (drawn.rewards == reward)[possible],
            "paid": (reward > 0)[possible],
            "invented": (drawn.rewards > 0)[possible & (reward == 0)],
            "unpaid": (drawn.rewards == 0)[possible & (reward > 0)],
            "missed_death": ~drawn.terminated[possible & end],
            "false_death": drawn.terminated[possible & ~end],
        }
        for name, value in row.items():
            marks.setdefault(name, []).append(value)
    return {name: round(float(torch.cat(v).float().mean()), 4) for name, v in marks.items()}


def keeps_its_pieces(model: WorldModel, agent: Agent, paper: Exam, seed: int) -> float:
    """Share of dreams still going after ten steps that show one ball and one paddle then."""
    dream = Dream(model, from_replay(paper.replay, 4, 0.0), 1024, ROLLOUT, seed)
    obs, policy = dream.reset(), dream_runs.drawn(agent, seed)
    for _ in range(ROLLOUT):
        step = dream.step(policy(obs))
        obs = step.obs
    going = step.valid & ~step.terminated
    kept = truth.one_ball_one_paddle(torch.as_tensor(obs)).numpy()
    return round(float(kept[going].mean()), 4)


def watched(seed: int) -> FrameReplay:
    """The dreamer's frames and those of its last policy, ``FRAMES`` steps in all."""
    _, _, agent = dream_runs.dream(seed)
    dreamed = dream_runs.replay_of(seed)
    envs = make(dream_runs.GAME, dreamer.BREAKOUT.num_envs, 40_000 + seed)
    more = FRAMES - sum(dreamer.BREAKOUT.frames)
    replay = FrameReplay(envs.num_envs, envs.obs_shape, FRAMES // envs.num_envs)
    for name in dream_runs.COLUMNS[:-1]:
        getattr(replay, name)[:, : dreamed.actions.shape[1]] = getattr(dreamed, name)
    replay.lengths = dreamed.lengths.clone()
    last = torch.arange(envs.num_envs), replay.lengths - 1
    replay.truncated[last] = ~replay.terminated[last]  # what follows are other games
    policy, rng = dream_runs.drawn(agent, seed), np.random.default_rng((seed, 6))

    def explore(obs: np.ndarray) -> np.ndarray:
        actions = policy(obs)
        random = rng.random(len(obs)) < dreamer.BREAKOUT.explore
        actions[random] = rng.integers(envs.num_actions, size=random.sum())
        return actions

    Recorder(envs, replay).play(explore, more // envs.num_envs)
    return replay


def trained(seed: int, steps: int = STEPS_TRAINED, **changes: str) -> tuple[WorldModel, float]:
    """The lesson's model but for ``changes``, and the CPU seconds of its training."""
    name = "_".join([str(seed), str(steps), *changes.values()])
    file = dream_runs.folder() / f"{name}.safetensors"

    def work() -> dict:
        replay = watched(seed)
        config = replace(dreamer.BREAKOUT.model, **changes)
        model = WorldModel(config, replay.obs.shape[2:], 3, seed)
        with Clock() as clock:
            for _ in world_model.train(model, replay, dreamer.BREAKOUT.training, steps, seed):
                pass
        world_model.save(model, file, f"world_model_breakout, seed {seed}")
        return {"model": name, "cpu": round(clock.cpu, 1)}

    spent = kept.once(file.with_suffix(".json"), work)
    return world_model.load(file), spent["cpu"]


def measure(quick: bool) -> dict:
    seeds = list(range(310, 311 if quick else 315))
    runs = []
    for seed in seeds:
        _, _, agent = dream_runs.dream(seed)
        on = exam(dream_runs.drawn(agent, seed), seed)
        off = exam(scripted(seed), seed)
        for head in HEADS[:1] if quick else HEADS:
            which, cpu = trained(seed, frame_head=head)
            run = {"head": head, "seed": seed, "frames": FRAMES, "cpu": cpu}
            run |= {f"on_{k}": v for k, v in grade(which, on, seed).items()}
            run |= {f"off_{k}": v for k, v in grade(which, off, seed).items()}
            run["pieces"] = keeps_its_pieces(which, agent, on, seed)
            print(run, flush=True)
            runs.append(run)
    return {"seeds": seeds, "steps": STEPS * GAMES, "context": CONTEXT, "runs": runs}


ROWS = (
    ("on_exact", "likeliest next frame exactly right, on-policy", 0.99),
    ("off_exact", "likeliest next frame exactly right, off-policy", 0.90),
    ("on_possible", "drawn next frame possible, on-policy", 0.98),
    ("pieces", "dreams with one ball and one paddle at step 10", 0.95),
    ("off_possible", "drawn next frame possible, off-policy", None),
)


def judge(result: dict) -> list[Goal]:
    goals = []
    for head, runs in by(result["runs"], "head").items():
        who = {"chance": "World model", "bernoulli": "A coin per cell"}[head]
        for name, what, least in ROWS:
            values = [run[name] for run in runs]
            what = f"{who}, Breakout, {runs[0]['frames']:,} real frames: {what}"
            mean = mean_over_seeds(values, ".3f", within=SHARE)
            words = f"mean {mean}, worst {min(values):.3f}"
            if head == "chance" and least is not None:
                goals.append(Goal(what, f">= {least} on every seed", words, min(values) >= least))
            else:
                goals.append(reported(what, words))
    return goals
