"""n-step targets against a brute-force walk along each episode."""

import numpy as np
import pytest

from course_lib.rl.returns import discounted_return, n_step_target, n_step_targets


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
    result = n_step_targets(rewards, terminated, truncated, valid, gamma, n)
    for t in range(len(rewards)):
        for i in range(rewards.shape[1]):
            if not valid[t, i]:
                assert result.rewards[t, i] == 0 and result.discounts[t, i] == 1
                assert not result.terminated[t, i]
                continue
            total, k = 0.0, 0
            while True:
                row = t + k
                total += gamma**k * rewards[row, i]
                k += 1
                if terminated[row, i] or truncated[row, i] or k == n or row + 1 == len(rewards):
                    break
            assert result.rewards[t, i] == pytest.approx(total, abs=1e-5)
            assert result.discounts[t, i] == pytest.approx(gamma**k, abs=1e-6)
            assert result.last[t, i] == t + k - 1
            assert result.terminated[t, i] == terminated[t + k - 1, i]


def column(*values, dtype=float):
    return np.array(values, dtype)[:, None]


def test_by_hand():
    rewards = column(1, 2, 4, 0, 8)
    terminated = column(0, 0, 0, 0, 1, dtype=bool)
    truncated = column(0, 0, 1, 0, 0, dtype=bool)
    valid = column(1, 1, 1, 0, 1, dtype=bool)
    result = n_step_targets(rewards, terminated, truncated, valid, 0.5, 2)
    assert result.rewards.ravel().tolist() == [1 + 1, 2 + 2, 4, 0, 8]
    assert result.discounts.ravel().tolist() == [0.25, 0.25, 0.5, 1, 0.5]
    assert result.terminated.ravel().tolist() == [False, False, False, False, True]
    # The truncated windows bootstrap from the successor of row 2: the true final observation.
    assert result.last.ravel()[[0, 1, 2, 4]].tolist() == [1, 2, 2, 4]


def test_inputs_stay_as_they_were():
    data = rollout(np.random.default_rng(0))
    kept = [x.copy() for x in data]
    n_step_targets(*data, 0.9, 3)
    assert all(np.array_equal(x, y) for x, y in zip(data, kept, strict=True))


def test_wrong_arguments_get_a_sentence():
    data = rollout(np.random.default_rng(0))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        n_step_targets(*data, 0.9, 0)
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got 1.2"):
        n_step_targets(*data, 1.2, 1)
    with pytest.raises(ValueError, match="must have one shape"):
        n_step_targets(data[0][:-1], *data[1:], 0.9, 1)


@pytest.mark.parametrize("seed", range(5))
def test_one_window_agrees_with_all_windows_at_once(seed):
    gamma, n = 0.9, 4
    rng = np.random.default_rng(seed)
    rewards, terminated, truncated, valid = rollout(rng)
    values = rng.normal(size=rewards.shape)  # of the state that each row led to
    all_at_once = n_step_targets(rewards, terminated, truncated, valid, gamma, n)
    for t, i in np.argwhere(valid):
        window = (slice(t, t + n), i)
        one = n_step_target(
            rewards[window], terminated[window], truncated[window], values[window], gamma
        )
        future = (1 - all_at_once.terminated[t, i]) * values[all_at_once.last[t, i], i]
        expected = all_at_once.rewards[t, i] + all_at_once.discounts[t, i] * future
        assert one == pytest.approx(expected, abs=1e-5)


def test_the_discounted_return_by_hand():
    assert discounted_return([1.0, 2.0, 4.0], 0.5) == 3.0
    assert discounted_return([], 0.9) == 0.0
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got 1\.2"):
        discounted_return([1.0], 1.2)
