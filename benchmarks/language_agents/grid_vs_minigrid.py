"""Rooms in numpy against the package minigrid: equal after every step, and how much faster.

Rooms are filled at random with everything that MiniGrid knows: walls, doors in all three states,
keys, balls, boxes with contents, floor, goals and lava, also in the agents' hands. Agents act at
random. After each step a room has to *equal* its twin in the package: the view, the whole grid,
what is in each box, the pose and what is carried.

Speed is counted in steps per second of CPU time, each with the view after it, of 64 rooms whose
twins take the same steps: ten steps of all rooms, then ten of each twin, and so on.
"""

from __future__ import annotations

import numpy as np
from minigrid.core.world_object import WorldObj

from benchmarks.harness import Clock, Goal, at_least, fresh_seeds, mean_over_seeds, reported
from course_lib.worlds.grid import (
    CLOSED,
    COLOUR_OF,
    COLOURS,
    DONE,
    EMPTY,
    FORWARD,
    KIND_OF,
    KINDS,
    LOCKED,
    OPEN,
    PASSABLE,
    PICKUP,
    RIGHT,
    TOGGLE,
    Rooms,
    code,
)
from course_lib.worlds.minigrid_rooms import Room, codes, to_minigrid

SIZES = (5, 7, 9, 16)  # smaller than a view, as large, and larger than its seven rows
COMPARED, TIMED = 25, 64  # rooms at once
IN_TURN = 10  # steps of the one before it is the other's turn
POSITIVE = (0.0, np.inf)
FILLED = 0.35  # the share of inner cells in which something stands
KINDS_OF_THINGS = ("key", "key", "ball", "box")  # keys often, or no door is ever unlocked
THINGS = np.array([code(kind, colour) for kind in KINDS_OF_THINGS for colour in COLOURS])
DOORS = np.array([code("door", colour, s) for colour in COLOURS for s in (OPEN, CLOSED, LOCKED)])
PLACES = np.array([code(kind, colour) for kind in ("wall", "floor", "goal") for colour in COLOURS])
FURNITURE = np.concatenate([THINGS, THINGS, DOORS, PLACES, [code("lava")]])
# The action that changes something, by what is ahead; four in ten are this one.
TEMPTING = {"wall": RIGHT, "door": TOGGLE, "key": PICKUP, "ball": PICKUP, "box": PICKUP}


def random_rooms(num_rooms: int, size: int, rng: np.random.Generator) -> Rooms:
    """Rooms full of things, with two doors in the outer wall; every second box holds something."""
    rooms = Rooms(num_rooms, size)
    for i in range(num_rooms):
        colours = rng.choice(len(COLOURS), 2, replace=False)  # but two, or no key would ever fit
        things, doors, furniture = (
            each[np.isin(COLOUR_OF[each], colours)] for each in (THINGS, DOORS, FURNITURE)
        )
        places = rng.permutation(rooms.floor)
        filled = places[: int(FILLED * len(places))]
        rooms.cells[i, filled] = rng.choice(furniture, len(filled))
        rooms.inside[i, filled] = _contents(rooms.cells[i, filled], furniture, rng)
        rooms.cells[i, rng.choice(rooms.walls, 2, replace=False)] = rng.choice(doors, 2)
        rooms.carrying[i : i + 1] = rng.choice([0, *things], 1)
        rooms.carrying_inside[i : i + 1] = _contents(rooms.carrying[i : i + 1], furniture, rng)
        rooms.position[i], rooms.direction[i] = places[-1], rng.integers(4)
    return rooms


