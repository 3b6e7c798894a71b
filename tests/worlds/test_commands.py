"""Rooms with a sentence: what ends an episode, what it is worth, and what stands in the room.

Ground truth: rooms laid out by hand and played step by step, goals counted one by one, and an
expert who reads the whole room and the goal, but no table of the module.
"""

from collections import Counter, deque
from itertools import combinations, product

import numpy as np
import pytest

from course_lib.rl.envs import Step
from course_lib.worlds import commands, grid, sentences
from course_lib.worlds.commands import LEVELS, NOTHING, Commands, Plan, chance, thing_code
from course_lib.worlds.grid import COLOURS, KIND_OF, KINDS, Rooms
from course_lib.worlds.sentences import GOALS, NUMBER, Command, Goal

LEFT, RIGHT, FORWARD, PICK_UP, TOGGLE, DONE = range(6)
ACT = {"go to": DONE, "pick up": PICK_UP, "open": TOGGLE}
ROWS = sentences.rows()
ASKED = [
    Command("go to the red ball", Goal("go to", "red", "ball")),
    Command("pick up the red ball", Goal("pick up", "red", "ball")),
    Command("open the green box", Goal("open", "green", "box")),
    Command("open the blue door", Goal("open", "blue", "door")),
]


def hall(number=0, start=(1, 1), direction=0, num_envs=1):
    """One row of a room of six: a red ball before the agent, a blue door, a box, a key.

    ::

        # # # # # #
        # > . b . D    b red ball, D blue door
        # . . . . #
        # k . . . #    k grey key
        # x . . . #    x green box
        # # # # # #
    """
    envs = Commands(ASKED, num_envs)
    envs.reset()
    at = envs.rooms.at
    things = (
        *((at(3, 1), thing_code("red", "ball")), (at(5, 1), thing_code("blue", "door"))),
        *((at(1, 4), thing_code("green", "box")), (at(1, 3), thing_code("grey", "key"))),
    )
    envs.begin(0, number, Plan(things, at(*start), direction))
    return envs


def play(envs, *actions):
    """What the last action brings the first environment; the earlier ones may end nothing."""
    for action in actions[:-1]:
        step = envs.step(np.full(envs.num_envs, action))
        assert not step.terminated[0] and not step.truncated[0] and step.rewards[0] == 0
    step = envs.step(np.full(envs.num_envs, actions[-1]))
    assert step.valid[0]
    return float(step.rewards[0]), bool(step.terminated[0]), bool(step.truncated[0])


# --- ends and rewards ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "start", "direction", "actions", "did"),
    [
        (0, (1, 1), 0, [FORWARD, DONE], ("go to", "red", "ball")),
        (0, (2, 1), 0, [DONE], ("go to", "red", "ball")),
        (1, (1, 1), 0, [FORWARD, PICK_UP], ("pick up", "red", "ball")),
        (1, (3, 2), 0, [LEFT, PICK_UP], ("pick up", "red", "ball")),
        (2, (2, 4), 2, [TOGGLE], ("open", "green", "box")),
        (3, (4, 1), 0, [LEFT, RIGHT, TOGGLE], ("open", "blue", "door")),
    ],
)
def test_what_the_sentence_asks_for_ends_the_episode_with_a_reward(
    number, start, direction, actions, did
):
    envs = hall(number, start, direction)
    reward, terminated, truncated = play(envs, *actions)
    assert reward == pytest.approx(1 - len(actions) / 48)  # half a point over 24 steps
    assert terminated and not truncated
    assert GOALS[envs.did[0]] == GOALS[envs.wanted[0]] == did


