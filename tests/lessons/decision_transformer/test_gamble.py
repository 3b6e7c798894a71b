"""The two doors of lesson 13, counted out by hand and by endless games."""

import numpy as np
import pytest

from course_lib.lessons.decision_transformer import gamble


def test_a_door_for_each_return_and_what_it_earns():
    found = gamble.conditioned()
    assert found[10.0] == pytest.approx({"safe": 0.0, "risky": 1.0, "earns": 1.0})
    assert found[5.0] == pytest.approx({"safe": 1.0, "risky": 0.0, "earns": 5.0})
    assert found[0.0] == pytest.approx({"safe": 0.0, "risky": 1.0, "earns": 1.0})
    assert list(found) == [0.0, 5.0, 10.0]


def test_what_no_door_pays_is_answered_by_the_habit():
    found = gamble.conditioned(asked=(7.0,), prior=(0.8, 0.2))
    assert found[7.0] == pytest.approx({"safe": 0.8, "risky": 0.2, "earns": 4.2})


def test_where_both_doors_may_pay_it_counts_as_games_do():
    doors = {"safe": {5.0: 0.5, 4.0: 0.5}, "risky": {5.0: 0.1, 0.0: 0.9}}
    rng = np.random.default_rng(0)
    door = rng.random(200_000) < 0.3  # True: the risky one
    five = rng.random(200_000) < np.where(door, 0.1, 0.5)
    chances = gamble.choice(5.0, (0.7, 0.3), doors)
    assert chances[1] == pytest.approx(door[five].mean(), abs=0.004)
    assert gamble.worth(doors) == pytest.approx([4.5, 0.5])


def test_a_mean_over_many_games_is_what_it_earns():
    rng = np.random.default_rng(1)
    pays = np.where(rng.random(200_000) < 0.1, 10.0, 0.0)
    earns = gamble.conditioned()[10.0]["earns"]
    assert pays.mean() == pytest.approx(earns, abs=5 * pays.std() / 200_000**0.5)
