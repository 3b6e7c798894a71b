"""Running statistics: any split into batches gives the same; resets enter none of them."""

import json

import numpy as np
import pytest

from course_lib.rl.normalize import ObsNormalizer, RewardScaler, RunningMoments


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
def test_any_split_equals_all_at_once(seed, shape):
    rng = np.random.default_rng(seed)
    rows = rng.normal(5.0, 3.0, size=(60, *shape)) * rng.choice([1, 100])
    cuts = np.sort(rng.integers(0, 61, size=rng.integers(0, 12)))  # empty parts occur
    moments = RunningMoments(shape)
    for part in np.split(rows, cuts):
        moments.update(part)
    assert moments.count == 60
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.var, rows.var(axis=0), rtol=1e-10)
    assert moments.mean.shape == moments.var.shape == shape


def test_one_row_at_a_time():
    moments = RunningMoments()
    for x in (1.0, 2.0, 4.0, 9.0):
        moments.update(np.array([x]))
    assert moments.mean == pytest.approx(4.0)
    assert moments.var == pytest.approx((9 + 4 + 0 + 25) / 4)


def test_a_large_offset_does_not_drown_the_variance():
    """The mean of squares minus the squared mean would lose all digits here."""
    rng = np.random.default_rng(0)
    rows = 1e8 + rng.normal(size=1000)
    moments = RunningMoments()
    for part in np.split(rows, 50):
        moments.update(part)
    np.testing.assert_allclose(moments.var, rows.var(), rtol=1e-6)


def test_float32_rows_are_summed_in_double_precision():
    rows = np.full((100_000, 1), 0.1, np.float32)
    moments = RunningMoments((1,))
    moments.update(rows)
    assert moments.mean[0] == pytest.approx(float(np.float32(0.1)), rel=1e-12)
    assert moments.var[0] == pytest.approx(0, abs=1e-15)


def test_observations_come_out_with_mean_0_and_spread_1():
    rows = np.random.default_rng(0).normal([3.0, -50.0], [0.01, 20.0], size=(500, 2))
    normalizer = ObsNormalizer((2,))
    np.testing.assert_allclose(normalizer(rows[:1]), np.clip(rows[:1], -10, 10), rtol=1e-6)
    normalizer.update(rows)
    out = normalizer(rows)
    assert out.dtype == np.float32 and out.shape == rows.shape
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=0), 1, atol=1e-3)
    far = normalizer(np.array([[1e9, -1e9]]))
    assert far.tolist() == [[10.0, -10.0]]


def test_to_normalise_does_not_change_the_statistics():
    normalizer = ObsNormalizer((1,))
    normalizer.update(np.array([[1.0], [3.0]]))
    before = {k: v.copy() for k, v in normalizer.state().items()}
    normalizer(np.array([[100.0]]))
    assert all(np.array_equal(before[k], v) for k, v in normalizer.state().items())


def steps(rng, length=300, envs=3):
    """Rewards, ends and valid rows as the environments deliver them."""
    ended = np.zeros(envs, bool)
    for _ in range(length):
        valid = ~ended
        rewards = np.where(valid, rng.normal(1.0, 2.0, size=envs), 0.0).astype(np.float32)
        ended = valid & (rng.random(envs) < 0.1)
        yield rewards, ended, valid


@pytest.mark.parametrize("seed", range(3))
def test_reward_scaler_against_a_slow_loop(seed):
    gamma = 0.9
    scaler = RewardScaler(3, gamma)
    seen, running = [], [0.0] * 3
    for rewards, ended, valid in steps(np.random.default_rng(seed)):
        scaled = scaler(rewards, ended, valid)
        for i in range(3):
            if valid[i]:
                running[i] = gamma * running[i] + float(rewards[i])
                seen.append(running[i])
            if ended[i]:
                running[i] = 0.0
        expected = np.clip(rewards / np.sqrt(np.var(seen) + 1e-8), -10, 10)
        assert scaled.dtype == np.float32
        np.testing.assert_allclose(scaled, expected, rtol=1e-5)
        assert not scaled[~valid].any()
    assert scaler.moments.count == len(seen) < 900


def test_a_reset_row_enters_no_statistic_even_if_it_carries_a_reward():
    a, b = RewardScaler(3, 0.9), RewardScaler(3, 0.9)
    for rewards, ended, valid in steps(np.random.default_rng(0)):
        clean = a(rewards, ended, valid)
        dirty = b(np.where(valid, rewards, 1e6), ended, valid)
        assert np.array_equal(clean[valid], dirty[valid])
    for name, value in a.state().items():
        assert np.array_equal(value, b.state()[name]), name


def test_rewards_are_scaled_and_not_shifted():
    scaler = RewardScaler(2, 0.99)
    for rewards, ended, valid in steps(np.random.default_rng(1), envs=2):
        scaled = scaler(rewards, ended, valid)
        assert (np.sign(scaled) == np.sign(rewards)).all()


@pytest.mark.parametrize("make", [lambda: ObsNormalizer((2,)), lambda: RewardScaler(2, 0.9)])
def test_state_brings_it_back(make):
    rng = np.random.default_rng(0)

    def feed(thing, rows):
        for row in rows:
            if isinstance(thing, RewardScaler):
                thing(row, row > 1.0, np.ones(2, bool))
            else:
                thing.update(row[None])

    thing, other = make(), make()
    first, second = rng.normal(size=(2, 20, 2))
    feed(thing, first)
    kept = {k: v.tolist() for k, v in thing.state().items()}
    other.load_state({k: np.array(v) for k, v in json.loads(json.dumps(kept)).items()})
    feed(thing, second)
    feed(other, second)
    for name, value in thing.state().items():
        assert np.array_equal(value, other.state()[name]), name
