"""Recorded play of MinAtar's games, small enough to come with the course.

``load("Breakout", "expert")`` gives the recording as a ``Dataset``; ``describe()`` says what there
is. ``python -m benchmarks make_data`` made the files: arrays alone, observations as bits.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from course_lib.rl.dataset import Dataset

FOLDER = Path(__file__).parent / "data"
DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError)  # what NumPy says of broken files
COLUMNS = ("frames", "actions", "rewards", "terminated", "truncated")
PLAYERS = {  # game, kind: who plays
    ("Breakout", "replay"): "PPO while it learns, from its first step to its last",
    ("Breakout", "random"): "every action equally likely",
    ("Breakout", "medium"): "PPO after a third of its training, drawn actions",
    ("Breakout", "expert"): "PPO at the end of its training, drawn actions",
    ("SpaceInvaders", "expert"): "PPO at the end of its training, drawn actions",
    ("Freeway", "expert"): "a scripted player, one action in twenty at random",
    ("Asterix", "expert"): "a scripted player, one action in twenty at random",
}


def names() -> list[tuple[str, str]]:
    """Game and kind of every recording, as ``load`` takes them."""
    return list(PLAYERS)


def load(game: str, kind: str) -> Dataset:
    """The recording of ``kind`` of ``game``: whole episodes, one after the other.

    Episodes of one environment follow each other, so that the replay goes from early to late play
    11 times, once for each environment that was kept of the 32. Observations are those of
    ``envs.make("MinAtar/" + game)``. Raises ``ValueError`` for a recording that there is not, or
    whose file is damaged, and ``FileNotFoundError`` where the file is missing.
    """
    if (game, kind) not in PLAYERS:
        known = ", ".join(" ".join(name) for name in PLAYERS)
        raise ValueError(f"there is no recording {kind!r} of {game!r}; there are: {known}")
    return read(file_of(game, kind))


def describe() -> list[dict[str, str | int | float]]:
    """One row for each recording: who plays, how much, how well, and the size of its file.

    Keys: ``game``, ``kind``, ``player``, ``steps``, ``episodes``, ``mean``, ``min`` and ``max`` of
    the episodes' undiscounted returns, ``kilobytes`` (thousands of bytes).
    """
    return [row(*name, file_of(*name)) for name in PLAYERS]


def row(game: str, kind: str, path: Path) -> dict[str, str | int | float]:
    """What ``describe`` says about one file."""
    data = read(path)
    return {
        "game": game,
        "kind": kind,
        "player": PLAYERS[game, kind],
        "steps": len(data),
        "episodes": len(data.returns),
        "mean": round(float(data.returns.mean()), 2),
        "min": float(data.returns.min()),
        "max": float(data.returns.max()),
        "kilobytes": round(path.stat().st_size / 1000, 1),
    }


def file_of(game: str, kind: str, folder: Path = FOLDER) -> Path:
    """Where the recording lies."""
    return folder / f"{game}_{kind}.npz"


def write(data: Dataset, path: Path) -> None:
    """Store a recording of zeros and ones whose rewards are whole numbers from -128 to 127.

    The same recording gives the same bytes.
    """
    whole = data.rewards == data.rewards.round()
    if not (whole & (abs(data.rewards + 0.5) < 128)).all():
        raise ValueError("rewards must be whole numbers from -128 to 127 to be stored in a byte")
    if data.frames.shape[1:] != (-(-math.prod(data.obs_shape) // 8),):
        raise ValueError(
            f"frames must be bits, eight to the byte, got rows of shape {data.frames.shape[1:]}: "
            "record with pack=True"
        )
    np.savez_compressed(
        path,
        frames=np.ascontiguousarray(data.frames.T),  # each byte's way through time: half the size
        actions=data.actions.astype(np.uint8),
        rewards=data.rewards.astype(np.int8),
        terminated=data.terminated,
        truncated=data.truncated,
        obs_shape=np.array(data.obs_shape),
        num_actions=np.array(data.num_actions),
    )


def read(path: Path) -> Dataset:
    """What ``write`` stored. Nothing is unpickled."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: install the course again, or make the file with "
            "`python -m benchmarks make_data`"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            frames, *columns = (file[name] for name in COLUMNS)
            frames = np.ascontiguousarray(frames.T)
            return Dataset(frames, *columns, file["obs_shape"].tolist(), int(file["num_actions"]))
    except (*DAMAGED, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} holds no whole recording ({error}): install the course again, or make the "
            "file with `python -m benchmarks make_data`"
        ) from error
