"""The lines that luck draws in lesson 14: by hand, and by somebody who really guesses."""

import numpy as np
import pytest

from course_lib.lessons.language_agents.chances import HEARD, chances
from course_lib.worlds import sentences
from course_lib.worlds.commands import LEVELS, things_in_the_room
from course_lib.worlds.sentences import GOALS

ROWS = {"seen": sentences.training(), "doors": sentences.training(("open",), ("door",))}


def test_more_is_heard_and_more_is_reached():
    for found in chances(ROWS, rooms=50).values():
        assert list(found) == list(HEARD)
        for less, parts in HEARD.items():
            for more, others in HEARD.items():
                assert found[less] <= found[more] or not set(parts) <= set(others), (less, more)
        # Two colours by two kinds: verb and kind leave two things, all parts leave one.
        assert found["verb, kind"] == pytest.approx(0.5) and found["all"] == 1


def test_it_is_what_guessing_brings():
    commands, rng, right = ROWS["seen"], np.random.default_rng(1), []
    for _ in range(4_000):
        goal = commands[rng.integers(len(commands))].goal
        command = next(command for command in commands if command.goal == goal)
        things = things_in_the_room(command, LEVELS["Commands"], rng)
        left = [g for g in GOALS if g.thing in things and g.colour == goal.colour]
        right.append(left[rng.integers(len(left))] == goal)
    found = chances(ROWS, rooms=2_000)["seen"]["colour"]
    assert np.mean(right) == pytest.approx(found, abs=0.035)  # five standard deviations


def test_a_thing_alone_and_no_rooms():
    alone = chances({"keys": sentences.training(kinds=("key",))}, level="GoToObj")["keys"]
    assert alone["nothing"] == alone["colour, kind"] == 0.5 and alone["verb"] == 1
    assert chances(ROWS, seed=1, rooms=9) == chances(ROWS, seed=1, rooms=9)
    with pytest.raises(ValueError, match="rooms must be at least 1, got 0"):
        chances(ROWS, rooms=0)
