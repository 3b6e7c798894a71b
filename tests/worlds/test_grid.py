"""The rooms do what MiniGrid does, in every rule and every view; and what it leaves open."""

from collections import Counter

import numpy as np
import pytest

from benchmarks.language_agents import grid_vs_minigrid as twins
from course_lib.worlds import grid, minigrid_rooms
from course_lib.worlds.grid import (
    CLOSED,
    COLOUR_OF,
    COLOURS,
    DONE,
    DROP,
    EMPTY,
    FEATURES,
    FORWARD,
    KIND_OF,
    KINDS,
    LEFT,
    LOCKED,
    NUM_CODES,
    OPEN,
    PICKUP,
    PORTABLE,
    RIGHT,
    STATE_OF,
    TOGGLE,
    VIEW,
    WALL,
    Rooms,
    code,
)

BALL, KEY, BOX = code("ball", "blue"), code("key", "green"), code("box", "purple")
MARKS = {
    **{".": EMPTY, "#": WALL, "b": BALL, "k": KEY, "x": BOX, "l": code("lava")},
    **{mark: code("door", "green", state) for mark, state in (("O", OPEN), ("C", CLOSED))},
    **{"L": code("door", "green", LOCKED), "R": code("door", "red", LOCKED)},
    **{"?": 0, "@": EMPTY},
}


def room(drawing):
    """One room as drawn, its outer wall too; the agent, at @, looks right."""
    lines = drawing.split()
    rooms = Rooms(1, len(lines))
    for y, line in enumerate(lines):
        for x, mark in enumerate(line):
            rooms.cells[0, rooms.at(x, y)] = MARKS[mark]
            if mark == "@":
                rooms.position[0] = rooms.at(x, y)
    return rooms


def act(rooms, *actions):
    for action in actions:
        rooms.step(np.full(rooms.num_rooms, action))


def before(*ahead):
    """A room with these codes in the cells before its agent."""
    rooms = Rooms(1, 3 + len(ahead))
    rooms.cells[0, rooms.at(2, 1) : rooms.at(2, 1) + len(ahead)] = ahead
    return rooms


def view(rooms):
    """What the agent of the first room sees, as a picture: the farthest row first."""
    return rooms.observe()[0].reshape(VIEW, VIEW).T


def drawn(drawing):
    return np.array([[MARKS[mark] for mark in line] for line in drawing.split()])


# --- codes --------------------------------------------------------------------------------------


def test_codes_are_minigrids_three_numbers_in_one():
    from minigrid.core import actions, constants

    assert constants.OBJECT_TO_IDX == KINDS and constants.COLOR_TO_IDX == COLOURS
    assert constants.STATE_TO_IDX == {"open": OPEN, "closed": CLOSED, "locked": LOCKED}
    names = ("left", "right", "forward", "pickup", "drop", "toggle", "done")
    ours = (LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE)
    assert tuple(actions.Actions[name] for name in names) == ours
    assert code("door", "yellow", LOCKED) == 4 * 18 + 4 * 3 + 2 == 86
    for kind in KINDS:
        for colour in COLOURS:
            for state in range(3):
                c = code(kind, colour, state)
                told = KIND_OF[c], COLOUR_OF[c], STATE_OF[c]
                assert told == (KINDS[kind], COLOURS[colour], state) and c < NUM_CODES == 198


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (("cup",), "kind must be one of unseen, empty, .*, agent, got 'cup'"),
        (("ball", "pink"), "colour must be one of red, .*, grey, got 'pink'"),
        (("door", "red", 3), "state must be 0 open, 1 closed or 2 locked, got 3"),
    ],
)
def test_an_unknown_name_is_refused_in_a_sentence(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        code(*wrong)


def test_features_tell_all_that_differs_and_nothing_of_what_has_no_colour():
    assert FEATURES.shape == (198, 20) and FEATURES.dtype == np.float32
    assert np.flatnonzero(FEATURES[code("door", "blue", LOCKED)]).tolist() == [4, 11 + 2, 17 + 2]
    for kind in ("unseen", "empty", "wall"):
        assert np.flatnonzero(FEATURES[code(kind, "blue")]).tolist() == [KINDS[kind]]
    coloured = FEATURES[code("floor") :]
    assert (coloured.sum(1) == 3).all() and len(np.unique(coloured, axis=0)) == len(coloured)


# --- a room by itself ---------------------------------------------------------------------------


def test_a_new_room_is_empty_and_addresses_go_both_ways():
    rooms = Rooms(2, 5)
    inner = [(x, y) for y in (1, 2, 3) for x in (1, 2, 3)]
    assert [rooms.xy(place) for place in rooms.floor] == inner
    sides = {(x, y) for x in range(5) for y in range(5)} - set(inner)
    corners = {(0, 0), (0, 4), (4, 0), (4, 4)}
    assert {rooms.xy(place) for place in rooms.walls} == sides - corners
    assert len(rooms.walls) == 12
    assert (rooms.cells[:, rooms.floor] == EMPTY).all()
    assert (rooms.cells == EMPTY).sum() == 2 * 9 and (rooms.cells == WALL).sum(1).max() == 17**2 - 9
    rooms.cells[:], rooms.inside[:], rooms.carrying[:], rooms.carrying_inside[:] = (
        BOX,
        KEY,
        BOX,
        KEY,
    )
    rooms.position[:], rooms.direction[:] = rooms.at(3, 2), 2
    rooms.clear(1)
    fresh = Rooms(1, 5)
    for name in ("cells", "inside", "carrying", "carrying_inside", "position", "direction"):
        assert (getattr(rooms, name)[1] == getattr(fresh, name)[0]).all(), name
        assert (getattr(rooms, name)[0] != getattr(fresh, name)[0]).any(), "the other stays"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [((0, 5), "num_rooms must be at least 1, got 0"), ((1, 2), "size must be at least 3.* got 2")],
)
def test_rooms_that_cannot_be_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Rooms(*arguments)


