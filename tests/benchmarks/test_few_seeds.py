"""Verdicts on few seeds: a difference is clear where its t interval excludes 0."""

import numpy as np
import pytest

from benchmarks.alignment import alignment_cures
from benchmarks.harness import SHARE, iqm_over_seeds, mean_over_seeds
from benchmarks.rlhf_ppo import rlhf_details
from benchmarks.transformer_world_model import dream_failures
from benchmarks.world_models import dyna, model_error
from course_lib.evaluation import bootstrap_interval, iqm, t_interval

HURT = [-1.1, -0.8, -0.9, 0.05, 0.0]  # a bootstrap calls it clear, a t interval does not


def test_the_mean_stands_with_its_t_interval():
    assert mean_over_seeds([1.0, 2.0, 3.0]) == "2.00 [-0.48, 4.48]"
    assert mean_over_seeds([1.0, 2.0, 3.0], "+.1f") == "+2.0 [-0.5, +4.5]"


def test_an_interval_of_shares_ends_where_shares_do():
    assert mean_over_seeds([0.9, 1.0, 1.0], within=SHARE) == "0.97 [0.82, 1.00]"
    assert mean_over_seeds([0.0, 0.0, 0.1], within=SHARE) == "0.03 [0.00, 0.18]"


def test_the_iqm_stands_with_its_bootstrap_interval():
    values = [9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 1.0]  # an outlier that the IQM ignores
    assert iqm_over_seeds(values, ".1f") == "9.0 [7.0, 9.0]"


def test_the_bootstrap_of_the_iqm_of_five_covers_about_90_percent():
    def middle(five):  # the same as `iqm`, but fast
        return np.sort(five)[1:-1].mean()

    draws = np.random.default_rng(0).normal(size=(300, 5))
    assert middle(draws[0]) == pytest.approx(iqm(draws[0]))
    ends = np.array([bootstrap_interval(x, middle, resamples=200) for x in draws])
    assert 0.86 < ((ends[:, 0] < 0) & (ends[:, 1] > 0)).mean() < 0.94


def test_the_two_intervals_differ_where_it_matters():
    assert bootstrap_interval(HURT)[1] < 0 < t_interval(HURT)[2]


@pytest.mark.parametrize(
    ("change", "verdict"), [(HURT, "no clear difference"), ([-1.1, -0.8, -0.9, -1, -1], "worse")]
)
def test_a_detail_of_rlhf_is_worse_only_where_the_t_interval_says_so(change, verdict):
    def run(variant, seed, true):
        rest = dict.fromkeys(rlhf_details.NAMED, 0.5)
        return {"variant": variant, "seed": seed, "true": true, **rest}

    runs = [run(rlhf_details.RECIPE, seed, 2.0 + seed) for seed in range(5)]
    runs += [run("no whitening", seed, 2.0 + seed + x) for seed, x in enumerate(change)]
    _, goal = rlhf_details.judge({"runs": runs})
    assert f": {verdict};" in goal.measured


def test_a_cure_counts_only_where_the_t_interval_of_its_gain_is_above_0():
    none = {"arm": alignment_cures.NONE, "true": 1.0}
    arms = [("KL penalty 0.05", 0.1 * np.arange(5) + 1), ("KL penalty 0.2", -np.array(HURT))]
    keys = ("true", "proxy", "second", "kl")
    runs = [none | {key: [1.0] * 20 for key in keys} for _ in range(5)]
    runs += [
        {"arm": arm, **{key: [1.0 + gain] * 20 for key in keys}}
        for arm, all_ in arms
        for gain in all_
    ]
    *_, last = alignment_cures.judge({"runs": runs})
    assert last.measured.endswith("KL penalty 0.05")


def test_a_policy_from_a_worse_dream_is_worse_only_where_the_t_interval_says_so():
    def run(case, change):
        return {"case": case, **dict.fromkeys(dream_failures.NAMED, 0.5), "real_return": 5 + change}

    for changes, verdict in ((HURT, "no clear difference"), ([-1.1, -0.8, -0.9, -1, -1], "worse")):
        cases = ((dream_failures.RECIPE, [0.0] * 5), (dream_failures.BLIND, changes))
        runs = [run(case, x) | {"seed": k} for case, xs in cases for k, x in enumerate(xs)]
        assert f": {verdict};" in dream_failures.judge({"runs": runs})[1].measured


def test_planning_counts_as_fewer_steps_only_where_the_t_intervals_lie_apart():
    def judged(spread):
        runs = [
            {"task": "maze", "planning_steps": n, "steps": 100 + x, "first_goal": 100}
            | {"episodes": 1, "solved": True}
            for n, middle in ((0, 300), (5, 200), (50, 100))
            for x in (middle - spread, middle, middle + spread)
        ]
        return dyna.judge({"runs": runs})[0].met

    # With three seeds the half-width is 2.48 times the spread, and that of a bootstrap less than 1.
    assert judged(15)
    assert not judged(30)


def test_an_error_is_never_below_0_and_a_change_may_be():
    values = [0.0, 0.0, 0.1]
    assert model_error._words(values, model_error.ERROR).startswith("0.0333 [0, ")
    assert model_error._words(values).startswith("0.0333 [-0.11, ")
