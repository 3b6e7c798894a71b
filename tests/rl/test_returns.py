"""n-step targets against a brute-force walk along each episode."""

import numpy as np
import pytest

from course_lib.rl.returns import discounted_return, n_step_target


def rollout(rng, length=40, envs=3):
    """Random rewards and ends, with a reset row after every end, as NEXT_STEP delivers them."""
    rewards = rng.normal(size=(length, envs)).astype(np.float32)
    terminated, truncated = np.zeros((2, length, envs), bool)
    valid = np.ones((length, envs), bool)
    for i in range(envs):
        for t in range(length):
            if t and (terminated | truncated)[t - 1, i]:
                valid[t, i] = False
                rewards[t, i] = 99.0  # would show up in any sum that reaches into a reset row
                continue
            draw = rng.random()
            terminated[t, i] = draw < 0.1
            truncated[t, i] = 0.05 < draw < 0.2  # both at once also occurs
    return rewards, terminated, truncated, valid


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("seed", range(5))
def test_against_brute_force(n, seed):
    gamma = 0.9
    rewards, terminated, truncated, valid = rollout(np.random.default_rng(seed))
    for t, i in np.argwhere(valid):
        window = (slice(t, t + n), i)
        total, steps, ended = n_step_target(
            rewards[window], terminated[window], truncated[window], gamma
        )
        expected, k = 0.0, 0
        while True:
            row = t + k
            expected += gamma**k * rewards[row, i]
            k += 1
            if terminated[row, i] or truncated[row, i] or k == n or row + 1 == len(rewards):
                break
        assert total == pytest.approx(expected, abs=1e-5)
        assert (steps, ended) == (k, terminated[t + k - 1, i])


def test_by_hand():
    rewards, terminated, truncated = [1, 2, 4], [False] * 3, [False] * 3
    assert n_step_target(rewards, terminated, truncated, 0.5) == (3.0, 3, False)
    assert n_step_target(rewards, [False, True, False], truncated, 0.5) == (2.0, 2, True)
    # A truncated window stops, too, and bootstraps from the true final observation.
    assert n_step_target(rewards, terminated, [False, True, False], 0.5) == (2.0, 2, False)
    assert n_step_target(rewards, [True, False, False], [True, False, False], 0.5) == (1, 1, True)


def test_sums_keep_the_precision_of_the_rewards():
    rewards = np.array([0.01, 0.01, 0.01], np.float32)
    total, _, _ = n_step_target(rewards, [False] * 3, [False] * 3, np.float32(0.99))
    assert total.dtype == np.float32


def test_the_discounted_return_by_hand():
    assert discounted_return([1.0, 2.0, 4.0], 0.5) == 3.0
    assert discounted_return([], 0.9) == 0.0
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got 1\.2"):
        discounted_return([1.0], 1.2)
