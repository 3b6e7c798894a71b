"""The world model to play in: as the lesson's, with more frames and longer training behind it.

A policy that learns in dreams goes where it went before; a person with the keyboard goes anywhere.
So the frames come from players of all strengths, from one that foresees where the ball lands to
one that acts at random. ``notebooks/checkpoints/breakout_dream`` holds the result, and
``python -m benchmarks play_model`` measures it; ``made`` makes it again.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from course_lib.rl.envs import make
from course_lib.world_models import world_model
from course_lib.world_models.frames import FrameReplay, Recorder
from course_lib.world_models.world_model import Config, Training, WorldModel
from course_lib.worlds.breakout import follow_the_ball

GAME = "MinAtar/Breakout"
FRAMES = 40_000
EXPLORE = (0.0, 0.1, 0.3, 1.0)  # share of random actions, a quarter of the games each
NUM_ENVS = 16
STEPS = 1_500  # gradient steps
TRAINING = Training(warmup=50, final_rate=0.02)
FOLDER = Path(__file__).parents[3] / "notebooks" / "checkpoints" / "breakout_dream"


def player(seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Players of all strengths at once: (N, C, H, W) to (N,)."""
    rng = np.random.default_rng((seed, 5))

    def act(obs: np.ndarray) -> np.ndarray:
        parts = zip(np.array_split(obs, len(EXPLORE)), EXPLORE, strict=True)
        return np.concatenate([follow_the_ball(part, explore, rng) for part, explore in parts])

    return act


def played(seed: int = 0) -> FrameReplay:
    """The frames that the model learns from."""
    envs = make(GAME, NUM_ENVS, seed)
    replay = FrameReplay(NUM_ENVS, envs.obs_shape, FRAMES // NUM_ENVS)
    Recorder(envs, replay).play(player(seed), FRAMES // NUM_ENVS)
    return replay


def made(seed: int = 0) -> Iterator[tuple[WorldModel, dict[str, float]]]:
    """Train the model anew; yields it with the metrics of each step, about two minutes of them.

    ``for model, row in made(): pass`` and then ``world_model.save(model, ...)``.
    """
    replay = played(seed)
    model = WorldModel(Config(), replay.obs.shape[2:], 3, seed)
    for row in world_model.train(model, replay, TRAINING, STEPS, seed):
        yield model, row


def play_model() -> WorldModel:
    """The model that the checkpoint holds."""
    return world_model.load(FOLDER / "model.safetensors")