@pytest.mark.parametrize(
    ("number", "start", "direction", "action", "did"),
    [
        (0, (2, 1), 0, PICK_UP, ("pick up", "red", "ball")),  # the right thing, another verb
        (1, (2, 1), 0, DONE, ("go to", "red", "ball")),
        (2, (2, 4), 2, PICK_UP, ("pick up", "green", "box")),
        (2, (2, 4), 2, DONE, ("go to", "green", "box")),
        (3, (4, 1), 0, DONE, ("go to", "blue", "door")),
        (0, (2, 3), 2, PICK_UP, ("pick up", "grey", "key")),  # another thing
        (0, (2, 3), 2, DONE, ("go to", "grey", "key")),
        (2, (4, 1), 0, TOGGLE, ("open", "blue", "door")),
        (0, (1, 1), 0, DONE, None),  # in front of an empty cell
        (0, (1, 1), 3, DONE, None),  # and of a wall
    ],
)
def test_whatever_else_is_done_ends_it_without_reward(number, start, direction, action, did):
    envs = hall(number, start, direction)
    assert play(envs, action) == (0, True, False)
    assert envs.did[0] == (NOTHING if did is None else NUMBER[Goal(*did)])


@pytest.mark.parametrize(
    ("start", "direction", "action"),
    [
        ((1, 1), 0, PICK_UP),  # nothing there
        ((1, 1), 3, PICK_UP),  # a wall
        ((4, 1), 0, PICK_UP),  # a door
        ((1, 1), 0, TOGGLE),
        ((2, 1), 0, TOGGLE),  # a ball
        ((2, 3), 2, TOGGLE),  # a key
        ((2, 1), 0, FORWARD),  # into the ball
        ((4, 1), 0, FORWARD),  # into the door
        ((2, 1), 0, LEFT),
        ((2, 1), 0, RIGHT),
    ],
)
def test_what_changes_nothing_ends_nothing(start, direction, action):
    envs = hall(0, start, direction)
    cells, position = envs.rooms.cells.copy(), envs.rooms.position.copy()
    assert play(envs, action) == (0, False, False)
    assert envs.did[0] == NOTHING
    assert (envs.rooms.cells == cells).all() and (envs.rooms.position == position).all()


def test_every_goal_is_reached_by_its_verb_before_its_thing_alone():
    moves = {"go to": grid.DONE, "pick up": grid.PICKUP, "open": grid.TOGGLE}
    table = np.full((7, grid.NUM_CODES), -1)
    for number, goal in enumerate(GOALS):
        state = 1 if goal.kind == "door" else 0  # closed
        code = KINDS[goal.kind] * 18 + COLOURS[goal.colour] * 3 + state
        table[moves[goal.verb], code] = number
    assert (table == commands.GOAL_DONE).all() and (table >= 0).sum() == 54


# --- the clock, and what comes after an end -----------------------------------------------------


def test_the_clock_truncates_and_the_next_row_is_the_reset():
    envs = hall(num_envs=3)
    for step in range(24):
        numbers, rooms = envs.numbers.copy(), envs.rooms.cells.copy()
        obs, rewards, terminated, truncated, valid = envs.step(np.full(3, LEFT))
        assert valid.all() and not rewards.any() and not terminated.any()
        assert (truncated == (step == 23)).all()
        assert (envs.numbers == numbers).all() and (envs.rooms.cells == rooms).all()
    last = envs.step(np.array([DONE, PICK_UP, FORWARD]))
    assert not last.valid.any() and (envs.did == NOTHING).all(), "the action is not carried out"
    assert not last.rewards.any() and not last.terminated.any() and not last.truncated.any()
    assert (envs.steps == 0).all() and (last.obs == envs.observe()).all()
    assert (last.obs[:, 49] != obs[:, 49]).any() or (envs.rooms.cells != rooms).any(), "others"
    for step in range(24):
        again = envs.step(np.full(3, RIGHT))
        assert again.valid.all() and (again.truncated == (step == 23)).all()


