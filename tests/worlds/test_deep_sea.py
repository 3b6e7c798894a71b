"""The deep sea is the world that its docstring says, and one way leads to the treasure."""

import numpy as np
import pytest

from course_lib.worlds.deep_sea import deep_sea


def best_value(size: int) -> float:
    """Steer right all the way: paid for in every row, worth it if no current ever takes over."""
    stays = 1 - 1 / size
    expected_rows = sum(stays**row for row in range(size))  # then the treasure is out of reach
    return stays**size - 0.01 / size * expected_rows


@pytest.mark.parametrize("size", [2, 3, 12])
def test_whoever_steers_right_finds_the_treasure_as_often_as_expected(size):
    env = deep_sea(size, seed=1)
    value = np.zeros(size * size)
    for state in reversed(range(size * size)):  # each move leads a row down
        value[state] = max(
            sum(p * (reward + (0 if ends else value[to])) for p, to, reward, ends in way)
            for way in env._moves[state].values()
        )
    assert value[0] == pytest.approx(best_value(size))


def test_an_episode_has_as_many_steps_as_rows_and_the_actions_are_mixed_up():
    env = deep_sea(6, seed=0)
    state, _ = env.reset()
    for row in range(6):
        assert state // 6 == row
        state, _, terminated, truncated, _ = env.step(0)
        assert terminated == (row == 5) and not truncated
    lefts = [env._moves[6 * row + 3][0][0][2] == 0 for row in range(6)]
    assert 0 < sum(lefts) < 6, "in some squares action 0 steers left, in others right"
    same, other = deep_sea(6, seed=0), deep_sea(6, seed=1)
    assert same._moves == env._moves != other._moves


def test_a_sea_has_two_columns_at_least():
    with pytest.raises(ValueError, match="at least 2, got 1"):
        deep_sea(1)
