"""Regret of the three ways to explore, against what can be counted by hand."""

import numpy as np
import pytest

from course_lib.lessons.q_learning import bandit

PAYS = [0.2, 0.5, 0.9]
RULES = {
    "epsilon-greedy": bandit.epsilon_greedy(0.1),
    "UCB": bandit.ucb(2**0.5),
    "Thompson": bandit.thompson,
}


def test_regret_is_what_the_best_action_would_have_paid_more():
    always = bandit.regret(lambda wins, counts, rng: np.full(len(wins), 1), PAYS, 10, 4)
    assert always.shape == (4, 10)
    first = [0.7, 0.4, 0.0]  # every action once, then the middle one for ever
    assert np.allclose(always, np.cumsum([*first, *[0.4] * 7]))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_learns_and_a_seed_repeats_it(name):
    lost = bandit.regret(RULES[name], PAYS, 600, 50)
    assert (lost == bandit.regret(RULES[name], PAYS, 600, 50)).all()
    early, late = lost[:, 99], lost[:, -1] - lost[:, -101]
    assert late.mean() < early.mean() / 2  # in a hundred pulls


def test_a_constant_epsilon_loses_in_proportion_to_the_pulls():
    explorer = bandit.regret(bandit.epsilon_greedy(1.0), PAYS, 3000, 20)
    slope = np.mean(0.9 - np.array(PAYS))  # any action, all alike
    assert explorer[:, -1].mean() / 3000 == pytest.approx(slope, rel=0.02)


def test_upper_bounds_by_hand():
    wins, counts = np.array([[6.0, 1.0]]), np.array([[10.0, 2.0]])
    rng = np.random.default_rng(0)
    # 0.6 against 0.5, and the bonus of the second is sqrt(5) times that of the first
    assert bandit.ucb(0.0)(wins, counts, rng) == [0]
    assert bandit.ucb(1.0)(wins, counts, rng) == [1]


def test_thompson_draws_from_the_posterior():
    many = 20_000
    wins, counts = np.tile([3.0, 1.0], (many, 1)), np.tile([4.0, 2.0], (many, 1))
    first = bandit.thompson(wins, counts, np.random.default_rng(0)) == 0
    rng = np.random.default_rng(1)
    expected = (rng.beta(4, 2, many) > rng.beta(2, 2, many)).mean()
    assert first.mean() == pytest.approx(expected, abs=0.02)