@pytest.mark.parametrize("actions", [[0], [0, 7], [-1, 0], [[0], [0]]])
def test_actions_that_cannot_be_are_refused(actions):
    with pytest.raises(ValueError, match="actions must be 2 numbers from 0 to 6, one for each"):
        Rooms(2, 5).step(np.array(actions))


def test_turns_and_steps():
    rooms = Rooms(1, 4)
    poses = []
    for action in (FORWARD, FORWARD, RIGHT, FORWARD, RIGHT, FORWARD, LEFT, LEFT, LEFT, LEFT, DONE):
        act(rooms, action)
        poses.append((*rooms.xy(rooms.position[0]), int(rooms.direction[0])))
    assert poses == [
        *[(2, 1, 0), (2, 1, 0), (2, 1, 1), (2, 2, 1), (2, 2, 2), (1, 2, 2)],
        *[(1, 2, 1), (1, 2, 0), (1, 2, 3), (1, 2, 2), (1, 2, 2)],
    ]


@pytest.mark.parametrize("kind", ["floor", "goal", "lava", "wall", "key", "ball", "box"])
def test_what_one_can_walk_over_and_what_one_can_lift(kind):
    thing = code(kind, "yellow")
    rooms = before(thing)
    act(rooms, FORWARD)
    assert rooms.xy(rooms.position[0]) == ((2, 1) if kind in ("floor", "goal", "lava") else (1, 1))
    rooms = before(thing)
    act(rooms, PICKUP)
    lifted = kind in ("key", "ball", "box")
    assert PORTABLE[thing] == lifted
    assert rooms.carrying[0] == (thing if lifted else 0)
    assert rooms.ahead()[0] == (EMPTY if lifted else thing)


def test_full_hands_lift_nothing_and_nothing_is_dropped_on_something():
    rooms = before(BALL, KEY)
    act(rooms, DROP)
    assert rooms.ahead()[0] == BALL, "empty hands have nothing to drop"
    act(rooms, PICKUP, FORWARD, PICKUP)
    assert (rooms.carrying[0], rooms.ahead()[0]) == (BALL, KEY)
    act(rooms, DROP)
    assert (rooms.carrying[0], rooms.ahead()[0]) == (BALL, KEY)
    for occupied in (code("floor", "blue"), code("goal"), MARKS["O"], WALL):
        rooms.cells[0, rooms.front()] = occupied
        act(rooms, DROP)
        assert (rooms.carrying[0], rooms.ahead()[0]) == (BALL, occupied)
    act(rooms, LEFT, LEFT, DROP)
    assert (rooms.carrying[0], rooms.ahead()[0]) == (0, BALL)


def test_a_box_keeps_what_it_holds_wherever_it_is_carried_and_gives_way_to_it():
    rooms = before(BOX)
    rooms.inside[0, rooms.front()] = KEY
    act(rooms, PICKUP)
    assert (rooms.carrying[0], rooms.carrying_inside[0]) == (BOX, KEY)
    assert not rooms.inside.any()
    act(rooms, RIGHT, DROP)
    assert (rooms.carrying[0], rooms.carrying_inside[0]) == (0, 0)
    assert (rooms.ahead()[0], rooms.inside[0, rooms.front()[0]]) == (BOX, KEY)
    act(rooms, TOGGLE)
    assert rooms.ahead()[0] == KEY and not rooms.inside.any()
    act(rooms, TOGGLE)
    assert rooms.ahead()[0] == KEY, "a key cannot be toggled"


