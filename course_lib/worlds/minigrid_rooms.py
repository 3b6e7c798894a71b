"""What the course plays on the package minigrid itself, which ``grid`` does without.

``to_minigrid`` makes an environment of the package of a room of ``grid``, ``picture`` has it drawn.
``MiniGridRooms`` stands in for ``grid.Rooms`` in ``commands.Commands``: the same task, with the
package's own step and views. ``BabyAI`` goes on to levels that others made.

Sources: MiniGrid is Chevalier-Boisvert et al., arXiv 2306.13831; BabyAI, 1810.08272.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence

import gymnasium as gym
import numpy as np
from gymnasium.utils.seeding import np_random
from minigrid.core.constants import IDX_TO_COLOR
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import WorldObj
from minigrid.minigrid_env import MiniGridEnv

from course_lib.rl.backends import Loop
from course_lib.rl.envs import Envs
from course_lib.worlds import grid
from course_lib.worlds.grid import COLOUR_OF, EMPTY, KIND_OF, STATE_OF, VIEW, Rooms
from course_lib.worlds.sentences import Command

# The same as in ``commands``, which cannot be imported here: it draws its pictures with this file.
ACTIONS = (grid.LEFT, grid.RIGHT, grid.FORWARD, grid.PICKUP, grid.TOGGLE, grid.DONE)
Thing = tuple[int, int]  # the code of a cell, and of what is in it if it is a box
DRAWS = 1000  # so many episodes in a row may have a mission that is unknown


class Room(MiniGridEnv):
    """Room i as it stands now, ready to step; ``reset`` comes back to it.

    It has no mission, no clock and no chance. What is changed in it later leaves ``rooms`` alone,
    and the other way round.
    """

    def __init__(self, rooms: Rooms, i: int):
        super().__init__(
            mission_space=MissionSpace(lambda: ""),
            grid_size=rooms.size,
            max_steps=sys.maxsize,
            render_mode="rgb_array",
        )
        row, column = np.indices((rooms.size, rooms.size))
        places = rooms.at(column, row)
        self._things = _things(rooms.cells[i, places], rooms.inside[i, places])
        self._hands = int(rooms.carrying[i]), int(rooms.carrying_inside[i])
        self._pose = rooms.xy(int(rooms.position[i])), int(rooms.direction[i])
        self.reset()

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        super().reset(seed=seed)  # which empties the hands
        self.carrying = _object(self._hands)
        if self.carrying is not None:
            self.carrying.cur_pos = np.array([-1, -1])  # as the package marks what is carried
        return self.gen_obs(), {}

    def _gen_grid(self, width: int, height: int) -> None:
        self.grid = Grid(width, height)
        for address, thing in enumerate(self._things):
            found = _object(thing)
            if found is not None:
                self.put_obj(found, address % width, address // width)
        self.agent_pos, self.agent_dir = self._pose


def to_minigrid(rooms: Rooms, i: int) -> Room:
    """An environment of the package in the very state of room ``i``, boxes and hands included."""
    if not 0 <= i < rooms.num_rooms:
        raise IndexError(f"i must lie in 0..{rooms.num_rooms - 1}, the rooms there are, got {i}")
    return Room(rooms, i)


def codes(image: np.ndarray) -> np.ndarray:
    """MiniGrid's kinds, colours and states (..., 3) as codes, flat: of a view (7, 7, 3), (49,)."""
    return (image.astype(int) @ [18, 3, 1]).astype(np.uint8).ravel()


def picture(rooms: Rooms, i: int, tile: int = 32, highlight: bool = False) -> np.ndarray:
    """Room ``i`` drawn by the package, ``tile`` pixels a cell: (H, W, 3) uint8.

    ``highlight`` brightens what the agent sees.
    """
    return to_minigrid(rooms, i).get_frame(highlight=highlight, tile_size=tile)


def _things(cells: np.ndarray, inside: np.ndarray) -> list[Thing]:
    return list(zip(cells.ravel().tolist(), inside.ravel().tolist(), strict=True))


def _object(thing: Thing) -> WorldObj | None:
    """The package's object of a code and, of a box, with what is in it; None for an empty cell."""
    code, inside = thing
    found = WorldObj.decode(KIND_OF[code], COLOUR_OF[code], STATE_OF[code])
    if found is not None:
        found.color = IDX_TO_COLOR[COLOUR_OF[code]]  # `decode` knows but one colour of goals
        found.contains = _object((inside, 0)) if inside else None
    return found


def _thing(found: WorldObj | None, nothing: int) -> Thing:
    """The other way round: the codes of an object; ``nothing`` and 0 where there is none."""
    if found is None:
        return nothing, 0
    kind, colour, state = found.encode()
    return kind * 18 + colour * 3 + state, _thing(found.contains, 0)[0]


