"""A room, a few things in it, and a sentence: do what it says, or the episode ends without reward.

Many rooms at once, in numpy, behind the same ``step`` as every environment of the course. The first
thing that the agent *does* (it picks something up, opens something, or says "done") ends the
episode. The reward is 1 if that is what the sentence asked for, less half a point for the time it
took; otherwise 0. Four things stand in the room, two colours by two kinds, so that hearing half of
a sentence is not enough, and looking at the room does not help.

Levels carry the names of BabyAI's where they ask for the same (Chevalier-Boisvert et al., arXiv
1810.08272); there, "go to" ends by itself in front of the thing, here the agent has to say so.

Symbols: N environments, S sentences.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from course_lib.rl.envs import Step
from course_lib.worlds import grid
from course_lib.worlds.grid import Rooms
from course_lib.worlds.sentences import (
    COLOURS,
    GOALS,
    KINDS,
    NUMBER,
    VERBS,
    VERBS_OF,
    Command,
    Goal,
)

ACTIONS = (grid.LEFT, grid.RIGHT, grid.FORWARD, grid.PICKUP, grid.TOGGLE, grid.DONE)  # no drop
ACTION_NAMES = ("left", "right", "forward", "pick up", "toggle", "done")
ACTION_OF = {"go to": grid.DONE, "pick up": grid.PICKUP, "open": grid.TOGGLE}
NOTHING = -1  # in place of a goal's number


class Level(NamedTuple):
    """What rooms and sentences of a level are like."""

    size: int = 6  # cells from wall to wall, walls included: 5 to 10
    verbs: tuple[str, ...] = VERBS
    kinds: tuple[str, ...] = KINDS
    limit: int = 24  # steps before an episode is truncated
    others: str = "matched"  # what else stands there: "matched", "sharing" or "none"


LEVELS = {
    "GoToObj": Level(verbs=("go to",), kinds=("key", "ball", "box"), others="none"),
    "GoToLocal": Level(verbs=("go to",), kinds=("key", "ball", "box")),
    "PickupLoc": Level(verbs=("pick up",), kinds=("key", "ball", "box")),
    "OpenDoor": Level(verbs=("open",), kinds=("door",)),
    "Commands": Level(),
    "CommandsSharing": Level(others="sharing"),
}


class Plan(NamedTuple):
    """How an episode begins."""

    things: tuple[tuple[int, int], ...]  # address and code of each, the target first
    position: int
    direction: int


def thing_code(colour: str, kind: str) -> int:
    """The code of a thing as rooms begin with it: doors are closed."""
    return grid.code(kind, colour, 1 if kind == "door" else 0)


def _done_goals() -> np.ndarray:
    """Which goal an action reaches by the cell ahead: numbers (7, 198), -1 for none."""
    table = np.full((7, grid.NUM_CODES), NOTHING)
    for number, goal in enumerate(GOALS):
        table[ACTION_OF[goal.verb], thing_code(goal.colour, goal.kind)] = number
    return table


GOAL_DONE = _done_goals()


def things_in_the_room(
    command: Command, level: Level, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Colours and kinds of what stands in the room, the target first.

    "matched": two colours by two kinds. Each of the four things shares its colour with one and its
    kind with another, so that nothing about them tells which is the target: only the whole sentence
    does. "sharing": one other thing of the target's colour and one of its kind; half a sentence is
    not enough here either, but the target is the one that both others resemble. "none": it alone.
    """
    colour, kind = command.goal.thing
    if level.others == "none":
        return [command.goal.thing]
    colours = [c for c in COLOURS if c != colour]
    kinds = [k for k in level.kinds if k != kind] or [k for k in KINDS if k != kind]
    other_colour, other_kind = command.other or (None, None)
    if other_colour in (None, colour):
        other_colour = colours[rng.integers(len(colours))]
    if other_kind in (None, kind):
        other_kind = kinds[rng.integers(len(kinds))]
    things = [(c, k) for c in (colour, other_colour) for k in (kind, other_kind)]
    return things if level.others == "matched" else things[:3]


def chance(things: Sequence[tuple[str, str]], goal: Goal, heard: Sequence[str]) -> float:
    """How often somebody succeeds who heard only a part of the sentence, and guesses the rest.

    ``things`` are colours and kinds in the room, ``heard`` those of "verb", "colour" and "kind" of
    the ``goal`` that came through. Every goal that can be reached in the room and agrees with all
    that was heard is as likely as any other: 1 over their number. Raises ``ValueError`` where
    ``heard`` holds another word, or the target is not there.
    """
    unknown = set(heard) - set(Goal._fields)
    if unknown or goal.thing not in things:
        raise ValueError(
            f"heard may hold {', '.join(Goal._fields)}, got {list(heard)}, and the target "
            f"{goal.thing} must be one of the things {list(things)}"
        )
    possible = [Goal(verb, *thing) for thing in things for verb in VERBS_OF[thing[1]]]
    agree = [g for g in possible if all(getattr(g, part) == getattr(goal, part) for part in heard)]
    return 1 / len(agree)


def draw_plan(command: Command, level: Level, rooms: Rooms, rng: np.random.Generator) -> Plan:
    """Draw what stands in the room, and where; drawn again where no way leads to the target."""
    things = things_in_the_room(command, level, rng)
    if command.other is not None and command.other not in things:
        raise ValueError(
            f"{command.sentence!r} speaks of {command.other}, which a room of this level does not "
            f"hold: play it in a level whose others are 'matched', not {level.others!r}"
        )
    codes = [thing_code(*thing) for thing in things]
    while True:
        floor, walls = list(rng.permutation(rooms.floor)), list(rng.permutation(rooms.walls))
        places = [walls.pop() if kind == "door" else floor.pop() for _, kind in things]
        if command.beside:
            near = [place for place in places[0] + rooms.moves if place in floor]
            if not near:
                continue
            places[things.index(command.other)] = near[rng.integers(len(near))]
        start = next(place for place in floor if place not in places)
        if reachable(start, places[0], set(rooms.floor.tolist()) - set(places), rooms.moves):
            placed = tuple((int(place), code) for place, code in zip(places, codes, strict=True))
            return Plan(placed, int(start), int(rng.integers(4)))


