"""Verdicts on few seeds: a difference is clear where its t interval excludes 0."""

import numpy as np
import pytest

from benchmarks.alignment import alignment_cures
from benchmarks.harness import SHARE, mean_over_seeds
from benchmarks.rlhf_ppo import rlhf_details
from course_lib.evaluation import bootstrap_interval, t_interval

HURT = [-1.1, -0.8, -0.9, 0.05, 0.0]  # a bootstrap calls it clear, a t interval does not


def test_the_mean_stands_with_its_t_interval():
    assert mean_over_seeds([1.0, 2.0, 3.0]) == "2.00 [-0.48, 4.48]"
    assert mean_over_seeds([1.0, 2.0, 3.0], "+.1f") == "+2.0 [-0.5, +4.5]"


def test_an_interval_of_shares_ends_where_shares_do():
    assert mean_over_seeds([0.9, 1.0, 1.0], within=SHARE) == "0.97 [0.82, 1.00]"
    assert mean_over_seeds([0.0, 0.0, 0.1], within=SHARE) == "0.03 [0.00, 0.18]"


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
