"""The task played by the package minigrid is the task in numpy; and BabyAI's levels, as they are.

Ground truth: the package. Its own views, verifier, clock and missions stand beside what the bridge
says; an expert walks over the package's grid. (`test_grid.py` compares rooms with their twins.)
"""

from collections import Counter, deque

import numpy as np
import pytest
from minigrid.minigrid_env import MiniGridEnv

from benchmarks.language_agents import grid_vs_minigrid as twins
from course_lib.evaluation import evaluate
from course_lib.worlds import commands, grid, minigrid_rooms, sentences
from course_lib.worlds.commands import Commands
from course_lib.worlds.grid import Rooms, code
from course_lib.worlds.minigrid_rooms import BabyAI, MiniGridRooms
from course_lib.worlds.sentences import Command

LEFT, RIGHT, FORWARD, PICK_UP, TOGGLE, DONE = range(6)
ARRAYS = ("cells", "inside", "position", "direction", "carrying", "carrying_inside")
TRAINING = sentences.training()
GO_TO, PICK_UP_LEVEL = "BabyAI-GoToLocalS6N4-v0", "BabyAI-PickupLoc-v0"


def same(rooms, others):
    return all((getattr(rooms, name) == getattr(others, name)).all() for name in ARRAYS)


def filled(num_rooms, size, seed, kind=MiniGridRooms):
    """Rooms full of everything that there is, and the same in numpy."""
    plain = twins.random_rooms(num_rooms, size, np.random.default_rng(seed))
    rooms = kind(num_rooms, size)
    for name in ARRAYS:
        getattr(rooms, name)[:] = getattr(plain, name)
    return rooms, plain


# --- the same task ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "rows"),
    [
        ("Commands", ("seen", "negation", "relation")),
        ("CommandsSharing", ("seen", "held-out pair")),
        ("OpenDoor", None),
    ],
)
def test_commands_are_the_same_task_on_the_package(level, rows):
    asked = [c for row in rows for c in sentences.rows()[row]] if rows else None
    asked = asked or sentences.training(("open",), ("door",))
    ours, theirs = (Commands(asked, 40, 2, level, kind) for kind in (Rooms, MiniGridRooms))
    assert (ours.reset() == theirs.reset()).all()
    rng, seen = np.random.default_rng(0), Counter()
    for _ in range(40):
        actions = rng.choice(6, 40, p=[0.2, 0.2, 0.4, 0.07, 0.07, 0.06])
        first, second = ours.step(actions), theirs.step(actions)
        for name, one, other in zip(first._fields, first, second, strict=True):
            assert one.dtype == other.dtype and (one == other).all(), name
        assert (ours.did == theirs.did).all() and same(ours.rooms, theirs.rooms)
        seen["won"] += (first.rewards > 0).sum()
        seen["ended"] += first.terminated.sum()
        seen["truncated"] += first.truncated.sum()
        seen["began"] += (~first.valid).sum()
    assert min(seen.values()) > 0 and seen["began"] > 40, seen


def test_rooms_full_of_everything_stay_equal_whoever_stands_still():
    rooms, plain = filled(40, 7, 1)
    rng = np.random.default_rng(2)
    assert (rooms.observe() == plain.observe()).all()
    for step in range(40):
        actions, active = twins.random_actions(plain, rng), rng.random(40) < 0.7
        if step % 2:
            active = None
        rooms.step(actions, active)
        plain.step(actions, active)
        assert same(rooms, plain) and (rooms.observe() == plain.observe()).all()
        assert (rooms.ahead() == plain.ahead()).all() and (rooms.front() == plain.front()).all()


def test_what_is_written_to_a_room_counts_at_once_and_in_this_room_alone():
    rooms = MiniGridRooms(3, 6)
    empty, view = code("empty"), (2, 3 * 7 + 5)  # room 2, the cell ahead
    assert rooms.observe()[view] == empty
    rooms.cells[2, rooms.at(2, 1)] = code("ball", "blue")
    assert rooms.observe()[view] == code("ball", "blue")
    assert (rooms.observe()[:2] == Rooms(1, 6).observe()).all()
    rooms.step(np.full(3, grid.PICKUP))
    assert rooms.carrying.tolist() == [0, 0, code("ball", "blue")]
    rooms.position[2], rooms.direction[2] = rooms.at(4, 4), 3
    rooms.step(np.full(3, grid.DROP))
    assert rooms.cells[2, rooms.at(4, 3)] == code("ball", "blue") and rooms.carrying[2] == 0
    rooms.clear(2)
    assert rooms.observe()[view] == empty and same(rooms, MiniGridRooms(3, 6))
    mine = rooms.observe()
    mine[:] = 0
    assert rooms.observe().any(), "what is handed out is a copy"