def test_an_empty_box_vanishes_and_one_from_a_box_is_empty():
    rooms = before(BOX)
    rooms.inside[0, rooms.front()] = code("box", "red")
    act(rooms, TOGGLE)
    assert rooms.ahead()[0] == code("box", "red")
    act(rooms, TOGGLE)
    assert rooms.ahead()[0] == EMPTY


@pytest.mark.parametrize(
    ("state", "carried", "after"),
    [
        (OPEN, 0, CLOSED),
        (OPEN, KEY, CLOSED),
        (CLOSED, 0, OPEN),
        (CLOSED, code("key", "red"), OPEN),
        (LOCKED, 0, LOCKED),
        (LOCKED, KEY, OPEN),
        (LOCKED, code("key", "red"), LOCKED),
        (LOCKED, code("ball", "green"), LOCKED),
    ],
)
def test_a_door_opens_and_closes_and_a_locked_one_needs_the_key_of_its_colour(
    state, carried, after
):
    rooms = before(code("door", "green", state))
    rooms.carrying[0] = carried
    act(rooms, TOGGLE)
    assert rooms.ahead()[0] == code("door", "green", after)
    assert rooms.carrying[0] == carried, "a key is not used up"
    act(rooms, FORWARD)
    assert (rooms.xy(rooms.position[0]) == (2, 1)) == (after == OPEN)


@pytest.mark.parametrize("place", [(4, 2), (2, 4), (0, 2), (2, 0)])
def test_who_stands_in_a_door_of_the_outer_wall_can_only_go_back(place):
    rooms = Rooms(1, 5)
    rooms.position[0] = rooms.at(2, 2)
    rooms.direction[0] = [(4, 2), (2, 4), (0, 2), (2, 0)].index(place)
    act(rooms, FORWARD)
    rooms.cells[0, rooms.front()] = MARKS["O"]
    rooms.carrying[0] = BALL
    act(rooms, FORWARD)
    assert rooms.xy(rooms.position[0]) == place
    cells = rooms.cells.copy()
    act(rooms, FORWARD, DROP, TOGGLE, PICKUP)
    assert rooms.xy(rooms.position[0]) == place and rooms.ahead()[0] == WALL
    assert (rooms.cells == cells).all() and rooms.carrying[0] == BALL
    assert view(rooms)[-2:].tolist() == [
        [0, 0, WALL, WALL, WALL, 0, 0],
        [0, 0, WALL, BALL, WALL, 0, 0],
    ]
    act(rooms, LEFT, LEFT, FORWARD, FORWARD)
    assert rooms.xy(rooms.position[0]) == (2, 2)


def test_rooms_that_are_not_active_stand_still():
    rng = np.random.default_rng(0)
    for _ in range(20):
        rooms = twins.random_rooms(40, 6, rng)
        active = rng.random(40) < 0.5
        names = ("cells", "inside", "position", "direction", "carrying", "carrying_inside")
        old = {name: getattr(rooms, name).copy() for name in names}
        other = Rooms(40, 6)
        for name in names:
            setattr(other, name, old[name].copy())
        actions = rng.integers(7, size=40)
        rooms.step(actions, active)
        other.step(actions)
        for name in names:
            now = getattr(rooms, name)
            assert (now[~active] == old[name][~active]).all(), name
            assert (now[active] == getattr(other, name)[active]).all(), name


# --- the view, worked out by hand ---------------------------------------------------------------

# An agent that looks right sees the columns of the drawing as rows, the farthest first; the upper
# edge of the drawing is at its left.
HALL = """
    ########
    #......#
    #.b....#
    #@....k#
    #......#
    #......#
    #......#
    ########
"""
SHORT_WALL = """
    #########
    #.......#
    #..#....#
    #@.#.b..#
    #..#....#
    #.......#
    #.......#
    #.......#
    #########
"""
CORRIDOR = """
    #########
    #.......#
    #.......#
    #@......#
    #######.#
    #..k..k.#
    #.......#
    #.......#
    #########
"""


def test_all_of_an_open_hall_is_seen():
    seen = "#######  #..k...  #......  #......  #......  #.b....  #......"
    assert (view(room(HALL)) == drawn(seen)).all()


