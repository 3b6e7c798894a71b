import math

import numpy as np

from course_lib.rl.episodes import EpisodeReturns


def test_returns_of_episodes_that_end_at_different_times():
    episodes = EpisodeReturns(num_envs=2)
    assert math.isnan(episodes.mean)
    episodes.add(np.array([1.0, 2.0]), np.array([False, False]))
    episodes.add(np.array([3.0, 4.0]), np.array([True, False]))
    episodes.add(np.array([0.0, 5.0]), np.array([False, True]))
    episodes.add(np.array([7.0, 0.0]), np.array([True, False]))
    assert list(episodes.finished) == [4.0, 11.0, 7.0]
    assert episodes.running.tolist() == [0.0, 0.0]
    assert episodes.mean == 22 / 3


def test_only_the_last_ones_are_kept_and_one_environment_may_give_plain_numbers():
    last, all_of_them = EpisodeReturns(keep=2), EpisodeReturns(keep=None)
    for episodes in (last, all_of_them):
        for reward in (1.0, 2.0, 3.0):
            episodes.add(reward, False)
            episodes.add(reward, True)
    assert list(last.finished) == [4.0, 6.0]
    assert list(all_of_them.finished) == [2.0, 4.0, 6.0]
