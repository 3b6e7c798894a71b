"""Does a world model need its memory? Context 1 against 16 on two Breakouts, paired seeds.

*Breakout* is MinAtar's: its frames draw the ball and the cell that it came from. *No trail* is the
same games without that cell, so that one frame does not say which way the ball flies. Whoever saw
the frame before it can tell, so a context of 2 may do; that is not measured here.

Everything else is the lesson's: the model, and gradient steps on 96 real steps each as in the
notebook, here as 96 windows or as 6. Breakout gets 300 of them; without the trail, where the
context of 16 had not found out after 360 what to look back for (one seed, not among these), 600.
Frames come from a scripted player who keeps the ball in play: a beginner's ball falls along the
same two paths again and again, and where it is says which way it flies. The exam is new games of
such a player. They obey every action, so each step has one right answer, and the model says its
likeliest one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Clock, Goal, by, reported
from benchmarks.transformer_world_model import dream_runs
from benchmarks.world_models import kept
from course_lib.evaluation import t_interval
from course_lib.rl.envs import make
from course_lib.world_models import frames, heads, world_model
from course_lib.world_models.frames import FrameReplay, Recorder, Windows
from course_lib.world_models.world_model import WorldModel
from course_lib.worlds import breakout

GAMES = {"Breakout": lambda obs: obs, "no trail": breakout.without_trail}
CONTEXTS = (1, 16)
STEPS = {"Breakout": 300, "no trail": 600}  # gradient steps, for either context
READ = 96  # real steps that each of them learns from
WINDOW, REAL = 16, 4  # steps of a stretch of the exam, and how many of them a dream is given
EXPLORE = 0.2  # share of the player's actions that is random


def play(num_envs: int, steps: int, seed: int, sticky: float) -> FrameReplay:
    """The scripted player's games, as the real game draws them."""
    envs = make(dream_runs.GAME, num_envs, seed, sticky_actions=sticky)
    replay, rng = FrameReplay(num_envs, envs.obs_shape, steps), np.random.default_rng((seed, 7))
    Recorder(envs, replay).play(lambda obs: breakout.follow_the_ball(obs, EXPLORE, rng), steps)
    return replay


def drawn_as(draw: Callable[[Tensor], Tensor], replay: FrameReplay) -> FrameReplay:
    """The same games, drawn as ``draw`` does it."""
    other = copy.copy(replay)
    other.obs, other.next_obs = draw(replay.obs), draw(replay.next_obs)
    return other


def stretches(replay: FrameReplay) -> Windows:
    """All windows of ``WINDOW`` steps of one episode each, an end only in the last step."""
    first = torch.arange(replay.obs.shape[1] - WINDOW + 1)
    envs, first = (first + WINDOW <= replay.lengths[:, None]).nonzero().T
    windows = replay.take(envs, first, WINDOW)
    whole = ~windows.ended[:, :-1].any(1)
    return Windows(*(column[whole] for column in windows))


def same_ball(obs: Tensor, others: Tensor) -> Tensor:
    """Equal in the cells of the ball, (B, C, H, W) against the same, (B,) bool."""
    return breakout.same_frame(obs[:, 1:2], others[:, 1:2])


def one_step(model: WorldModel, exam: Windows) -> dict[str, float]:
    """Shares of the last steps of ``exam`` (B, T) whose frame, and whose ball, is foretold."""
    past = slice(WINDOW - model.config.context, WINDOW - 1)
    memory = model.start(exam.obs[:, past], exam.actions[:, past])
    told = model.step(memory, exam.obs[:, -1], exam.actions[:, -1], temperature=0.0).next_obs
    came = exam.next_obs[:, -1]
    shares = {"frame": breakout.same_frame(told, came), "ball": same_ball(told, came)}
    return {name: round(float(right.float().mean()), 4) for name, right in shares.items()}


def true_steps(model: WorldModel, exam: Windows) -> float:
    """How many of 12 dreamed steps show the ball where it is, before the first that does not.

    The dream gets ``REAL`` frames, or as many as the model's context holds, and real actions.
    """
    begin = REAL - 1
    past = slice(max(0, REAL - model.config.context), begin)
    memory = model.start(exam.obs[:, past], exam.actions[:, past])
    obs, true, total = exam.obs[:, begin], torch.ones(len(exam.obs), dtype=torch.bool), 0.0
    for t in range(begin, WINDOW - 1):
        obs = model.step(memory, obs, exam.actions[:, t], temperature=0.0).next_obs
        true &= same_ball(obs, exam.next_obs[:, t])
        total += float(true.float().mean())
    return round(total, 3)


def learned(game: str, context: int, seed: int, quick: bool = False) -> dict:
    """Train one model on one game, and let it sit the exam."""

    def work() -> dict:
        sizes = ((8, 40), (8, 40)) if quick else ((32, 200), (32, 100))
        replay = drawn_as(GAMES[game], play(*sizes[0], seed, 0.1))
        exam = stretches(drawn_as(GAMES[game], play(*sizes[1], 20_000 + seed, 0.0)))
        config = world_model.Config(context=context)
        model = WorldModel(config, replay.obs.shape[2:], 3, seed)
        training, steps = world_model.Training(batch_size=READ // context), STEPS[game]
        with Clock() as clock:
            for _ in world_model.train(model, replay, training, 5 if quick else steps, seed):
                pass
        model.eval()
        return {
            "game": game, "context": context, "seed": seed, "frames": len(replay),
            "weights": model.num_parameters(), "exam": len(exam.obs), "cpu": round(clock.cpu, 1),
            **one_step(model, exam), "true_steps": true_steps(model, exam),
        }  # fmt: skip

    if quick:
        return work()
    folder = kept.folder("context", frames, heads, world_model, breakout)
    return kept.once(folder / f"{game.replace(' ', '_')}_{context}_{seed}.json", work)


def measure(quick: bool) -> dict:
    seeds = list(range(321, 323 if quick else 326))
    runs = [
        learned(game, context, seed, quick)
        for seed in seeds
        for game in GAMES
        for context in CONTEXTS
    ]
    return {"seeds": seeds, "steps": STEPS, "runs": runs}


MEASURED = {
    "ball": ("share of steps whose next ball is foretold", ".3f"),
    "frame": ("share of next frames foretold in every cell", ".3f"),
    "true_steps": ("dreamed steps of 12 until the ball is elsewhere", ".2f"),
}


def interval(values: list[float], form: str) -> str:
    """Mean and 95 % t interval."""
    middle, low, high = t_interval(values)
    return f"{middle:{form}} [{low:{form}}, {high:{form}}]"


def judge(result: dict) -> list[Goal]:
    """Both contexts of each game, and the paired difference; promised is one of the six rows."""
    runs, goals = by(result["runs"], "game", "context"), []
    for name, (what, form) in MEASURED.items():
        for game in GAMES:
            one, many = ([run[name] for run in runs[game, context]] for context in CONTEXTS)
            more = [b - a for a, b in zip(one, many, strict=True)]
            _, low, high = t_interval(more)
            clear = "more" if low > 0 else "less" if high < 0 else "no clear difference"
            title = f"World model, {game}, {len(one)} seeds: {what}"
            words = f"context 1: {interval(one, form)}; 16: {interval(many, form)}; "
            words += f"16 less 1: {interval(more, '+' + form)}, {clear}"
            if (game, name) == ("no trail", "ball"):
                apart = bool(t_interval(many)[1] > t_interval(one)[2])
                goals.append(Goal(title, "the t intervals of 1 and 16 lie apart", words, apart))
            else:
                goals.append(reported(title, words))
    return goals