def test_only_what_has_ended_starts_anew():
    envs = hall(start=(2, 1), num_envs=2)
    envs.begin(
        1, 3, Plan(((envs.rooms.at(4, 4), thing_code("red", "key")),), envs.rooms.at(1, 1), 0)
    )
    step = envs.step(np.array([DONE, FORWARD]))
    assert step.terminated.tolist() == [True, False] and step.valid.all()
    assert envs.did.tolist() == [NUMBER[ASKED[0].goal], NOTHING]
    cells = envs.rooms.cells[1].copy()
    step = envs.step(np.array([DONE, FORWARD]))
    assert step.valid.tolist() == [False, True] and not step.terminated.any()
    assert (envs.did == NOTHING).all(), "who still stands before the ball does not do it again"
    assert envs.steps.tolist() == [0, 2] and envs.rooms.xy(envs.rooms.position[1]) == (3, 1)
    assert (envs.rooms.cells[1] == cells).all() and envs.numbers[1] == 3
    assert (envs.rooms.carrying == 0).all()


def test_success_in_the_last_step_is_an_end_and_no_truncation():
    envs = hall(0, (2, 1))
    assert play(envs, *[LEFT, RIGHT] * 12) == (0, False, True)
    envs = hall(0, (2, 1))
    assert play(envs, *[LEFT, RIGHT] * 11, TOGGLE, DONE) == (0.5, True, False)


def test_a_room_is_left_clean_for_the_next_episode():
    envs = hall(1, (2, 1))
    assert play(envs, PICK_UP)[1]
    assert envs.rooms.carrying[0] == thing_code("red", "ball")
    step = envs.step([FORWARD])
    assert not step.valid[0] and envs.rooms.carrying[0] == 0
    inner = envs.rooms.cells[0, [*envs.rooms.floor, *envs.rooms.walls]]
    plain = np.isin(KIND_OF[inner], [KINDS["empty"], KINDS["wall"]])
    assert (~plain).sum() == 4


# --- observations -------------------------------------------------------------------------------


def test_an_observation_is_the_view_and_the_number_of_the_sentence():
    envs = hall(2)
    obs = envs.observe()
    assert obs.shape == (1, 50) == (1, *envs.obs_shape) and obs.dtype == np.int64
    assert obs[0, 49] == 2 and envs.sentences[2] == "open the green box"
    assert (obs[0, :49] == envs.rooms.observe()[0]).all()
    view = obs[0, :49].reshape(7, 7)
    assert view[3, 4] == thing_code("red", "ball"), "two rows ahead, in the middle"
    step = envs.step([FORWARD])
    assert isinstance(step, Step) and step.obs.dtype == np.int64
    assert (
        step.obs[0, :49].reshape(7, 7)[3, 5] == thing_code("red", "ball") and step.obs[0, 49] == 2
    )
    assert step.rewards.dtype == np.float32
    assert all(x.dtype == bool for x in (step.terminated, step.truncated, step.valid))


def test_a_picture_shows_the_room():
    frame = hall().render(0)
    assert frame.shape == (192, 192, 3) and frame.dtype == np.uint8
    assert tuple(frame[48, 112]) == (255, 0, 0), "the ball, at (3, 1)"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([],), "commands must hold at least one command, got none"),
        ((ASKED, 2, 0, "GoToMoon"), "level must be one of GoToObj, .*, got 'GoToMoon'"),
        ((ASKED, 0), "num_rooms must be at least 1, got 0"),
    ],
)
def test_environments_that_cannot_be_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Commands(*arguments)


def test_steps_that_cannot_be_are_refused():
    envs = Commands(ASKED, 2)
    with pytest.raises(RuntimeError, match=r"call reset\(\) before the first step"):
        envs.step(np.zeros(2, int))
    envs.reset()
    with pytest.raises(ValueError, match=r"actions must have shape \(2,\), .* got \(3,\)"):
        envs.step(np.zeros(3, int))


# --- seeds --------------------------------------------------------------------------------------


def run(seed, steps=60, reset_to=None, rows=("seen", "relation")):
    envs = Commands([c for row in rows for c in ROWS[row]], 8, seed)
    if reset_to is not None:
        envs.reset()
    found = [envs.reset(reset_to)]
    actions = np.random.default_rng(0).integers(6, size=(steps, 8))
    return np.stack([*found, *(envs.step(row).obs for row in actions)])


