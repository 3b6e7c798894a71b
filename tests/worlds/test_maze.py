"""The maze of the book, whose shortest way is known, and what walls and edges do."""

import numpy as np
import pytest

from course_lib.rl import q_learning as ql
from course_lib.worlds.maze import DYNA_MAZE, Maze


def test_the_maze_of_the_book_takes_14_steps():
    maze = Maze(DYNA_MAZE)
    transitions = np.zeros((54, 4, 54))
    rewards = np.zeros((54, 4))
    for state in range(54):
        for action in range(4):
            maze.place = divmod(state, 9)
            there, rewards[state, action], terminated, _, _ = maze.step(action)
            transitions[state, action, there] = not terminated
    model = ql.Model(transitions, rewards, np.eye(54)[18])
    q = ql.value_iteration(model, 0.95)
    assert q[18].max() == pytest.approx(0.95**13)
    state, steps, terminated = maze.reset()[0], 0, False
    while not terminated and steps < 20:
        state, _, terminated, _, _ = maze.step(int(q[state].argmax()))
        steps += 1
    assert terminated and steps == 14


def test_walls_and_edges_stop_a_move():
    maze = Maze("S#G")
    assert maze.reset()[0] == 0
    for action in range(4):
        assert maze.step(action) == (0, 0.0, False, False, {})
    maze = Maze("SG")
    maze.reset()
    assert maze.step(1) == (1, 1.0, True, False, {})
