"""Worlds written as tables: what their moves lead to, their clock, and that misuse is an error."""

import numpy as np
import pytest

from course_lib.worlds.tables import TableWorld


def test_moves_lead_where_the_table_says_and_the_clock_truncates():
    world = TableWorld([[(1.0, 1, 0.5, False)]], [[(1.0, 0, 2.0, False)]], clock=3)
    assert world.reset() == (0, {})
    assert [world.step(0) for _ in range(3)] == [
        (1, 0.5, False, False, {}),
        (0, 2.0, False, False, {}),
        (1, 0.5, False, True, {}),
    ]


def test_an_end_is_no_truncation():
    world = TableWorld([[(1.0, 0, 1.0, True)]], clock=1)
    world.reset()
    assert world.step(0) == (0, 1.0, True, False, {})


def test_chances_are_drawn_and_repeat_with_the_seed():
    def visits(seed):
        world = TableWorld([[(0.25, 1, 0.0, True), (0.75, 0, 1.0, True)]], [[(1.0, 1, 0.0, True)]])
        world.reset(seed=seed)
        found = []
        for _ in range(1_000):
            found.append(world.step(0)[0])
            world.reset()
        return found

    assert visits(3) == visits(3) != visits(4)
    assert np.mean(visits(3)) == pytest.approx(0.25, abs=0.05)


def test_a_step_without_an_episode_is_an_error():
    world = TableWorld([[(1.0, 0, 1.0, True)]])
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        world.step(0)
    world.reset()
    world.step(0)
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        world.step(0)


def test_an_action_that_is_not_there_is_an_error():
    world = TableWorld([[(1.0, 0, 1.0, False)]])
    world.reset()
    with pytest.raises(ValueError, match="the actions are 0 to 0, got 1"):
        world.step(1)
