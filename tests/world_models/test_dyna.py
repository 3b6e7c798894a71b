"""Dyna-Q: imagined updates by hand, Q-learning when it does not plan, the book's maze solved."""

import gymnasium
import numpy as np
import pytest

from course_lib.rl import q_learning as ql
from course_lib.world_models import dyna
from course_lib.world_models.dyna import Config, Memory
from course_lib.worlds.maze import DYNA_MAZE, Maze

SETTINGS = ql.Config(steps=1_500, gamma=0.95, alpha=0.5, report_every=100)


def greedy_steps(q, most=200):
    maze = Maze(DYNA_MAZE)
    state, _ = maze.reset()
    for step in range(1, most + 1):
        state, _, terminated, _, _ = maze.step(int(q[state].argmax()))
        if terminated:
            return step
    return most


# --- the update ----------------------------------------------------------------------------------


def test_a_reward_travels_back_within_one_call():
    q = np.zeros((3, 2))
    model = {(1, 0): Memory(8.0, 2, True), (0, 1): Memory(0.0, 1, False)}
    new = dyna.dyna_update(q, model, [(1, 0), (0, 1)], alpha=0.5, gamma=0.5)
    np.testing.assert_allclose(new, [[0, 0.5 * 0.5 * 4], [4, 0], [0, 0]])
    other_way = dyna.dyna_update(q, model, [(0, 1), (1, 0)], alpha=0.5, gamma=0.5)
    np.testing.assert_allclose(other_way, [[0, 0], [4, 0], [0, 0]])
    assert not q.any()


def test_nothing_follows_an_end():
    q = np.full((2, 2), 100.0)
    new = dyna.dyna_update(q, {(0, 0): Memory(1.0, 1, True)}, [(0, 0)], alpha=1.0, gamma=0.9)
    np.testing.assert_allclose(new, [[1, 100], [100, 100]])


def test_a_pair_may_come_twice_or_not_at_all():
    model = {(0, 0): Memory(1.0, 1, True)}
    new = dyna.dyna_update(np.zeros((2, 1)), model, [(0, 0)] * 2, alpha=0.5, gamma=0.9)
    assert new[0, 0] == 0.75
    q = np.ones((2, 1))
    np.testing.assert_array_equal(dyna.dyna_update(q, model, [], 0.5, 0.9), q)


# --- training ------------------------------------------------------------------------------------


def test_without_planning_it_is_q_learning_step_for_step():
    one, two = np.zeros((48, 4)), np.zeros((48, 4))
    env = gymnasium.make("CliffWalking-v1")
    ours = list(dyna.train(one, env, SETTINGS, Config(planning_steps=0), seed=3))
    theirs = list(ql.q_learning(two, env, SETTINGS, seed=3))
    np.testing.assert_array_equal(one, two)
    assert str(ours) == str(theirs)  # nan is not equal to itself


def test_planning_finds_the_shortest_way_sooner():
    found = {}
    for steps in (0, 20):
        q = np.zeros((54, 4))
        list(dyna.train(q, Maze(DYNA_MAZE), SETTINGS, Config(planning_steps=steps), seed=0))
        found[steps] = greedy_steps(q)
    assert found[20] <= 16 < found[0]


def test_training_repeats():
    tables = []
    for _ in range(2):
        q = np.zeros((54, 4))
        list(dyna.train(q, Maze(DYNA_MAZE), SETTINGS, Config(), seed=1))
        tables.append(q)
    np.testing.assert_array_equal(*tables)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="planning_steps must not be negative, got -1"):
        Config(planning_steps=-1)