def reachable(start: int, target: int, free: set[int], moves: np.ndarray) -> bool:
    """Whether steps along ``moves`` over ``free`` places lead from ``start`` up to ``target``."""
    reached, queue = {start}, [start]
    for place in queue:  # it grows as it is read
        for there in (place + moves).tolist():
            if there == target:
                return True
            if there in free and there not in reached:
                reached.add(there)
                queue.append(there)
    return False


class Commands:
    """``N`` rooms, each with a sentence. Build it with the ``commands`` that may be given.

    Observations are (N, 50) int64: the 49 cells that the agent sees (``grid.FEATURES`` says what
    each of the codes is), then the number of its sentence in ``sentences``. Actions are numbered as
    ``ACTIONS``. ``physics`` builds the rooms: ``grid.Rooms`` or ``minigrid_rooms.MiniGridRooms``.
    """

    action_size = None  # actions are numbered
    obs_shape, num_actions = (grid.VIEW**2 + 1,), len(ACTIONS)

    def __init__(
        self,
        commands: Sequence[Command],
        num_envs: int = 64,
        seed: int = 0,
        level: str = "Commands",
        physics: Callable[[int, int], Rooms] = Rooms,
    ):
        if level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
        if not commands:
            raise ValueError("commands must hold at least one command, got none")
        self.name, self.num_envs, self.level = level, num_envs, LEVELS[level]
        self.commands, self.sentences = list(commands), [c.sentence for c in commands]
        self.rooms = physics(num_envs, self.level.size)
        self._goals = np.array([NUMBER[command.goal] for command in commands])
        self._rng = np.random.default_rng((seed, 7))
        self.numbers = np.zeros(num_envs, np.int64)  # of the sentence in each room
        self.steps = np.zeros(num_envs, np.int64)  # so far, of each episode
        self.did = np.full(num_envs, NOTHING)  # the number of the goal that the last action reached
        self._ended: np.ndarray | None = None

    def reset(self, seed: int | None = None) -> np.ndarray:
        """Start new episodes everywhere: (N, 50). ``seed`` None goes on with the same stream."""
        if seed is not None:
            self._rng = np.random.default_rng((seed, 7))
        for i in range(self.num_envs):
            self._draw(i)
        self._ended = np.zeros(self.num_envs, bool)
        return self._observe()

    def step(self, actions: np.ndarray) -> Step:
        """Take ``actions`` (N,). Episodes restart by themselves: see ``Step.valid``."""
        if self._ended is None:
            raise RuntimeError("call reset() before the first step()")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,):
            raise ValueError(
                f"actions must have shape {(self.num_envs,)}, one per environment, "
                f"got {actions.shape}"
            )
        if actions.min() < 0 or actions.max() >= len(ACTIONS):
            raise ValueError(
                f"actions must be numbers from 0 to {len(ACTIONS) - 1}, one of {ACTION_NAMES}, "
                f"got {np.unique(actions).tolist()}"
            )
        moves, valid = np.array(ACTIONS)[actions], ~self._ended
        self.did = np.where(valid, GOAL_DONE[moves, self.rooms.ahead()], NOTHING)
        terminated = valid & ((self.did != NOTHING) | (moves == grid.DONE))
        self.rooms.step(moves, valid)
        self.steps += valid
        truncated = valid & ~terminated & (self.steps >= self.level.limit)
        right = terminated & (self.did == self._goals[self.numbers])
        rewards = np.where(right, 1 - 0.5 * self.steps / self.level.limit, 0).astype(np.float32)
        for i in np.flatnonzero(self._ended):
            self._draw(i)
        self._ended = terminated | truncated
        return Step(self._observe(), rewards, terminated, truncated, valid)

    @property
    def wanted(self) -> np.ndarray:
        """The number of the goal that is asked for in each room, (N,): what ``did`` should be."""
        return self._goals[self.numbers]

    def begin(self, i: int, number: int, plan: Plan) -> None:
        """Begin an episode in room ``i`` by a plan of your own, with the sentence ``number``."""
        self.rooms.clear(i)
        for place, code in plan.things:
            self.rooms.cells[i, place] = code
        self.rooms.position[i], self.rooms.direction[i] = plan.position, plan.direction
        self.numbers[i], self.steps[i] = number, 0
        if self._ended is not None:
            self._ended[i] = False

    def observe(self) -> np.ndarray:
        """What every agent sees and hears now, (N, 50): needed only after ``begin``."""
        return self._observe()

    def render(self, i: int = 0) -> np.ndarray:
        """A picture of room ``i``: (H, W, 3) uint8."""
        from course_lib.worlds.minigrid_rooms import picture

        return picture(self.rooms, i)

    def close(self) -> None:
        """Nothing to free; there because every environment has it."""

    def _draw(self, i: int) -> None:
        number = int(self._rng.integers(len(self.commands)))
        plan = draw_plan(self.commands[number], self.level, self.rooms, self._rng)
        self.begin(i, number, plan)

    def _observe(self) -> np.ndarray:
        seen = self.rooms.observe().astype(np.int64)
        return np.concatenate([seen, self.numbers[:, None]], axis=1)
