"""Tabular methods against values worked out by hand, exact linear algebra and each other."""

import gymnasium
import numpy as np
import pytest

from course_lib.classroom import use
from course_lib.rl import q_learning as ql


def corridor(length=4):
    """States 0..length-1; right pays 1 and ends at the last state, left stays. Start at 0."""
    transitions = np.zeros((length, 2, length))
    rewards = np.zeros((length, 2))
    for state in range(length):
        transitions[state, 0, state] = 1.0
        if state + 1 < length:
            transitions[state, 1, state + 1] = 1.0
        else:
            rewards[state, 1] = 1.0  # ends: no row to go to
    return ql.Model(transitions, rewards, np.eye(length)[0])


class Clocked(gymnasium.Env):
    """One state, one action, reward 1; `terminated` or `truncated` ends it at each step."""

    observation_space = gymnasium.spaces.Discrete(1)
    action_space = gymnasium.spaces.Discrete(1)

    def __init__(self, terminated, truncated):
        self.ending = terminated, truncated

    def reset(self, *, seed=None, options=None):
        return 0, {}

    def step(self, action):
        return 0, 1.0, *self.ending, {}


def train(algorithm, q, env, seed=0, **settings):
    return list(algorithm(q, env, ql.Config(**settings), seed))


# --- the pure functions --------------------------------------------------------------------------