def test_a_full_box_is_read_back_with_what_is_in_it():
    rooms, box, key = MiniGridRooms(1, 6), code("box", "red"), code("key", "green")
    rooms.cells[0, rooms.at(2, 1)], rooms.inside[0, rooms.at(2, 1)] = box, key
    rooms.step([grid.PICKUP])
    assert (rooms.carrying[0], rooms.carrying_inside[0]) == (box, key) and not rooms.inside.any()
    rooms.step([grid.RIGHT])
    rooms.step([grid.DROP])
    assert (rooms.carrying[0], rooms.carrying_inside[0]) == (0, 0)
    there = 0, rooms.at(1, 2)
    assert (rooms.cells[there], rooms.inside[there]) == (box, key)
    rooms.step([grid.TOGGLE])
    assert (rooms.cells[there], rooms.inside[there]) == (key, 0)


def test_it_is_the_package_that_plays(monkeypatch):
    rooms, count = MiniGridRooms(5, 6), []
    step = MiniGridEnv.step
    monkeypatch.setattr(MiniGridEnv, "step", lambda env, a: (count.append(a), step(env, a))[1])
    monkeypatch.setattr(Rooms, "step", None)
    monkeypatch.setattr(Rooms, "observe", None)
    active = np.array([True, False, True, True, False])
    rooms.step(np.array([grid.FORWARD, grid.FORWARD, grid.LEFT, grid.DONE, grid.LEFT]), active)
    assert count == [grid.FORWARD, grid.LEFT, grid.DONE]
    assert rooms.position.tolist() == [rooms.at(2, 1)] + [rooms.at(1, 1)] * 4
    assert rooms.direction.tolist() == [0, 0, 3, 0, 0]


def test_an_episode_is_played_in_one_environment(monkeypatch):
    envs, made = Commands(TRAINING, 4, physics=MiniGridRooms), []
    build = minigrid_rooms.to_minigrid
    monkeypatch.setattr(
        minigrid_rooms, "to_minigrid", lambda rooms, i: (made.append(i), build(rooms, i))[1]
    )
    envs.reset()
    for _ in range(24):
        envs.step(np.full(4, LEFT))
    assert sorted(made) == [0, 1, 2, 3]
    envs.step(np.full(4, LEFT))
    assert sorted(made) == [0, 0, 1, 1, 2, 2, 3, 3], "and the next in another"


def test_a_picture_is_of_the_room_as_it_is_now():
    envs = Commands(TRAINING, 2, physics=MiniGridRooms)
    other = Commands(TRAINING, 2)
    envs.reset(), other.reset()
    assert (envs.render(1) == other.render(1)).all()
    envs.step(np.array([DONE, LEFT]))
    other.step(np.array([DONE, LEFT]))
    assert (envs.render(1) == other.render(1)).all()


@pytest.mark.parametrize("actions", [[0, 0, 0], [0], 0, [0, 9]])
def test_actions_that_cannot_be_are_refused(actions):
    with pytest.raises(ValueError):
        MiniGridRooms(2, 5).step(np.array(actions))


# --- BabyAI -------------------------------------------------------------------------------------


def the_level(name, asked=TRAINING, seed=0):
    """One environment of a level, with the package's own inside."""
    level = minigrid_rooms._Level(name, [command.sentence for command in asked])
    level.unwrapped.reset(seed=seed)
    return level, level.reset()[0]


