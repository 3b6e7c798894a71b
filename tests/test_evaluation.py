"""Statistics against hand-worked values; episodes against environments with known returns."""

import numpy as np
import pytest
import scipy.stats

from course_lib.evaluation import (
    bootstrap_interval,
    claim,
    committed_result,
    evaluate,
    iqm,
    over_seeds,
    success_rate,
    t_interval,
)
from course_lib.rl.envs import Step


class Countdown:
    """Environment i ends after `lengths[i]` steps; each step pays 1; a reset row follows an end."""

    def __init__(self, lengths):
        self.lengths = np.array(lengths)
        self.num_envs = len(lengths)

    def reset(self):
        self.left = self.lengths.copy()
        self.fresh = np.zeros(self.num_envs, bool)
        return self.left[:, None].astype(float)

    def step(self, actions):
        valid = ~self.fresh
        self.left = np.where(valid, self.left - 1, self.lengths)
        ended = valid & (self.left == 0)
        self.fresh = ended
        # The reset row pays nothing in a real environment; 99 here would expose a missing mask.
        rewards = np.where(valid, 1.0, 99.0)
        nothing = np.zeros(self.num_envs, bool)
        return Step(self.left[:, None].astype(float), rewards, ended, nothing, valid)


def test_each_environment_plays_the_same_number_of_whole_episodes():
    returns = evaluate(lambda obs: np.zeros(len(obs), int), Countdown([2, 5]), episodes=5)
    assert sorted(returns) == [2, 2, 2, 5, 5, 5]


def test_evaluate_refuses_no_episodes():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        evaluate(lambda obs: obs, Countdown([2]), 0)


def test_iqm_is_the_mean_of_the_middle_half():
    assert iqm([100.0, 1.0, 2.0, -50.0]) == 1.5
    assert iqm(np.arange(8.0)) == 3.5
    with pytest.raises(ValueError, match="at least one value"):
        iqm([])


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        low, high = bootstrap_interval(rng.normal(3, 1, 30), np.mean, resamples=500, seed=seed)
        covered += low <= 3 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_the_bootstrap_interval_of_one_run_is_unknown():
    assert np.isnan(bootstrap_interval([1.0])).all()


def test_success_rate_counts_reaching_the_goal():
    assert success_rate(np.array([1.0, 2.0, 3.0, 2.0]), 2.0) == 0.75
    with pytest.raises(ValueError, match="at least one episode"):
        success_rate(np.array([]), 1.0)


def test_a_claim_prints_what_was_measured_and_fails_when_false(capsys):
    claim("It learns", 480.125, ">=", 475)
    assert capsys.readouterr().out == "✓ It learns: 480 (at least 475)\n"
    with pytest.raises(AssertionError, match="It learns: this run gives 12, not at least 475"):
        claim("It learns", 12.0, ">=", 475)
    with pytest.raises(ValueError, match="comparison must be one of"):
        claim("It learns", 1.0, "=>", 0)


def test_a_missing_result_names_those_that_are_there():
    with pytest.raises(FileNotFoundError, match="no committed result named 'nothing'"):
        committed_result("nothing")


def test_the_t_interval_is_scipys_and_covers_what_it_says():
    values = [1.0, 2.0, 4.0, 3.0, 5.5]
    mean, low, high = t_interval(values)
    expected = scipy.stats.ttest_1samp(values, 0.0).confidence_interval()
    np.testing.assert_allclose([mean, low, high], [np.mean(values), *expected])
    draws = np.random.default_rng(0).normal(size=(5, 4000))
    _, low, high = t_interval(draws)
    assert 0.94 < np.mean((low <= 0) & (high >= 0)) < 0.96
    assert np.isnan(t_interval([3.0])[1])


def test_a_mean_over_seeds_stands_with_its_interval():
    assert over_seeds([1.0, 2.0, 3.0]) == "2 [-0.484, 4.48]"
    assert over_seeds([1.0, 2.0, 3.0], ".1f", within=(0, 1)) == "2.0 [0.0, 1.0]"
    assert over_seeds([2.5]) == "2.5", "one seed has no spread"
