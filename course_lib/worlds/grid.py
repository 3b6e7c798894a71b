"""MiniGrid in numpy: N rooms at once, with the package's physics and its occluded 7x7 view.

::

    # # # # # #        # wall          each room is a square with a wall around it; an agent
    # . k . . #        . empty         turns, walks, picks up, drops, and toggles doors and boxes
    # . . > b D        > agent
    # . . . . #        k key, b ball   it sees seven columns of the seven rows from its own on,
    # # # # # #        D door          as far as walls and closed doors let it

Rules and view are those of MiniGrid 3.2 (Chevalier-Boisvert et al., "Minigrid & Miniworld", arXiv
2306.13831); ``benchmarks/language_agents/grid_vs_minigrid.py`` compares the two step by step. A
cell is one number, its *code*: kind * 18 + colour * 3 + state, the three numbers that MiniGrid
gives. Rewards and ends belong to a task; here they do not exist.

Symbols: N rooms, W width of a padded room, F inner cells, M cells of the outer wall.
"""

from __future__ import annotations

import numpy as np

_KINDS = "unseen empty wall floor door key ball box goal lava agent"
KINDS: dict[str, int] = {name: number for number, name in enumerate(_KINDS.split())}
_COLOURS = "red green blue purple yellow grey"
COLOURS: dict[str, int] = {name: number for number, name in enumerate(_COLOURS.split())}
OPEN, CLOSED, LOCKED = range(3)  # states of a door; all else has state 0
LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)  # the first two turn, DONE does nothing
VIEW = 7  # rows and columns that an agent sees: itself in the middle of the last row
PADDING = VIEW - 1  # from the outer wall a view reaches this far out
NUM_CODES = len(KINDS) * len(COLOURS) * 3
DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up: y grows downwards