def expert(env, goal):
    """A shortest way to one thing of the package's grid that the goal describes."""
    cells = {(x, y): env.grid.get(x, y) for x in range(env.width) for y in range(env.height)}
    meant = {at for at, it in cells.items() if it and (it.color, it.type) == goal.thing}
    act = {"go to": [], "pick up": [PICK_UP], "open": [TOGGLE]}[goal.verb]
    start = tuple(map(int, env.agent_pos)), int(env.agent_dir)
    ways, queue = {start: []}, deque([start])
    while queue:
        (x, y), direction = pose = queue.popleft()
        dx, dy = [(1, 0), (0, 1), (-1, 0), (0, -1)][direction]
        front = x + dx, y + dy
        if front in meant:
            return ways[pose] + act
        steps = {LEFT: ((x, y), (direction - 1) % 4), RIGHT: ((x, y), (direction + 1) % 4)}
        if cells[front] is None:
            steps[FORWARD] = front, direction
        for action, after in steps.items():
            if after not in ways:
                ways[after] = [*ways[pose], action]
                queue.append(after)
    return None


@pytest.mark.parametrize(
    ("name", "verb", "width", "clock"),
    [
        ("BabyAI-GoToObjS6-v1", "go to", 6, 36),
        ("BabyAI-GoToLocalS6N3-v0", "go to", 6, 36),
        (GO_TO, "go to", 6, 36),
        (PICK_UP_LEVEL, "pick up", 8, 64),
        ("BabyAI-OpenDoorColor-v0", "open", 22, 576),
    ],
)
def test_an_expert_fulfils_every_mission(name, verb, width, clock):
    level, obs = the_level(name)
    env = level.unwrapped
    assert (env.width, env.height, env.max_steps) == (width, width, clock)
    for _ in range(15):
        command = TRAINING[obs[49]]
        assert command.goal.verb == verb and command.sentence.split() == [
            "the" if word == "a" else word for word in env.mission.split()
        ]
        *before, last = expert(env, command.goal)
        for action in before:
            assert level.step(action)[1:4] == (0.0, False, False)
        assert level.step(last)[1:4] == (1.0, True, False), "full marks, however long it took"
        obs = level.reset()[0]


def test_observations_are_the_packages_views_in_our_numbers():
    level, obs = the_level(GO_TO)
    env = level.unwrapped
    for action in [LEFT, FORWARD, RIGHT, FORWARD, RIGHT, RIGHT]:
        image = env.gen_obs()["image"]
        three = np.stack([grid.KIND_OF, grid.COLOUR_OF, grid.STATE_OF], -1)[obs[:49]]
        assert (three.reshape(7, 7, 3) == image).all() and obs.dtype == np.int64
        obs = level.step(action)[0]


@pytest.mark.parametrize(("verb", "name"), [("go to", GO_TO), ("pick up", PICK_UP_LEVEL)])
def test_only_missions_that_were_trained_are_played(verb, name):
    envs = BabyAI(name, TRAINING, 10)
    asked = Counter()
    for _ in range(30):
        asked.update(envs.reset()[:, 49].tolist())
    goals = {TRAINING[number].goal for number in asked}
    assert {goal.verb for goal in goals} == {verb} and len(goals) == 15  # 18 but three held out
    assert not {goal.thing for goal in goals} & set(sentences.HELD_OUT)
    plain = {f"{verb} the {goal.colour} {goal.kind}" for goal in goals}
    assert {TRAINING[number].sentence for number in asked} == plain


def test_a_mission_of_two_such_things_is_heard_as_one_of_training():
    level, obs = the_level("BabyAI-GoToLocal-v0")
    said = Counter()
    for _ in range(40):
        article = level.unwrapped.mission.split()[2]
        said[article] += 1
        goal = TRAINING[obs[49]].goal
        things = [it for it in level.unwrapped.grid.grid if it and it.type != "wall"]
        number = sum((it.color, it.type) == goal.thing for it in things)
        assert (number > 1) == (article == "a")
        obs = level.reset()[0]
    assert said["a"] > 5 < said["the"] and sum(said.values()) == 40


def test_the_clock_is_the_levels_and_success_in_its_last_step_counts():
    level, obs = the_level(GO_TO)
    way = expert(level.unwrapped, TRAINING[obs[49]].goal)
    for _ in range(36 - len(way)):
        assert level.step(DONE)[1:4] == (0.0, False, False)
    for action in way[:-1]:
        assert level.step(action)[1:4] == (0.0, False, False)
    assert level.step(way[-1])[1:4] == (1.0, True, False)
    level.reset()
    for step in range(36):
        assert level.step(DONE)[1:4] == (0.0, False, step == 35)