def test_the_same_seed_gives_the_same_episodes_and_another_others():
    first = run(3)
    assert (first == run(3)).all() and (first == run(0, reset_to=3)).all()
    assert (first[0] != run(4)[0]).any(axis=1).all()
    rooms = {tuple(row) for row in first[0].tolist()}
    assert len(rooms) == 8, "no two environments begin alike"


def test_resetting_again_goes_on_with_the_stream():
    envs = Commands(ROWS["seen"], 8, 5)
    first, second = envs.reset(), envs.reset()
    assert (first != second).any(axis=1).all()
    assert (envs.reset(5) == first).all() and (envs.reset() == second).all()


# --- what stands in the room --------------------------------------------------------------------


def contents(command, level="Commands", seed=0, draws=1):
    rng = np.random.default_rng(seed)
    return [commands.things_in_the_room(command, LEVELS[level], rng) for _ in range(draws)]


@pytest.mark.parametrize("level", ["Commands", "GoToLocal", "PickupLoc", "OpenDoor"])
def test_four_things_are_two_colours_by_two_kinds(level):
    fits = [c for c in ROWS["seen"] if c.goal.kind in LEVELS[level].kinds]
    for seed, command in enumerate(fits[::7]):
        (things,) = contents(command, level, seed)
        colours, kinds = ({thing[part] for thing in things} for part in (0, 1))
        assert things[0] == command.goal.thing
        assert len(colours) == len(kinds) == 2 and sorted(things) == sorted(product(colours, kinds))
        assert level == "OpenDoor" or kinds <= set(LEVELS[level].kinds)


def test_other_colours_and_kinds_are_all_as_likely():
    command = ROWS["seen"][0]
    assert command.goal == Goal("go to", "red", "key")
    drawn = contents(command, draws=3000)
    pairs = Counter(things[-1] for things in drawn)
    expected = 3000 / 15  # five other colours, three other kinds
    assert len(pairs) == 15 and {c for c, _ in pairs} == {*COLOURS} - {"red"}
    assert sum((n - expected) ** 2 / expected for n in pairs.values()) < 43  # chi square, 1e-4


@pytest.mark.parametrize("verb", ["go to", "pick up"])
def test_the_things_do_not_tell_which_is_the_target(verb):
    kinds = ("key", "ball", "box")
    level, rng = LEVELS["GoToLocal" if verb == "go to" else "PickupLoc"], np.random.default_rng(1)
    asked = [Command("", Goal(verb, c, k)) for c in COLOURS for k in kinds]
    roles, sets = Counter(), Counter()
    for _ in range(6000):
        command = asked[rng.integers(len(asked))]
        things = commands.things_in_the_room(command, level, rng)
        sets[tuple(sorted(things))] += 1
        roles[tuple(sorted(things)), sorted(things).index(command.goal.thing)] += 1
    assert len(sets) == 15 * 3, "pairs of colours by pairs of kinds"
    for corner in range(4):  # of 133 rooms with the same four things, a quarter each
        share = [roles[things, corner] / sets[things] for things in sets]
        assert abs(np.mean(share) - 0.25) < 0.025
    excess = sum(
        (roles[things, corner] - n / 4) ** 2 / (n / 4)
        for things, n in sets.items()
        for corner in range(4)
    )
    assert abs(excess - 135) < 80, "chi square with 45 x 3 degrees of freedom, five deviations"


def test_sharing_leaves_the_target_resembled_and_none_leaves_it_alone():
    for command in ROWS["seen"][::11]:
        (things,) = contents(command, "CommandsSharing")
        colour, kind = command.goal.thing
        assert len(things) == len(set(things)) == 3 and things[0] == (colour, kind)
        assert sorted((c == colour) + (k == kind) for c, k in things) == [1, 1, 2]
        assert contents(command, "GoToObj") == [[command.goal.thing]]


def test_a_room_holds_what_its_sentence_speaks_of():
    for command in [*ROWS["negation"], *ROWS["relation"]]:
        (things,) = contents(command)
        assert command.other in things and things[0] == command.goal.thing
        assert len(set(things)) == 4
        named = [thing for thing in things if thing[1] == command.goal.kind]
        assert len(named) == 2, "one that is meant, and one of another colour"