def code(kind: str, colour: str = "red", state: int = 0) -> int:
    """The number of a cell. MiniGrid calls what is empty or unseen red, and its walls are grey."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if colour not in COLOURS:
        raise ValueError(f"colour must be one of {', '.join(COLOURS)}, got {colour!r}")
    if state not in (OPEN, CLOSED, LOCKED):
        raise ValueError(f"state must be 0 open, 1 closed or 2 locked, got {state!r}")
    return KINDS[kind] * 18 + COLOURS[colour] * 3 + state


def _is(*kinds: str) -> np.ndarray:
    """Which codes are of these kinds: (198,) bool."""
    return np.isin(KIND_OF, [KINDS[kind] for kind in kinds])


EMPTY, WALL = code("empty"), code("wall", "grey")
# What a code says, each (198,).
KIND_OF, COLOUR_OF, STATE_OF = np.unravel_index(np.arange(NUM_CODES), (len(KINDS), len(COLOURS), 3))
PORTABLE = _is("key", "ball", "box")
PASSABLE = _is("empty", "floor", "goal", "lava") | (_is("door") & (STATE_OF == OPEN))
OPAQUE = _is("wall") | (_is("door") & (STATE_OF != OPEN))


def _features() -> np.ndarray:
    """What a network reads of each code, one-hot: kind (11), colour (6), state (3)."""
    kind, colour, state = (np.eye(n, dtype=np.float32) for n in (len(KINDS), len(COLOURS), 3))
    table = np.hstack([kind[KIND_OF], colour[COLOUR_OF], state[STATE_OF]])
    table[_is("unseen", "empty", "wall"), len(KINDS) :] = 0  # or what is empty would seem red
    return table


FEATURES = _features()  # (198, 20) float32


def _sight() -> tuple[np.ndarray, np.ndarray]:
    """MiniGrid's rule of sight for one row of a view, worked out for all rows that can occur.

    A row is a number of seven bits, one per column. Both tables, (128, 128) uint8, are read with
    [cells that are seen from the row below, cells that are opaque]: the first says which cells of
    the row are seen in the end, the second which of the row above are seen through it. A seen cell
    that is not opaque shows the one beside it and the two above: first from left to right, then
    back, so that light goes along a row as well.
    """
    seen, opaque = np.indices((1 << VIEW, 1 << VIEW))
    above = np.zeros_like(seen)
    to_the_right = [(i, i + 1) for i in range(VIEW - 1)]
    to_the_left = [(i, i - 1) for i in range(VIEW - 1, 0, -1)]
    for i, beside in to_the_right + to_the_left:
        passes = (seen >> i) & ~(opaque >> i) & 1
        seen |= passes << beside
        above |= (passes << beside) | (passes << i)
    return seen.astype(np.uint8), above.astype(np.uint8)


SEEN_IN_ROW, SEEN_ABOVE = _sight()


class Rooms:
    """N square rooms of ``size`` x ``size`` cells, the outer wall among them.

    All arrays may be written to; one row is one room. A new room is empty, its agent at (1, 1)
    looks right.

    - ``cells`` (N, W*W) uint8: the codes, row by row. A room lies in a frame of walls so wide that
      no view leaves it; a place in it is one number, its *address*.
    - ``inside`` (N, W*W) uint8: what the closed box at an address holds, 0 nothing. What a box
      holds can be a box as well, but one with nothing in it.
    - ``position`` (N,) int, an address; ``direction`` (N,) int, 0 right, 1 down, 2 left, 3 up.
    - ``carrying`` (N,) uint8, 0 for nothing; ``carrying_inside`` (N,) uint8, what is in that box.
    - ``moves`` (4,) what a step in each direction adds to an address.
    - ``floor`` (F,) addresses of the cells within the outer wall; ``walls`` (M,) those of the outer
      wall without its corners: where a door can be.

    An open door in the outer wall leads nowhere: the agent may step into the doorway, but what
    lies beyond is wall and it stays there. (MiniGrid's own step fails in that place.)
    """

    def __init__(self, num_rooms: int, size: int):
        if num_rooms < 1:
            raise ValueError(f"num_rooms must be at least 1, got {num_rooms}")
        if size < 3:
            raise ValueError(f"size must be at least 3, walls on both sides and a cell, got {size}")
        self.num_rooms, self.size, self.width = num_rooms, size, size + 2 * PADDING
        inner, ends = np.arange(1, size - 1), (0, size - 1)
        self.floor = np.array([self.at(x, y) for y in inner for x in inner])
        self.walls = np.array(
            [place for k in inner for e in ends for place in (self.at(k, e), self.at(e, k))]
        )
        self.cells = np.full((num_rooms, self.width**2), WALL, np.uint8)
        self.inside = np.zeros_like(self.cells)
        self.position, self.direction = np.zeros((2, num_rooms), int)
        self.carrying, self.carrying_inside = np.zeros((2, num_rooms), np.uint8)
        self._rows = np.arange(num_rooms)
        self.moves = np.array([dx + dy * self.width for dx, dy in DIRECTIONS])
        self._view = np.array([self._offsets(dx, dy) for dx, dy in DIRECTIONS])  # (4, 49)
        for i in range(num_rooms):
            self.clear(i)

    def _offsets(self, dx: int, dy: int) -> np.ndarray:
        """What an agent that looks along (dx, dy) adds to its address for each seen cell: (49,)."""
        column, row = np.indices((VIEW, VIEW)).reshape(2, -1)
        ahead, aside = VIEW - 1 - row, column - VIEW // 2  # aside: to the agent's right
        return dx * ahead - dy * aside + (dy * ahead + dx * aside) * self.width

    def at(self, x: int, y: int) -> int:
        """The address of column x, row y; (0, 0) is the upper left corner of the outer wall."""
        return (y + PADDING) * self.width + x + PADDING

    def xy(self, address: int) -> tuple[int, int]:
        """Column and row of an address; of addresses (...), two arrays (...)."""
        y, x = divmod(address, self.width)
        return x - PADDING, y - PADDING

    def clear(self, i: int) -> None:
        """Empty room i: nothing but its outer wall, and the agent with empty hands at (1, 1)."""
        self.cells[i], self.inside[i] = WALL, 0
        self.cells[i, self.floor] = EMPTY
        self.position[i], self.direction[i] = self.at(1, 1), 0
        self.carrying[i], self.carrying_inside[i] = 0, 0

    def front(self) -> np.ndarray:
        """The address of the cell before each agent: (N,)."""
        return self.position + self.moves[self.direction]

    def ahead(self) -> np.ndarray:
        """The code of the cell before each agent: (N,) uint8."""
        return self.cells[self._rows, self.front()]

    def step(self, actions: np.ndarray, active: np.ndarray | None = None) -> None:
        """MiniGrid's step in all rooms: ``actions`` (N,) in 0..6.

        Rooms that are not ``active``, (N,) bool, stand still. Without it all are.
        """
        actions = np.asarray(actions)
        if actions.shape != (self.num_rooms,) or actions.min() < 0 or actions.max() > DONE:
            raise ValueError(
                f"actions must be {self.num_rooms} numbers from 0 to {DONE}, one for each room; "
                f"these have shape {actions.shape} and hold {np.unique(actions).tolist()}"
            )
        if active is not None:
            actions = np.where(active, actions, DONE)
        # Each room does one thing, so the order of what follows does not matter.
        front, ahead = self.front(), self.ahead()
        turn = (actions == RIGHT).astype(int) - (actions == LEFT)
        self.direction = (self.direction + turn) % 4
        self.position = np.where((actions == FORWARD) & PASSABLE[ahead], front, self.position)

        there, hands = pick_up_or_drop(ahead, self.carrying, actions)
        moved = np.flatnonzero(there != ahead)
        places = moved, front[moved]
        self.cells[places], self.carrying = there[moved], hands
        # A box keeps what it holds: what was inside changes places with what it was carried with.
        inside = self.inside[places]
        self.inside[places], self.carrying_inside[moved] = self.carrying_inside[moved], inside

        toggles = actions == TOGGLE
        rooms = np.flatnonzero(toggles & (KIND_OF[ahead] == KINDS["box"]))
        there = rooms, front[rooms]
        self.cells[there] = np.where(self.inside[there] > 0, self.inside[there], EMPTY)
        self.inside[there] = 0

        rooms = np.flatnonzero(toggles & (KIND_OF[ahead] == KINDS["door"]))
        there = rooms, front[rooms]
        self.cells[there] = _toggled(ahead[rooms], self.carrying[rooms])

    def observe(self) -> np.ndarray:
        """What each agent sees: codes (N, 49) uint8, 0 where something hides a cell.

        In the order of MiniGrid's ``image[i, j]``: column by column from the left, each from the
        farthest row to the agent's own. In the agent's own cell is what it carries.
        """
        seen = self.cells[self._rows[:, None], self.position[:, None] + self._view[self.direction]]
        # Each of the seven rows becomes one number, and each number one look into the tables.
        opaque = OPAQUE[seen].reshape(-1, VIEW, VIEW)
        opaque = np.packbits(opaque, axis=1, bitorder="little")[:, 0]  # (N, 7)
        visible, row = np.zeros_like(opaque), np.full(self.num_rooms, 1 << VIEW // 2)
        for j in reversed(range(VIEW)):
            visible[:, j] = SEEN_IN_ROW[row, opaque[:, j]]
            row = SEEN_ABOVE[row, opaque[:, j]]
        visible = np.unpackbits(visible[:, None], axis=1, count=VIEW, bitorder="little")
        own = VIEW // 2 * VIEW + VIEW - 1
        seen[:, own] = np.where(self.carrying > 0, self.carrying, EMPTY)
        return seen * visible.reshape(self.num_rooms, -1)


def pick_up_or_drop(
    ahead: np.ndarray, carrying: np.ndarray, actions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What lies before each agent and what it carries after its action: codes (N,) and (N,) uint8.

    All three arguments are (N,): codes of the cells ahead, codes carried (0 for nothing), actions.
    An agent lifts a portable thing if its hands are free, which leaves the cell empty, and drops
    what it carries only on an empty cell. In all other rooms nothing changes.
    """
    lifts = (actions == PICKUP) & PORTABLE[ahead] & (carrying == 0)
    drops = (actions == DROP) & (ahead == EMPTY) & (carrying > 0)
    there = np.where(lifts, EMPTY, np.where(drops, carrying, ahead))
    hands = np.where(lifts, ahead, np.where(drops, 0, carrying))
    return there.astype(np.uint8), hands.astype(np.uint8)


def _toggled(doors: np.ndarray, carried: np.ndarray) -> np.ndarray:
    """Codes of doors (R,) after somebody who carries ``carried`` (R,) has toggled them."""
    state = STATE_OF[doors]
    fits = (KIND_OF[carried] == KINDS["key"]) & (COLOUR_OF[carried] == COLOUR_OF[doors])
    unlocked = np.where(fits, OPEN, LOCKED)
    return doors - state + np.choose(state, [CLOSED, OPEN, unlocked])