def test_a_wrong_thing_in_the_hands_ends_nothing_and_bars_success():
    level, obs = the_level(PICK_UP_LEVEL)
    env, goal = level.unwrapped, TRAINING[obs[49]].goal
    others = {(it.color, it.type) for it in env.grid.grid if it and it.type != "wall"}
    wrong = min(others - {goal.thing})
    for action in expert(env, goal._replace(colour=wrong[0], kind=wrong[1])):
        assert level.step(action)[1:4] == (0.0, False, False)
    assert (env.carrying.color, env.carrying.type) == wrong
    for action in expert(env, goal):
        assert level.step(action)[1:4] == (0.0, False, False)


def test_the_row_after_an_end_is_a_reset():
    envs = BabyAI(GO_TO, TRAINING, 3)
    first = envs.reset()
    assert first.shape == (3, 50) == (3, *envs.obs_shape) and first.dtype == np.int64
    assert (envs.name, envs.num_envs, envs.num_actions) == (GO_TO, 3, 6)
    for step in range(36):
        found = envs.step(np.full(3, DONE))
        assert found.valid.all() and not found.rewards.any() and not found.terminated.any()
        assert (found.truncated == (step == 35)).all() and (found.obs == first).all()
    found = envs.step(np.array([FORWARD, LEFT, DONE]))
    assert not found.valid.any() and not (found.terminated | found.truncated).any()
    assert not found.rewards.any() and found.rewards.dtype == np.float32
    assert (found.obs != first).any(axis=1).all()
    assert (envs.step(np.full(3, DONE)).obs == found.obs).all(), "that action was not carried out"


def test_the_same_seed_gives_the_same_episodes_and_another_others():
    def run(seed, again=None):
        envs = BabyAI(GO_TO, TRAINING, 4, seed)
        obs, rng = [envs.reset(), envs.reset(again)], np.random.default_rng(0)
        return np.stack([*obs, *(envs.step(rng.integers(6, size=4)).obs for _ in range(60))])

    first = run(1)
    assert (first == run(1)).all()
    assert (first[0] != run(2)[0]).any(axis=1).all() and (first[0] != first[1]).any(axis=1).all()
    assert (run(2, again=1)[1] == first[0]).all(), "a reset with a seed goes back"
    assert len({tuple(row) for row in first[0].tolist()}) == 4


def test_a_policy_can_be_evaluated_and_nothing_is_printed(capsys):
    envs, rng = BabyAI("BabyAI-GoToLocalS6N3-v0", TRAINING, 10, 3), np.random.default_rng(0)
    moves = [0.25, 0.25, 0.5, 0, 0, 0]
    returns = evaluate(lambda obs: rng.choice(6, len(obs), p=moves), envs, 40)
    assert len(returns) == 40 and set(returns) == {0.0, 1.0}
    assert envs.render(0).shape == (192, 192, 3) and envs.render(0).dtype == np.uint8
    envs.close()
    assert capsys.readouterr().out == ""


def test_actions_are_those_of_commands():
    assert minigrid_rooms.ACTIONS == commands.ACTIONS and BabyAI.num_actions == 6
    assert BabyAI.obs_shape == Commands.obs_shape and BabyAI.action_size is None


@pytest.mark.parametrize(
    "arguments", [("BabyAI-GoToMoon-v0", TRAINING), ("CartPole-v1", TRAINING), (GO_TO, TRAINING, 0)]
)
def test_levels_that_do_not_exist_are_refused(arguments):
    with pytest.raises(ValueError, match="name must be a level that minigrid registers, such as"):
        BabyAI(*arguments)


def test_a_level_that_never_says_what_was_trained_is_refused(monkeypatch):
    monkeypatch.setattr(minigrid_rooms, "DRAWS", 20)
    one = [Command("pick up the ball", sentences.GOALS[0])]
    assert BabyAI("BabyAI-OneRoomS8-v0", one, 2).reset()[:, 49].tolist() == [0, 0]
    with pytest.raises(
        ValueError, match=r"none of 20 episodes had one of these 180 sentences .*ball"
    ):
        BabyAI("BabyAI-OneRoomS8-v0", TRAINING, 2).reset()