def test_what_is_carried_shows_in_the_agents_own_cell_and_what_it_stands_on_does_not():
    rooms = room(HALL)
    rooms.cells[0, rooms.position[0]] = MARKS["O"]
    assert view(rooms)[6, 3] == EMPTY
    rooms.carrying[0] = KEY
    assert (view(rooms)[6] == drawn("#..k...")).all()


def test_an_agent_that_turns_sees_another_side():
    rooms = room(HALL)
    act(rooms, RIGHT)  # downwards: the wall is at its right, and nothing shows beyond walls
    seen = "???????  ???????  #####??  ....#??  ....#??  ....#??  ....#??"
    assert (view(rooms) == drawn(seen)).all()
    act(rooms, RIGHT)  # into the wall: it has its own row, the one before, and no more
    seen = "???????  ???????  ???????  ???????  ???????  #######  ......#"
    assert (view(rooms) == drawn(seen)).all()
    act(rooms, RIGHT)  # upwards: the wall is at its left, the ball one step ahead and to the right
    seen = "???????  ???????  ???????  ??#####  ??#....  ??#.b..  ??#...."
    assert (view(rooms) == drawn(seen)).all()


def test_light_goes_round_a_short_wall():
    seen = "#......  #......  #..b...  #......  #.###..  #......  #......"
    assert (view(room(SHORT_WALL)) == drawn(seen)).all()


def test_a_wall_hides_what_is_behind_it_until_it_ends():
    seen = "#......  #...#??  #...#??  #...#??  #...#??  #...#??  #...#??"
    assert (view(room(CORRIDOR)) == drawn(seen)).all(), "no light comes back to the keys"


@pytest.mark.parametrize("door", "OCL")
def test_a_closed_door_hides_a_room_and_an_open_one_shows_it(door):
    rooms = room(f"""
        #########
        #..#....#
        #..#....#
        #@.#..b.#
        #..#....#
        #..#....#
        #..{door}....#
        #..#....#
        #########
    """)
    beyond = "#......  #..b...  #......  #......" if door == "O" else "???????  " * 4
    assert (view(rooms) == drawn(f"{beyond}  ######{door}  #......  #......")).all()


def test_a_box_does_not_show_what_it_holds():
    rooms = before(BOX)
    shut = view(rooms)
    rooms.inside[0, rooms.front()] = KEY
    assert (view(rooms) == shut).all() and view(rooms)[5, 3] == BOX


# --- against the package ------------------------------------------------------------------------


@pytest.mark.parametrize("size", twins.SIZES)
def test_rooms_and_their_twins_in_minigrid_stay_equal_in_random_play(size):
    assert twins.compare(steps=50, rooms=50, size=size, seed=1) == 50 * 50


def lose_contents(rooms, actions):
    rooms.carrying_inside[:] = 0


def open_what_is_locked(rooms, actions):
    locked = (actions == TOGGLE) & (KIND_OF[rooms.ahead()] == KINDS["door"])
    rooms.cells[np.flatnonzero(locked), rooms.front()[locked]] = MARKS["O"]


def turn_too_far(rooms, actions):
    rooms.direction = (rooms.direction + (actions == LEFT)) % 4


@pytest.mark.parametrize("fault", [lose_contents, open_what_is_locked, turn_too_far])
def test_the_comparison_notices_a_wrong_rule(fault, monkeypatch):
    right = Rooms.step

    def wrong(rooms, actions):
        right(rooms, actions)
        fault(rooms, actions)

    monkeypatch.setattr(Rooms, "step", wrong)
    assert twins.compare(steps=5, rooms=50, size=6, seed=1) < 250


@pytest.mark.parametrize(("kind", "state"), [("wall", 0), ("door", CLOSED), ("door", LOCKED)])
def test_the_comparison_notices_a_wrong_view(kind, state, monkeypatch):
    opaque = grid.OPAQUE.copy()
    opaque[[code(kind, colour, state) for colour in COLOURS]] = False
    monkeypatch.setattr(grid, "OPAQUE", opaque)
    assert twins.compare(steps=5, rooms=50, size=7, seed=1) < 250