def expert(envs, i):
    """The shortest way to do what is asked in room i, from a look at the whole room."""
    rooms, goal = envs.rooms, envs.commands[envs.numbers[i]].goal
    goal_code = KINDS[goal.kind] * 18 + COLOURS[goal.colour] * 3 + (goal.kind == "door")
    (there,) = np.flatnonzero(rooms.cells[i] == goal_code)
    start = int(rooms.position[i]), int(rooms.direction[i])
    ways, queue = {start: []}, deque([start])
    while queue:
        place, direction = pose = queue.popleft()
        front = place + int(rooms.moves[direction])
        if front == there:
            return [*ways[pose], ACT[goal.verb]]
        steps = {LEFT: (place, (direction - 1) % 4), RIGHT: (place, (direction + 1) % 4)}
        if rooms.cells[i, front] == grid.EMPTY:
            steps[FORWARD] = front, direction
        for action, after in steps.items():
            if after not in ways:
                ways[after] = [*ways[pose], action]
                queue.append(after)
    raise AssertionError("no way leads there")


@pytest.mark.parametrize("row", [name for name in ROWS if name != "seen"])
def test_an_expert_does_all_that_is_asked_within_the_clock(row):
    envs = Commands(ROWS[row], 60, seed=1)
    envs.reset()
    ways = [expert(envs, i) for i in range(60)]
    assert max(map(len, ways)) < 24
    open_ended = np.ones(60, bool)
    for t in range(max(map(len, ways))):
        actions = np.array([way[t] if t < len(way) else LEFT for way in ways])
        step = envs.step(actions)
        over = np.array([t == len(way) - 1 for way in ways])
        assert (step.terminated[open_ended] == over[open_ended]).all()
        assert step.rewards[over] == pytest.approx(1 - (t + 1) / 48)
        open_ended &= ~over


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_can_be_played_to_its_end(level):
    rules = LEVELS[level]
    asked = sentences.training(rules.verbs, rules.kinds, 1)
    envs = Commands(asked, 30, level=level)
    envs.reset()
    number = {"none": 1, "sharing": 3}.get(rules.others, 4)
    assert envs.name == level
    for i in range(30):
        inner = envs.rooms.cells[i, [*envs.rooms.floor, *envs.rooms.walls]]
        assert (~np.isin(KIND_OF[inner], [KINDS["empty"], KINDS["wall"]])).sum() == number
        assert len(expert(envs, i)) < rules.limit


def test_things_and_agent_have_places_of_their_own():
    rooms, rng = Rooms(1, 6), np.random.default_rng(2)
    starts, directions = Counter(), Counter()
    for command in (ROWS["seen"] * 10)[:1200]:
        plan = commands.draw_plan(command, LEVELS["Commands"], rooms, rng)
        places = [place for place, _ in plan.things]
        assert len({*places, plan.position}) == 5 and plan.position in rooms.floor
        for place, code in plan.things:
            assert place in (rooms.walls if KIND_OF[code] == KINDS["door"] else rooms.floor)
        assert plan.things[0][1] == thing_code(*command.goal.thing)
        starts[plan.position] += 1
        directions[plan.direction] += 1
    assert len(starts) == 16 and min(starts.values()) > 35
    assert len(directions) == 4 and min(directions.values()) > 230


def test_in_a_relation_the_other_thing_stands_next_to_the_target():
    rooms, rng = Rooms(1, 6), np.random.default_rng(3)
    sides = Counter()
    for command in ROWS["relation"] * 5:
        plan = commands.draw_plan(command, LEVELS["Commands"], rooms, rng)
        place = {code: place for place, code in plan.things}
        target, other = (place[thing_code(*t)] for t in (command.goal.thing, command.other))
        (x, y), (other_x, other_y) = rooms.xy(target), rooms.xy(other)
        assert abs(x - other_x) + abs(y - other_y) == 1
        sides[other_x - x, other_y - y] += 1
    assert len(sides) == 4 and min(sides.values()) > 50, "350 rooms, four sides"


