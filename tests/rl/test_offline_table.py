"""Tables out of a record: counts and values by hand, an independent solver, Bayes' rule."""

import numpy as np
import pytest

from course_lib.rl import offline_table as tables
from course_lib.rl.dataset import Dataset
from course_lib.rl.q_learning import epsilon_greedy
from course_lib.worlds.crossing import recorded

NONE = -np.inf


def walks(*episodes, states=3, truncated=()):
    """Episodes as lists of (state, action, reward); two actions."""
    rows = [row for episode in episodes for row in episode]
    state, action, reward = map(np.array, zip(*rows, strict=True))
    ends = np.cumsum([len(episode) for episode in episodes]) - 1
    ended = np.isin(np.arange(len(rows)), ends)
    cut = np.isin(np.arange(len(rows)), ends[list(truncated)])
    frames = np.eye(states, dtype=np.float32)[state]
    return Dataset(frames, action, reward, ended & ~cut, cut, (states,), 2)


# State 0 leads to 1 by action 0; in state 1 action 0 ends with 1 or 3, action 1 with 8.
RECORD = walks(
    [(0, 0, 0.0), (1, 0, 1.0)],
    [(0, 0, 0.0), (1, 0, 3.0)],
    [(0, 1, 5.0)],
    [(1, 1, 8.0)],
)


def test_cloning_counts():
    expected = [[2 / 3, 1 / 3], [2 / 3, 1 / 3], [0.5, 0.5]]  # state 2 never occurs
    np.testing.assert_allclose(tables.cloned_policy(RECORD), expected)


def test_the_largest_return_of_each_state_chooses():
    # From state 0 the largest return is 5, not the 8 that the other walk found beyond.
    np.testing.assert_allclose(tables.return_policy(RECORD), [[0, 1], [0, 1], [0.5, 0.5]])
    tied = walks([(0, 0, 2.0)], [(0, 1, 2.0)], [(0, 1, 2.0)], [(0, 1, 1.0)])
    np.testing.assert_allclose(tables.return_policy(tied)[0], [1 / 3, 2 / 3])


def test_a_lucky_row_outvotes_all_others_but_does_not_change_a_value():
    lottery = walks([(0, 0, 5.0)], *[[(0, 1, 0.0)]] * 9, [(0, 1, 10.0)])
    np.testing.assert_allclose(tables.return_policy(lottery)[0], [0, 1])
    np.testing.assert_allclose(tables.dynamic_programming(lottery, 0.9)[0], [5, 1])


def test_values_by_hand_where_walks_can_be_joined():
    best = tables.dynamic_programming(RECORD, 0.5)
    np.testing.assert_allclose(best, [[0.5 * 8, 5], [2, 8], [NONE, NONE]])
    own = tables.one_step(RECORD, 0.5)
    np.testing.assert_allclose(own, [[0.5 * (2 * 2 + 8) / 3, 5], [2, 8], [NONE, NONE]])
    joined = tables.dynamic_programming(RECORD, 0.9)
    assert joined[0].argmax() == 0 and tables.one_step(RECORD, 0.9)[0].argmax() == 1


def test_unseen_actions_count_for_nothing_even_where_all_else_is_a_loss():
    losses = walks([(0, 0, -1.0), (1, 0, -2.0)])
    expected = [[-2, NONE], [-2, NONE], [NONE, NONE]]
    np.testing.assert_allclose(tables.dynamic_programming(losses, 0.5), expected)
    np.testing.assert_allclose(tables.one_step(losses, 0.5), expected)


def test_chance_in_the_record_is_averaged():
    # Action 0 in state 0 led once to state 1 (worth 4), once to the end, and paid 1 each time.
    data = walks([(0, 0, 1.0), (1, 0, 4.0)], [(0, 0, 1.0)])
    assert tables.dynamic_programming(data, 0.5)[0, 0] == pytest.approx(1 + 0.5 * 4 / 2)


def test_a_loop_is_worth_the_whole_series():
    data = walks([(0, 0, 1.0)] * 3, truncated=[0])  # stays in state 0 until the clock cuts
    assert tables.dynamic_programming(data, 0.9)[0, 0] == pytest.approx(1 / (1 - 0.9))