def test_a_bellman_backup_by_hand():
    transitions = np.array([[[0.5, 0.5], [0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
    rewards = np.array([[1.0, 2.0], [0.0, -1.0]])
    q = ql.bellman_backup(transitions, rewards, np.array([10.0, 20.0]), 0.5)
    np.testing.assert_allclose(q, [[1 + 0.5 * 15, 2.0], [10.0, -1 + 5.0]])


def test_epsilon_greedy_shares_what_is_best_and_explores_all():
    np.testing.assert_allclose(
        ql.epsilon_greedy(np.array([1.0, 3.0, 2.0, 0.0]), 0.2), [0.05, 0.85, 0.05, 0.05]
    )
    np.testing.assert_allclose(ql.epsilon_greedy(np.array([2.0, 2.0, 0.0]), 0.0), [0.5, 0.5, 0.0])
    np.testing.assert_allclose(ql.epsilon_greedy(np.zeros(4), 0.1), 0.25)
    table = ql.epsilon_greedy(np.random.default_rng(0).normal(size=(7, 3)), 0.3)
    assert table.shape == (7, 3)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    assert table.min() == pytest.approx(0.1)


def test_the_targets_by_hand():
    row = np.array([1.0, 5.0, 3.0])
    assert ql.q_learning_target(2.0, False, row, 2, 0.5) == 2 + 0.5 * 5
    assert ql.sarsa_target(2.0, False, row, 2, 0.5) == 2 + 0.5 * 3
    assert ql.double_q_target(2.0, False, row, np.array([9.0, 4.0, 9.0]), 0.5) == 2 + 0.5 * 4
    for target in (ql.q_learning_target, ql.sarsa_target):
        assert target(2.0, True, row, 2, 0.5) == 2.0
    assert ql.double_q_target(2.0, True, row, row, 0.5) == 2.0


def test_an_update_goes_part_of_the_way():
    assert ql.q_update(2.0, 10.0, 0.25) == 4.0
    assert ql.q_update(2.0, 10.0, 1.0) == 10.0


# --- dynamic programming -------------------------------------------------------------------------


def test_value_iteration_on_a_corridor():
    q = ql.value_iteration(corridor(), 0.5)
    np.testing.assert_allclose(q[:, 1], [1 / 8, 1 / 4, 1 / 2, 1])
    np.testing.assert_allclose(q[:, 0], q[:, 1] / 2)


@pytest.mark.parametrize("name", ["FrozenLake-v1", "CliffWalking-v1", "Taxi-v4"])
@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_the_best_soft_policy_satisfies_its_own_equation_and_cannot_be_improved(name, epsilon):
    model, gamma = ql.tabular_model(gymnasium.make(name)), 0.95
    q = ql.value_iteration(model, gamma, epsilon)
    policy = ql.epsilon_greedy(q.round(7), epsilon)
    values = ql.policy_evaluation(model, policy, gamma)
    np.testing.assert_allclose((policy * q).sum(axis=1), values, atol=1e-5)
    improved = ql.bellman_backup(model.transitions, model.rewards, values, gamma)
    better = ql.epsilon_greedy(improved.round(7), epsilon)
    np.testing.assert_allclose(ql.policy_evaluation(model, better, gamma), values, atol=1e-5)


def test_exploring_costs_value():
    model = ql.tabular_model(gymnasium.make("CliffWalking-v1"))
    best = [
        ql.start_value(model, ql.epsilon_greedy(ql.value_iteration(model, 0.99, e), e), 0.99)
        for e in (0.0, 0.1, 0.5)
    ]
    assert best[0] > best[1] > best[2]
    assert best[0] == pytest.approx(-sum(0.99**t for t in range(13)))  # thirteen steps at -1


def test_the_model_is_what_the_environment_does():
    env = gymnasium.make("FrozenLake-v1")
    model = ql.tabular_model(env)
    assert model.transitions.shape == (16, 4, 16)
    assert model.transitions[14, 2].sum() == pytest.approx(2 / 3)  # one in three reaches the goal
    assert model.rewards[14, 2] == pytest.approx(1 / 3)
    assert model.start[0] == 1
    assert ql.tabular_model(gymnasium.make("Taxi-v4")).start.sum() == pytest.approx(1)


def test_policy_evaluation_agrees_with_played_episodes():
    env = gymnasium.make("FrozenLake-v1")
    model = ql.tabular_model(env)
    policy = np.full((16, 4), 0.25)
    rng, returns = np.random.default_rng(0), []
    state, _ = env.reset(seed=0)
    for _ in range(1500):
        weight, total, ended = 1.0, 0.0, False
        while not ended:
            state, reward, terminated, truncated, _ = env.step(int(rng.choice(4, p=policy[state])))
            total, weight, ended = total + weight * reward, weight * 0.9, terminated or truncated
        returns.append(total)
        state, _ = env.reset()
    error = np.std(returns) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - ql.start_value(model, policy, 0.9)) < 4 * error


# --- learning from samples -----------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [ql.q_learning, ql.sarsa])
def test_the_future_counts_after_truncation_and_not_after_termination(algorithm):
    ended, cut = np.zeros((1, 1)), np.zeros((1, 1))
    train(algorithm, ended, Clocked(True, False), steps=400, gamma=0.5)
    train(algorithm, cut, Clocked(False, True), steps=400, gamma=0.5)
    assert ended[0, 0] == pytest.approx(1.0)
    assert cut[0, 0] == pytest.approx(2.0)  # 1 + 1/2 + 1/4 + ...


def test_double_q_learning_moves_both_tables_and_respects_the_ending():
    q = np.zeros((2, 1, 1))
    train(ql.double_q_learning, q, Clocked(True, False), steps=400, gamma=0.5)
    np.testing.assert_allclose(q, 1.0)


@pytest.mark.parametrize("algorithm", [ql.q_learning, ql.double_q_learning])
def test_on_the_cliff_the_greedy_policy_becomes_optimal(algorithm):
    env = gymnasium.make("CliffWalking-v1")
    model = ql.tabular_model(env)
    q = np.zeros((48, 4)) if algorithm is ql.q_learning else np.zeros((2, 48, 4))
    train(algorithm, q, env, steps=40_000, epsilon=0.5)
    table = q if q.ndim == 2 else q.mean(axis=0)
    best = ql.start_value(model, ql.epsilon_greedy(ql.value_iteration(model, 0.99), 0), 0.99)
    reached = ql.start_value(model, ql.epsilon_greedy(table, 0), 0.99)
    assert reached == pytest.approx(best, rel=0.05)


def test_sarsa_keeps_away_from_the_edge_where_q_learning_walks_along_it():
    env = gymnasium.make("CliffWalking-v1")
    model = ql.tabular_model(env)
    value = {}
    for algorithm in (ql.sarsa, ql.q_learning):
        q = np.zeros((48, 4))
        train(algorithm, q, env, steps=40_000, alpha_decay=0.02)
        value[algorithm] = ql.start_value(model, ql.epsilon_greedy(q, 0.1), 0.99)
    assert value[ql.sarsa] > value[ql.q_learning] + 5


@pytest.mark.parametrize(
    ("algorithm", "target"),
    [
        (ql.q_learning, ql.q_learning_target),
        (ql.sarsa, ql.sarsa_target),
        (ql.double_q_learning, ql.double_q_target),
    ],
)
def test_a_learners_target_drives_training(algorithm, target):
    calls = []

    def always_7(reward, terminated, next_q, other, gamma):
        calls.append(next_q.shape)
        return 7.0

    q = np.zeros((2, 48, 4) if algorithm is ql.double_q_learning else (48, 4))
    with use({target: always_7}):
        train(algorithm, q, gymnasium.make("CliffWalking-v1"), steps=50, alpha=1.0)
    assert calls == [(4,)] * 50
    assert set(np.unique(q)) == {0.0, 7.0}


def test_the_same_seed_gives_the_same_run_and_metrics_are_numbers():
    runs = []
    for _ in range(2):
        q = np.zeros((16, 4))
        runs.append(train(ql.q_learning, q, gymnasium.make("FrozenLake-v1"), steps=3000))
    assert runs[0] == runs[1]
    assert [record["steps"] for record in runs[0]] == [1000, 2000, 3000]
    assert set(runs[0][0]) == {"steps", "return", "epsilon", "td_error"}


def test_the_choices_do_not_share_their_random_numbers_with_the_environment():
    class Lottery(Clocked):
        observation_space = action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            gymnasium.Env.reset(self, seed=seed)
            return 0, {}

        def step(self, action):
            drawn.append((action, self.np_random.random()))
            return 0, 0.0, False, False, {}

    drawn = []
    train(ql.q_learning, np.zeros((2, 2)), Lottery(False, False), steps=2000, epsilon=1.0)
    actions, chances = np.array(drawn).T
    for lag in range(4):  # whichever of the two draws first
        for one, other in ((actions, chances), (chances, actions)):
            together = np.corrcoef(one[: len(one) - lag], other[lag:])[0, 1]
            assert abs(together) < 0.1, lag


def test_step_size_and_exploration_follow_their_schedules():
    q = np.zeros((1, 1))
    seen = []

    def update(value, target, alpha):
        seen.append(alpha)
        return value

    with use({ql.q_update: update}):
        train(ql.sarsa, q, Clocked(True, False), steps=3, alpha=0.8, alpha_decay=1.0)
    np.testing.assert_allclose(seen, [0.8, 0.4, 0.8 / 3])
    records = train(
        ql.sarsa,
        q,
        Clocked(True, False),
        steps=40,
        epsilon_start=1.0,
        epsilon=0.2,
        epsilon_steps=20,
        report_every=10,
    )
    np.testing.assert_allclose([r["epsilon"] for r in records], [0.6, 0.2, 0.2, 0.2])


def test_errors_name_the_value_and_the_limit():
    with pytest.raises(ValueError, match=r"epsilon must lie in \[0, 1\], got 1.2"):
        ql.Config(epsilon=1.2)
    with pytest.raises(ValueError, match="alpha_decay must not be negative, got -1"):
        ql.Config(alpha_decay=-1)
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\)"):
        ql.value_iteration(corridor(), 1.0)
    with pytest.raises(ValueError, match="each row of policy must sum to 1"):
        ql.policy_evaluation(corridor(), np.ones((4, 2)), 0.9)
    with pytest.raises(ValueError, match=r"needs a table \(48, 4\), got \(16, 4\)"):
        train(ql.q_learning, np.zeros((16, 4)), gymnasium.make("CliffWalking-v1"), steps=1)
    from_one = Clocked(True, False)
    from_one.action_space = gymnasium.spaces.Discrete(1, start=1)
    with pytest.raises(ValueError, match=r"from 0, got .*Discrete\(1, start=1\)"):
        train(ql.sarsa, np.zeros((1, 1)), from_one, steps=1)