def test_random_play_comes_to_every_rule():
    rng, seen = np.random.default_rng(1), Counter()
    rooms = twins.random_rooms(400, 7, rng)
    edge = rooms.cells == WALL
    edge[:, rooms.floor] = edge[:, rooms.walls] = False
    for _ in range(100):
        ahead, front, each = rooms.ahead(), rooms.front(), np.arange(400)
        held, hands = rooms.inside[each, front] > 0, rooms.carrying.copy()
        full, place = rooms.carrying_inside > 0, rooms.position.copy()
        actions = twins.random_actions(rooms, rng)
        rooms.step(actions)
        kind, door = KIND_OF[ahead], KIND_OF[ahead] == KINDS["door"]
        lifts, drops = (hands == 0) & (rooms.carrying > 0), (hands > 0) & (rooms.carrying == 0)
        toggles, key = actions == TOGGLE, KIND_OF[hands] == KINDS["key"]
        opened = STATE_OF[rooms.cells[each, front]] == OPEN
        seen["lifts a full box"] += (lifts & held).sum()
        seen["drops a full box"] += (drops & full).sum()
        seen["opens a full box"] += (toggles & (kind == KINDS["box"]) & held).sum()
        seen["opens an empty box"] += (toggles & (kind == KINDS["box"]) & ~held).sum()
        seen["has no hand free"] += ((actions == PICKUP) & PORTABLE[ahead] & (hands > 0)).sum()
        seen["has no place free"] += ((actions == DROP) & (ahead != EMPTY) & (hands > 0)).sum()
        for state in (OPEN, CLOSED):
            seen["toggles a door", state] += (toggles & door & (STATE_OF[ahead] == state)).sum()
        locked = toggles & door & (STATE_OF[ahead] == LOCKED)
        seen["unlocks"] += (locked & opened).sum()
        seen["has the wrong key"] += (locked & ~opened & key).sum()
        for name in ("empty", "door", "floor", "goal", "lava"):
            seen["walks onto", name] += ((rooms.position != place) & (kind == KINDS[name])).sum()
    assert len(seen) == 15 and min(seen.values()) >= 20, seen
    assert (rooms.cells[edge] == WALL).all(), "what lies outside stays as it is"


# --- the bridge ---------------------------------------------------------------------------------


def test_a_twin_is_in_the_very_state_and_comes_back_to_it():
    rooms = twins.random_rooms(60, 7, np.random.default_rng(2))
    assert (rooms.carrying_inside > 0).any()
    rooms.cells[0, rooms.at(0, 1)] = code("goal", "purple")
    cells, views = rooms.cells.copy(), rooms.observe()
    for i in range(60):
        twin, state = minigrid_rooms.to_minigrid(rooms, i), twins.state(rooms, i)
        assert twins.twin_state(twin) == state
        assert (minigrid_rooms.codes(twin.gen_obs()["image"]) == views[i]).all()
        for action in (PICKUP, TOGGLE, LEFT, LEFT, PICKUP, DROP, RIGHT, TOGGLE, PICKUP):
            assert twin.step(action)[3] is False, "its clock never runs out"
        assert twins.twin_state(twin) != state and (rooms.cells == cells).all()
        assert (minigrid_rooms.codes(twin.reset()[0]["image"]) == views[i]).all()
        assert twins.twin_state(twin) == state


def test_codes_come_in_the_order_of_the_image():
    image = np.zeros((7, 7, 3), np.uint8)
    image[1, 2] = 4, 5, 2
    found = minigrid_rooms.codes(image)
    assert found.shape == (49,) and found.dtype == np.uint8
    assert found[9] == code("door", "grey", LOCKED) and found.sum() == found[9]


@pytest.mark.parametrize("i", [-1, 2])
def test_a_room_that_is_not_there_has_no_twin(i):
    with pytest.raises(IndexError, match=f"i must lie in 0..1, .* got {i}"):
        minigrid_rooms.to_minigrid(Rooms(2, 5), i)


def test_a_picture_is_the_packages_own():
    rooms = room(HALL)
    plain, lit = (minigrid_rooms.picture(rooms, 0, 16, light) for light in (False, True))
    assert plain.shape == lit.shape == (128, 128, 3) and plain.dtype == np.uint8
    assert minigrid_rooms.picture(rooms, 0).shape == (256, 256, 3)
    middle = plain[8::16, 8::16]  # of each cell
    blue, empty, grey = (0, 0, 255), (0, 0, 0), (100, 100, 100)
    assert tuple(middle[2, 2]) == blue and tuple(middle[1, 1]) == empty
    assert tuple(middle[0, 0]) == grey and tuple(middle[3, 1]) == (255, 0, 0)  # the agent
    seen = (lit[8::16, 8::16] > middle).any(-1)
    assert seen[1:7, 1:].any() and not seen[:, 0].any(), "it looks right, from column 1"