def test_what_the_clock_cut_off_is_left_out():
    data = walks([(0, 0, 0.0), (1, 0, 100.0)], [(0, 1, 1.0)], truncated=[0])
    expected = [[0, 1], [NONE, NONE], [NONE, NONE]]  # the 100 has no known future: not used
    np.testing.assert_allclose(tables.dynamic_programming(data, 0.5), expected)
    np.testing.assert_allclose(tables.one_step(data, 0.5), expected)


def test_values_of_the_maze_agree_with_linear_algebra():
    data, gamma = recorded(seed=4), 0.9
    states = data.obs(np.arange(len(data))).numpy().argmax(1)
    size = data.obs_shape[0], data.num_actions
    policy = tables.cloned_policy(data)
    # One unknown for each pair: Q = r + gamma * (shares of the next pairs) Q, solved at once.
    pairs = sorted(set(zip(states.tolist(), data.actions.tolist(), strict=True)))
    matrix, rewards = np.eye(len(pairs)), np.zeros(len(pairs))
    for i, (state, action) in enumerate(pairs):
        rows = np.flatnonzero((states == state) & (data.actions == action))
        rewards[i] = data.rewards[rows].mean()
        for row in rows[~data.terminated[rows]]:
            for j, (next_state, next_action) in enumerate(pairs):
                if next_state == states[row + 1]:
                    matrix[i, j] -= gamma * policy[next_state, next_action] / len(rows)
    solved = np.full(size, NONE)
    solved[tuple(np.transpose(pairs))] = np.linalg.solve(matrix, rewards)
    np.testing.assert_allclose(tables.one_step(data, gamma), solved, atol=1e-8)
    best = tables.dynamic_programming(data, gamma)
    seen = np.isfinite(solved)
    assert (best[seen] >= solved[seen] - 1e-8).all(), "the best is no worse than the recorded"


@pytest.mark.parametrize(
    ("likelihood", "expected"),
    [
        ([1.0, 0.0], [1.0, 0.0]),  # only the safe action pays 5
        ([0.0, 0.1], [0.0, 1.0]),  # only the gamble ever pays 10, however seldom
        ([0.5, 0.1], [0.9375, 0.0625]),  # 0.375 against 0.025
        ([0.0, 0.0], [0.75, 0.25]),  # nothing pays 7: the prior
        ([0.3, 0.3], [0.75, 0.25]),  # a return that tells nothing
    ],
)
def test_action_given_return_is_bayes_rule(likelihood, expected):
    posterior = tables.action_given_return(np.array([0.75, 0.25]), np.array(likelihood))
    np.testing.assert_allclose(posterior, expected)


def test_action_given_return_agrees_with_counting():
    rng = np.random.default_rng(0)
    prior, chance = np.array([0.2, 0.5, 0.3]), np.array([0.7, 0.1, 0.4])
    actions = rng.choice(3, size=200_000, p=prior)
    reached = actions[rng.random(200_000) < chance[actions]]
    counted = np.bincount(reached, minlength=3) / len(reached)
    np.testing.assert_allclose(tables.action_given_return(prior, chance), counted, atol=0.01)


def test_a_player_draws_from_its_policy():
    policy = np.array([[0.0, 1.0, 0.0], [0.2, 0.0, 0.8]])
    obs = np.eye(2, dtype=np.uint8)[np.repeat([0, 1], [100, 20_000])]
    actions = tables.player(policy, seed=1)(obs)
    assert (actions[:100] == 1).all()
    assert np.bincount(actions[100:], minlength=3) / 20_000 == pytest.approx(
        [0.2, 0, 0.8], abs=0.02
    )
    assert (tables.player(policy, seed=1)(obs) == actions).all()
    assert (tables.player(policy, seed=2)(obs) != actions).any()


def test_values_make_a_policy():
    policy = epsilon_greedy(tables.dynamic_programming(RECORD, 0.9), 0)
    assert policy.tolist() == [[1, 0], [0, 1], [0.5, 0.5]]


def test_what_no_table_can_hold_is_refused():
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\)"):
        tables.dynamic_programming(RECORD, 1.0)
    frames = np.full((1, 3), 0.5)
    pixels = Dataset(frames, [0], [0.0], [True], [False], (3,), 2)
    with pytest.raises(ValueError, match="one-hot"):
        tables.cloned_policy(pixels)
