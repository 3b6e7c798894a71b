"""Several MinAtar games as one: frames of one shape, actions of one name.

A network built for ``OBS_SHAPE`` and ``NUM_ACTIONS`` reads the recordings of all ``GAMES`` and
plays all of them. Frames get empty channels up to seven. An action is known by its name, so that
"left" is the same number in each game; a name that a game does not know does nothing there, as
in MinAtar's own full set of actions. Nothing tells the network which game it is in: it sees that.

Seaquest is left out: its frames have ten channels.

Symbols: N environments, S steps of a recording, G games.
"""

from collections.abc import Sequence

import numpy as np

from course_lib.rl import envs as environments
from course_lib.rl.dataset import Dataset
from course_lib.rl.envs import Envs, Step

NAMES = "nlurdf"  # nothing, left, up, right, down, fire: actions 0 to 5 of every game
GAMES = {  # each game's own actions 0, 1, ... by name
    "Asterix": "nlurd",
    "Breakout": "nlr",
    "Freeway": "nud",
    "SpaceInvaders": "nlrf",
}
CHANNELS = 7  # of the game that has most, Freeway
OBS_SHAPE = (CHANNELS, 10, 10)
NUM_ACTIONS = len(NAMES)


def named(game: str) -> np.ndarray:
    """The named action of each of the game's own, (A,): ``named("Freeway")`` is [0, 2, 4]."""
    return np.array([NAMES.index(name) for name in _known(game)])


def own(game: str) -> np.ndarray:
    """The game's own action for each named one, (6,); 0, nothing, where it does not know it."""
    return np.array([max(_known(game).find(name), 0) for name in NAMES])


def padded(frames: np.ndarray) -> np.ndarray:
    """Frames (..., C, 10, 10) with empty channels after their own: (..., 7, 10, 10)."""
    missing = CHANNELS - frames.shape[-3]
    if missing < 0:
        raise ValueError(f"frames must have at most {CHANNELS} channels, got {frames.shape[-3]}")
    return np.pad(frames, [(0, 0)] * (frames.ndim - 3) + [(0, missing), (0, 0), (0, 0)])


def recording(data: Dataset, game: str) -> Dataset:
    """A recording of ``game`` with padded frames and named actions; nothing else changes."""
    if data.num_actions != len(_known(game)):
        raise ValueError(
            f"{game} has {len(_known(game))} actions, this recording has {data.num_actions}: "
            "give the game that it is of"
        )
    if data.frames.shape[1:] == data.obs_shape:
        frames = padded(data.frames)
    else:  # bits: cells that are 0 follow those of the game's own channels
        size = -(-CHANNELS * 100 // 8)
        frames = np.pad(data.frames, [(0, 0), (0, size - data.frames.shape[1])])
    columns = (data.rewards, data.terminated, data.truncated)
    return Dataset(frames, named(game)[data.actions], *columns, OBS_SHAPE, NUM_ACTIONS)


def joined(recordings: Sequence[Dataset]) -> tuple[Dataset, np.ndarray]:
    """Recordings of G games, each from ``recording``, as one, and each row's game, (S,).

    ``decision_transformer.train(model, data, config, groups=games)`` then draws as many windows
    from a short recording as from a long one. Frames are bits in all of them, or in none.
    """
    if any(data.obs_shape != OBS_SHAPE for data in recordings):
        raise ValueError(f"observations must have shape {OBS_SHAPE}: pass each through `recording`")
    names = ("frames", "actions", "rewards", "terminated", "truncated")
    columns = (np.concatenate([getattr(data, name) for data in recordings]) for name in names)
    games = np.repeat(np.arange(len(recordings)), [len(data) for data in recordings])
    return Dataset(*columns, OBS_SHAPE, NUM_ACTIONS), games


class NamedEnvs:
    """Environments of one game with padded frames and named actions. Build it with ``make``."""

    action_size = None  # actions are numbered
    obs_shape, num_actions = OBS_SHAPE, NUM_ACTIONS

    def __init__(self, envs: Envs, game: str):
        self.name, self.num_envs = envs.name, envs.num_envs
        self.envs, self._own = envs, own(game)

    def reset(self, seed: int | None = None) -> np.ndarray:
        """Start new episodes everywhere, as ``Envs.reset``: frames (N, 7, 10, 10) uint8."""
        return padded(self.envs.reset(seed))

    def step(self, actions: np.ndarray) -> Step:
        """Take the named ``actions`` (N,), as ``Envs.step``."""
        step = self.envs.step(self._own[np.asarray(actions)])
        return step._replace(obs=padded(step.obs))

    def render(self, i: int = 0) -> np.ndarray:
        """A picture of environment ``i``: (H, W, 3) uint8."""
        return self.envs.render(i)

    def close(self) -> None:
        """Free what the environments hold."""
        self.envs.close()


def make(game: str, num_envs: int = 16, seed: int = 0) -> NamedEnvs:
    """``num_envs`` copies of one of ``GAMES`` by its short name, for a network of all games."""
    _known(game)
    return NamedEnvs(environments.make(f"MinAtar/{game}", num_envs, seed), game)


def _known(game: str) -> str:
    if game not in GAMES:
        raise ValueError(f"game must be one of {', '.join(GAMES)}, got {game!r}")
    return GAMES[game]