def test_a_target_behind_others_is_not_reachable():
    rooms = Rooms(1, 5)
    at, moves = rooms.at, rooms.moves
    free = {int(place) for place in rooms.floor}
    barred = free - {at(2, 1), at(1, 2), at(3, 3)}
    assert commands.reachable(at(1, 1), at(3, 3), free - {at(3, 3)}, moves)
    assert not commands.reachable(at(1, 1), at(3, 3), barred, moves)
    assert commands.reachable(at(1, 1), at(2, 1), barred, moves), "what bars the way can be reached"
    assert commands.reachable(at(1, 1), at(1, 0), barred, moves), "as can a door beside it"
    assert not commands.reachable(at(1, 1), at(0, 0), free, moves), "but no corner"


def test_a_plan_is_drawn_again_until_the_target_is_within_reach():
    """In three by three cells, four things often bar the way."""
    rooms, rng = Rooms(1, 5), np.random.default_rng(4)
    for _ in range(300):
        plan = commands.draw_plan(ROWS["seen"][0], LEVELS["Commands"], rooms, rng)
        taken = {place for place, _ in plan.things}
        seen = {plan.position}
        for _ in range(9):
            near = {p + int(m) for p in seen for m in rooms.moves}
            seen |= (near & {*rooms.floor.tolist()}) - taken
        assert plan.things[0][0] in {p + int(m) for p in seen for m in rooms.moves}


# --- chance -------------------------------------------------------------------------------------

SQUARE = [("red", "ball"), ("red", "box"), ("blue", "ball"), ("blue", "box")]


@pytest.mark.parametrize(
    ("goal", "heard", "one_in"),
    [
        # Balls have two verbs, boxes three: ten goals in this room.
        (("go to", "red", "ball"), [], 10),
        (("go to", "red", "ball"), ["verb"], 4),
        (("pick up", "red", "ball"), ["verb"], 4),
        (("open", "red", "box"), ["verb"], 2),
        (("go to", "red", "ball"), ["colour"], 5),
        (("go to", "red", "ball"), ["kind"], 4),
        (("go to", "red", "box"), ["kind"], 6),
        (("go to", "red", "ball"), ["verb", "colour"], 2),
        (("open", "red", "box"), ["verb", "colour"], 1),
        (("open", "red", "box"), ["verb", "kind"], 2),
        (("go to", "red", "ball"), ["colour", "kind"], 2),
        (("go to", "red", "box"), ["kind", "colour"], 3),
        (("go to", "red", "ball"), ["verb", "colour", "kind"], 1),
    ],
)
def test_chance_in_a_room_of_balls_and_boxes(goal, heard, one_in):
    assert chance(SQUARE, Goal(*goal), heard) == pytest.approx(1 / one_in)


def test_chance_is_the_share_of_guesses_that_succeed():
    """Ask for each goal of a room in turn, and guess each goal that sounds the same."""
    for number, command in enumerate(ROWS["seen"][::5]):
        (things,) = contents(command, seed=number)
        parts = [p for n in range(4) for p in combinations(("verb", "colour", "kind"), n)]
        heard = parts[number % len(parts)]
        index = [("verb", "colour", "kind").index(part) for part in heard]
        possible = [goal for goal in GOALS if tuple(goal[1:]) in things]
        guesses = [g for g in possible if [g[j] for j in index] == [command.goal[j] for j in index]]
        right = sum(guess == command.goal for guess in guesses) / len(guesses)
        assert chance(things, command.goal, heard) == pytest.approx(right)


def test_chance_of_one_thing_alone():
    assert chance([("red", "door")], Goal("open", "red", "door"), []) == 0.5


@pytest.mark.parametrize(
    ("things", "heard"), [(SQUARE, ["size"]), (SQUARE, "verb"), (SQUARE[1:], ["verb"])]
)
def test_chance_refuses_what_makes_no_sense(things, heard):
    with pytest.raises(ValueError, match=r"heard may hold verb, colour, kind, got .* must be one"):
        chance(things, Goal("go to", "red", "ball"), heard)