class MiniGridRooms:
    """``N`` rooms that the package plays, to be used as ``grid.Rooms`` are.

    All arrays and addresses are those of ``Rooms``, and may be written to in place: a room that is
    not as the package left it becomes a new environment of the package before the next step or
    view. After a step they hold what is read back from the package. (That fails where an agent goes
    on from an open door of the outer wall: it looks beyond its grid.)
    """

    def __init__(self, num_rooms: int, size: int):
        self._rooms = rooms = Rooms(num_rooms, size)
        self.num_rooms, self.size = num_rooms, size
        self.cells, self.inside = rooms.cells, rooms.inside
        self.position, self.direction = rooms.position, rooms.direction
        self.carrying, self.carrying_inside = rooms.carrying, rooms.carrying_inside
        self.floor, self.walls, self.moves = rooms.floor, rooms.walls, rooms.moves
        self.at, self.xy, self.clear = rooms.at, rooms.xy, rooms.clear
        self.front, self.ahead = rooms.front, rooms.ahead
        row, column = np.indices((size, size))
        self._places = rooms.at(column, row).ravel()  # in the order of the package's grid
        self._envs: list[Room | None] = [None] * num_rooms
        self._views = np.zeros((num_rooms, VIEW**2), np.uint8)
        self._left = np.full_like(self._state(), -1)  # the state in which the package left each

    def step(self, actions: np.ndarray, active: np.ndarray | None = None) -> None:
        """The package's step, with ``actions`` (N,) in 0..6; rooms not ``active`` stand still."""
        actions = np.asarray(actions).reshape(self.num_rooms)
        self._enter()
        for i in range(self.num_rooms) if active is None else np.flatnonzero(active):
            self._views[i] = codes(self._envs[i].step(int(actions[i]))[0]["image"])
            self._read(i)
        self._left = self._state()

    def observe(self) -> np.ndarray:
        """What each agent sees, as the package shows it: codes (N, 49) uint8."""
        self._enter()
        return self._views.copy()

    def _state(self) -> np.ndarray:
        """All that there is to know of each room, a row of numbers each."""
        hands = self.carrying, self.carrying_inside
        return np.column_stack([self.cells, self.inside, self.position, self.direction, *hands])

    def _enter(self) -> None:
        """Make environments of the rooms that were written to."""
        state = self._state()
        for i in np.flatnonzero((state != self._left).any(axis=1)):
            self._envs[i] = to_minigrid(self._rooms, i)
            self._views[i] = codes(self._envs[i].gen_obs()["image"])
        self._left = state

    def _read(self, i: int) -> None:
        """Room i as the package has it now."""
        env = self._envs[i]
        things = np.array([_thing(found, EMPTY) for found in env.grid.grid])
        self.cells[i, self._places], self.inside[i, self._places] = things.T
        self.carrying[i], self.carrying_inside[i] = _thing(env.carrying, 0)
        self.position[i], self.direction[i] = self.at(*env.agent_pos), env.agent_dir


class BabyAI:
    """``N`` copies of a level of BabyAI, behind the same ``step`` as every environment here.

    ``name``: "BabyAI-GoToLocalS6N4-v0", "BabyAI-PickupLoc-v0", "BabyAI-OpenDoorColor-v0", ...
    Observations and actions are numbered as those of ``commands.Commands``: (N, 50) int64, the
    cells seen and the number of the mission's sentence in ``commands``. "a red ball" (there are
    two) is heard as "the red ball"; episodes with a mission that is not there are drawn again.

    The rules are BabyAI's. The reward is 1 where its own verifier says that the mission is
    fulfilled, else 0. "Go to" is fulfilled as soon as the agent looks at the thing from beside it.
    A wrong thing that it picks up ends nothing, but stays in its hands: no action drops it. The
    clock is the level's own: in one room, as many steps as it has cells, walls included.
    """

    action_size = None  # actions are numbered
    obs_shape, num_actions = (VIEW**2 + 1,), len(ACTIONS)

    def __init__(self, name: str, commands: Sequence[Command], num_envs: int = 16, seed: int = 0):
        if name not in gym.registry or not name.startswith("BabyAI-") or num_envs < 1:
            raise ValueError(
                "name must be a level that minigrid registers, such as 'BabyAI-GoToLocalS6N4-v0', "
                f"and num_envs at least 1, got {name!r} and {num_envs}"
            )
        self.name, self.num_envs = name, num_envs
        self.sentences = [command.sentence for command in commands]
        copies = [_Level(name, self.sentences) for _ in range(num_envs)]
        loop = Loop(copies, lambda seed: np_random(seed)[0].bit_generator.state)
        envs = Envs(name, num_envs, loop, seed)
        self.reset, self.step = envs.reset, envs.step
        self.render, self.close = envs.render, envs.close


class _Level:
    """One environment of BabyAI, in the course's numbers, for a ``Loop``."""

    def __init__(self, name: str, sentences: Sequence[str]):
        env = gym.make(name, disable_env_checker=True, render_mode="rgb_array", highlight=False)
        self.name, self.unwrapped = name, env.unwrapped
        self._number = {sentence: number for number, sentence in enumerate(sentences)}
        self.render, self.close = env.unwrapped.render, env.unwrapped.close
        self.observation_space = gym.spaces.Box(-1, sys.maxsize, BabyAI.obs_shape, np.int64)
        self.action_space = gym.spaces.Discrete(len(ACTIONS))

    def reset(self) -> tuple[np.ndarray, dict]:
        """Draw episodes until one has a mission that is known."""
        for _ in range(DRAWS):
            with contextlib.redirect_stdout(io.StringIO()):  # it prints each room that it rejects
                obs = self._numbers(self.unwrapped.reset()[0])
            if obs[-1] >= 0:
                return obs, {}
        raise ValueError(
            f"{self.name}: none of {DRAWS} episodes had one of these {len(self._number)} sentences "
            f"as its mission, the last said {self.unwrapped.mission!r}: give commands that occur"
        )

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        obs, reward, terminated, truncated, info = self.unwrapped.step(ACTIONS[action])
        ended = terminated, truncated and not terminated
        return self._numbers(obs), float(reward > 0), *ended, info

    def _numbers(self, obs: dict) -> np.ndarray:
        """Codes and the number of the sentence, -1 for one that is unknown: (50,)."""
        sentence = obs["mission"].replace(" a ", " the ")
        return np.append(codes(obs["image"]).astype(np.int64), self._number.get(sentence, -1))
