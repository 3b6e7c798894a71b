"""Bandits against values worked out by hand, and against the promise of UCB1."""

import numpy as np
import pytest

from course_lib.rl import bandits


def test_the_running_mean_is_the_mean():
    rewards = [1.0, 0.0, 1.0, 1.0]
    mean = 0.0
    for count, reward in enumerate(rewards, 1):
        mean = bandits.updated_mean(mean, count, reward)
    assert mean == pytest.approx(0.75)


def test_the_bonus_shrinks_with_pulls_and_starts_infinite():
    bonus = bandits.confidence_bonus(np.array([0, 1, 4]), 10, 1.0)
    assert bonus[0] == np.inf and bonus[1] == pytest.approx(2 * bonus[2])


def test_regret_by_hand():
    assert bandits.regret(np.array([0.5, 0.2]), np.array([7, 10])) == pytest.approx(3.0)


def test_it_finds_the_best_arm_and_greed_does_not_always():
    chances = np.array([0.2, 0.5, 0.8])
    ends = {
        width: [list(bandits.train(chances, bandits.Config(width=width), s))[-1] for s in range(20)]
        for width in (0.0, 1.0)
    }
    assert all(end["reward"] > 0.7 for end in ends[1.0])
    assert min(end["reward"] for end in ends[0.0]) < 0.6


def test_a_negative_width_is_a_sentence():
    with pytest.raises(ValueError, match="width must not be negative, got -1"):
        bandits.Config(width=-1)
