"""What can really come next: the real game, asked without being moved.

A dream is judged by the game itself. MinAtar's games take the chosen action or, with the chance
of a sticky action, the one before it. Copies of the game try both, so "possible" means that the
game can do it, not that it looks right.

Symbols: N environments, C channels, H by W cells.
"""

import copy
from typing import NamedTuple

import numpy as np
from torch import Tensor

from course_lib.rl.envs import Envs

TRAIL = 2  # the channel of Breakout's frames that draws the cell that the ball came from


class Outcomes(NamedTuple):
    """Both things that each game can do next: 0, with the chosen action; 1, with the last one."""

    obs: np.ndarray  # (N, 2, C, H, W) uint8
    rewards: np.ndarray  # (N, 2) float32
    terminated: np.ndarray  # (N, 2) bool


def outcomes(envs: Envs, actions: np.ndarray) -> Outcomes:
    """Try ``actions`` (N,) and the stuck actions on copies of the games of ``envs``.

    For games with chance of their own (Asterix and the others) it is one possibility of many.
    Rows of games that have just ended say nothing: those are about to be reset.
    """
    if not envs.name.startswith("MinAtar/"):
        raise ValueError(f"only MinAtar's games can be copied, got {envs.name}")
    backend = envs._backend  # nobody else has to look inside, so there is no public way
    count = (envs.num_envs, 2)
    result = Outcomes(
        np.zeros((*count, *envs.obs_shape), np.uint8),
        np.zeros(count, np.float32),
        np.zeros(count, bool),
    )
    for i, game in enumerate(backend._games):
        for k, action in enumerate((int(actions[i]), int(backend._last[i]))):
            trial = copy.deepcopy(game)
            reward, ended = trial.act(backend._actions[action])
            result.obs[i, k] = trial.state().transpose(2, 0, 1)
            result.rewards[i, k], result.terminated[i, k] = reward, ended
    return result


def same_frame(frames: Tensor, others: Tensor) -> Tensor:
    """Equal in every cell: (..., C, H, W) against (..., C, H, W) to (...) bool."""
    return (frames == others).flatten(-3).all(-1)


def one_ball_one_paddle(frames: Tensor) -> Tensor:
    """Breakout's frames (..., C, H, W) that show exactly one ball and one paddle, (...) bool."""
    paddle, ball = frames[..., 0, :, :], frames[..., 1, :, :]
    return (paddle.sum((-2, -1)) == 1) & (ball.sum((-2, -1)) == 1)


def without_trail(frames: Tensor) -> Tensor:
    """Breakout as a game of memory: frames (..., C, H, W) that do not draw where the ball was.

    Rules, actions and rewards stay as they are. But one frame no longer says which way the ball
    flies, so whoever wants to know where it will be must remember where it was. Returns a copy.
    """
    frames = frames.clone()
    frames[..., TRAIL, :, :] = 0
    return frames


def follow_the_ball(obs: np.ndarray, explore: float, rng: np.random.Generator) -> np.ndarray:
    """A scripted player of Breakout, (N, C, H, W) to (N,): goes to where the ball will land.

    Plays on and on, so it meets walls with holes that a beginner never sees. A share ``explore``
    of its actions is random.
    """
    actions = np.zeros(len(obs), np.int64)
    for i, frame in enumerate(obs):
        paddle = frame[0].any(axis=0).argmax()
        row, column = np.unravel_index(frame[1].argmax(), frame[1].shape)
        last_row, last_column = np.unravel_index(frame[2].argmax(), frame[2].shape)
        speed = int(np.sign(column - last_column))
        if row > last_row:
            for _ in range(9 - row):
                column += speed
                if not 0 <= column <= 9:
                    column, speed = min(max(column, 0), 9), -speed
        actions[i] = 0 if column == paddle else 1 if column < paddle else 2
    random = rng.random(len(obs)) < explore
    actions[random] = rng.integers(3, size=random.sum())
    return actions