def _contents(cells: np.ndarray, furniture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What is in each of these cells (C,): something in every second box, 0 in all else."""
    full = (KIND_OF[cells] == KINDS["box"]) & (rng.random(len(cells)) < 0.5)
    return np.where(full, rng.choice(furniture, len(cells)), 0)


def random_actions(rooms: Rooms, rng: np.random.Generator) -> np.ndarray:
    """An action for each room, (N,); none leads into the outer wall.

    There the package's own step fails: it looks at a cell outside its grid.
    """
    ahead = rooms.ahead()
    tempting = np.array([TEMPTING.get(kind, FORWARD) for kind in KINDS])[KIND_OF[ahead]]
    anything = rng.integers(DONE + 1, size=rooms.num_rooms)
    actions = np.where(rng.random(rooms.num_rooms) < 0.4, tempting, anything)
    leaves = (actions == FORWARD) & PASSABLE[ahead] & np.isin(rooms.front(), rooms.walls)
    return np.where(leaves, DONE, actions)


def compare(steps: int, rooms: int, size: int, seed: int) -> int:
    """Play ``rooms`` rooms and their twins, ``steps`` steps each; after how many are they equal?

    ``steps * rooms`` says that there was no difference at all. A room that once differs from its
    twin is out: from then on the same actions mean something else.
    """
    rng = np.random.default_rng((seed, size))
    ours = random_rooms(rooms, size, rng)
    twins, equal = {i: to_minigrid(ours, i) for i in range(rooms)}, 0
    for _ in range(steps):
        actions = random_actions(ours, rng)
        ours.step(actions)
        views = ours.observe()
        for i, twin in list(twins.items()):
            image = twin.step(int(actions[i]))[0]["image"]
            if np.array_equal(codes(image), views[i]) and state(ours, i) == twin_state(twin):
                equal += 1
            else:
                del twins[i]
    return equal


def state(rooms: Rooms, i: int) -> tuple:
    """All there is to know of room i: things row by row, things in hand, place, direction."""
    row, column = np.indices((rooms.size, rooms.size))
    places = rooms.at(column, row).ravel()
    things = zip(rooms.cells[i, places].tolist(), rooms.inside[i, places].tolist(), strict=True)
    hands = int(rooms.carrying[i]), int(rooms.carrying_inside[i])
    return list(things), hands, rooms.xy(int(rooms.position[i])), int(rooms.direction[i])


def twin_state(twin: Room) -> tuple:
    """The same of a room of the package, read from its objects."""
    things = [_thing(found, EMPTY) for found in twin.grid.grid]
    return things, _thing(twin.carrying, 0), tuple(twin.agent_pos), twin.agent_dir


def _thing(found: WorldObj | None, nothing: int) -> tuple[int, int]:
    """The code of an object and that of what is in it; ``nothing`` and 0 if there is none."""
    if found is None:
        return nothing, 0
    kind, colour, now = found.encode()
    return kind * 18 + colour * 3 + now, _thing(found.contains, 0)[0]


def speed(steps: int, seed: int) -> tuple[float, float]:
    """Steps per second of CPU time of ``TIMED`` rooms: of ours and of the package's."""
    rng = np.random.default_rng((seed, 64))
    ours = random_rooms(TIMED, 7, rng)
    twins = [to_minigrid(ours, i) for i in range(TIMED)]
    our_clock, their_clock = Clock(), Clock()
    for _ in range(steps // IN_TURN):
        played = []
        for _ in range(IN_TURN):
            played.append(random_actions(ours, rng))
            with our_clock:
                ours.step(played[-1])
                ours.observe()
        with their_clock:
            for actions in played:
                for twin, action in zip(twins, actions.tolist(), strict=True):
                    twin.step(action)
    count = TIMED * IN_TURN * (steps // IN_TURN)
    return count / our_clock.cpu, count / their_clock.cpu


def measure(quick: bool) -> dict:
    steps, seeds, runs = 50 if quick else 100, fresh_seeds(3 if quick else 10), []
    for seed in seeds:
        ours, theirs = speed(2 * steps, seed)
        run = {"seed": seed, "steps": steps * COMPARED * len(SIZES)}
        run["equal"] = sum(compare(steps, COMPARED, size, seed) for size in SIZES)
        runs.append(run | {"numpy": round(ours), "minigrid": round(theirs)})
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    runs = result["runs"]
    steps, equal = (sum(run[key] for run in runs) for key in ("steps", "equal"))
    ratios = [run["numpy"] / run["minigrid"] for run in runs]
    of_seeds = f"{len(runs)} seeds"
    return [
        at_least(
            f"Random play in rooms of {len(SIZES)} sizes, {of_seeds}: steps after which view, "
            "grid, pose, hands and boxes equal minigrid's",
            steps,
            equal,
            f"{equal:,} of {steps:,}",
            form=",d",
        ),
        at_least(
            f"{TIMED} rooms, {of_seeds}: steps per second of CPU time, as a multiple of minigrid's",
            25,
            float(np.mean(ratios)),
            mean_over_seeds(ratios, ".0f", POSITIVE),
        ),
        *(
            reported(
                f"{TIMED} rooms, {of_seeds}: steps per second of CPU time, {name}",
                mean_over_seeds([run[name] for run in runs], ",.0f", POSITIVE),
            )
            for name in ("numpy", "minigrid")
        ),
    ]
