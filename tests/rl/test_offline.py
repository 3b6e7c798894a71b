"""Offline learners: losses by hand, closed forms, and tiny records on which they part ways."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib.classroom import use
from course_lib.evaluation import evaluate
from course_lib.rl import dqn, offline, offline_table
from course_lib.rl.agent import Agent, AgentConfig
from course_lib.rl.dataset import Dataset
from course_lib.worlds import crossing

TINY = offline.Config(
    steps=400, batch_size=32, learning_rate=1e-2, weight_decay=0.0, gamma=0.5, hidden=(32,), tau=0.1
)
NETWORK = dqn.Config(hidden=(32,))


def record(rows, states=3, actions=2):
    """Rows (state, action, reward, end), with end "" (goes on), "terminated" or "truncated"."""
    state, action, reward, end = zip(*rows, strict=True)
    frames = np.eye(states, dtype=np.float32)[list(state)]
    flags = ([e == kind for e in end] for kind in ("terminated", "truncated"))
    return Dataset(frames, action, reward, *flags, (states,), actions)


# Two states in a row. What pays in state 1 is action 0; action 1 was never tried there.
HALF_SEEN = record(
    [(0, 0, 0.0, ""), (1, 0, 1.0, "terminated"), (0, 1, 0.0, "terminated")] * 4, actions=2
)
EYE = np.eye(3, dtype=np.float32)


def fitted(data, config=TINY, seed=0, network=NETWORK):
    agent = dqn.DQN(data.obs_shape, data.num_actions, network, seed)
    return agent, list(offline.train_cql(agent, data, config, seed))


# The losses.


def test_the_conservative_term_is_the_cross_entropy_of_softmax_q():
    rng = torch.Generator().manual_seed(0)
    q, targets = torch.randn(16, 5, generator=rng), torch.randn(16, generator=rng)
    actions = torch.randint(5, (16,), generator=rng)
    plain, _ = dqn.dqn_loss(q, actions, targets)
    loss, metrics = offline.conservative_loss(q, actions, targets, alpha=0.7)
    entropy = F.cross_entropy(q, actions)
    torch.testing.assert_close(loss, plain + 0.7 * entropy)
    torch.testing.assert_close(metrics["gap"], entropy)
    torch.testing.assert_close(metrics["loss"], loss)
    torch.testing.assert_close(metrics["q"], q[range(16), actions].mean())
    assert offline.conservative_loss(q, actions, targets, alpha=0.0)[0] == plain


def test_the_conservative_term_by_hand_pushes_down_what_was_not_done():
    q = torch.tensor([[0.0, np.log(3.0)]], requires_grad=True)  # softmax: 1/4, 3/4
    loss, metrics = offline.conservative_loss(q, torch.tensor([0]), torch.zeros(1), alpha=2.0)
    assert metrics["gap"].item() == pytest.approx(np.log(4))
    loss.backward()
    assert q.grad.flatten().tolist() == pytest.approx([2 * (1 / 4 - 1), 2 * 3 / 4])


def test_an_expectile_of_one_half_is_half_the_mean_squared_error():
    values, targets = torch.randn(2, 50, generator=torch.Generator().manual_seed(1))
    loss, metrics = offline.expectile_loss(values, targets, 0.5)
    torch.testing.assert_close(loss, 0.5 * F.mse_loss(values, targets))
    torch.testing.assert_close(metrics["value"], values.mean())


def test_the_expectile_loss_by_hand_on_both_sides():
    values = torch.tensor([1.0, 1.0, 1.0], requires_grad=True)
    loss, _ = offline.expectile_loss(values, torch.tensor([3.0, 0.0, 1.0]), 0.9)
    assert loss.item() == pytest.approx((0.9 * 4 + 0.1 * 1) / 3)
    loss.backward()
    assert values.grad.tolist() == pytest.approx([-0.9 * 4 / 3, 0.1 * 2 / 3, 0.0])


@pytest.mark.parametrize("expectile", [0.1, 0.5, 0.8, 0.99])
def test_the_minimiser_is_the_expectile_of_a_coin(expectile):
    # Targets 0 and 1, equally often: m with expectile (1 - m) = (1 - expectile) m.
    targets, m = torch.tensor([0.0, 1.0]), torch.tensor(expectile)
    value = m.clone().requires_grad_()
    offline.expectile_loss(value.expand(2), targets, expectile)[0].backward()
    assert value.grad.item() == pytest.approx(0.0, abs=1e-6)


def test_weighted_cloning_by_hand():
    logp = torch.tensor([-1.0, -2.0, -3.0], requires_grad=True)
    advantages = torch.tensor([0.0, 2 * np.log(3.0), 1e6], requires_grad=True)
    loss, metrics = offline.weighted_cloning_loss(logp, advantages, 2.0, max_weight=10.0)
    assert loss.item() == pytest.approx((1 * 1 + 3 * 2 + 10 * 3) / 3, rel=1e-6)
    assert metrics["weight"].item() == pytest.approx(14 / 3, rel=1e-6)
    loss.backward()
    assert logp.grad.tolist() == pytest.approx([-1 / 3, -3 / 3, -10 / 3], rel=1e-6)
    assert advantages.grad is None, "a weight is data"


def test_shapes_that_would_broadcast_are_refused():
    flat, column = torch.zeros(2), torch.zeros(2, 1)
    with pytest.raises(ValueError, match=r"targets must have shape \(2,\).* got \(2, 1\)"):
        offline.expectile_loss(flat, column, 0.5)
    with pytest.raises(ValueError, match=r"advantages must have shape \(2,\)"):
        offline.weighted_cloning_loss(flat, column, 1.0, 20.0)
    with pytest.raises(ValueError, match=r"targets must have shape \(2,\)"):
        offline.conservative_loss(column.expand(2, 2), torch.tensor([0, 1]), column, 1.0)


@pytest.mark.parametrize(
    "change",
    [{"expectile": 1.0}, {"temperature": 0.0}, {"alpha": -1.0}, {"tau": 0.0}, {"hidden": ()}],
    ids=str,
)
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        offline.Config(**change)


# Cloning.


def test_cloning_learns_the_shares_of_the_record():
    data = record([(0, a, 0.0, "truncated") for a in [0, 0, 0, 1]] + [(1, 1, 0.0, "terminated")])
    agent = Agent(data, AgentConfig(hidden=(16,)))
    value = agent.network.value(torch.from_numpy(EYE))
    history = list(offline.train_cloning(agent, data, replace(TINY, batch_size=256), seed=0))
    chances = agent.network.policy(torch.from_numpy(EYE)).logits.exp().detach()
    assert chances[0].tolist() == pytest.approx([0.75, 0.25], abs=0.05)
    assert chances[1, 1] > 0.97
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert history[-1]["loss"] == pytest.approx(0.8 * entropy, abs=0.08)
    assert history[-1]["accuracy"] == pytest.approx(0.8, abs=0.1)
    assert [row["steps"] for row in history] == list(range(1, 401))
    assert torch.equal(agent.network.value(torch.from_numpy(EYE)), value), "untouched"


# Q-learning, with and without the brake.


@pytest.mark.parametrize("alpha", [0.0, 0.05])
def test_values_where_everything_was_tried(alpha):
    data = record(
        [
            *[(0, 0, 0.0, ""), (1, 0, 1.0, "terminated")],
            *[(0, 0, 0.0, ""), (1, 1, 0.2, "terminated")],
            *[(0, 1, 0.0, "terminated")] * 2,
        ]
    )
    agent, _ = fitted(data, replace(TINY, alpha=alpha))
    exact = offline_table.dynamic_programming(data, TINY.gamma)[:2]
    assert exact.tolist() == [[0.5, 0.0], [1.0, pytest.approx(0.2)]]
    # Where all actions occur alike the brake draws them together; a weak one, by little.
    assert agent.q_values(EYE)[:2] == pytest.approx(exact, abs=0.03 + 2 * alpha)


def test_offline_dqn_believes_what_nobody_tried_and_cql_does_not():
    """State 1: action 0 pays 1, action 1 never occurs. Its value is whatever the network says."""
    plain, careful = [], []
    for seed in range(4):
        for alpha, found in ((0.0, plain), (0.5, careful)):
            agent, _ = fitted(HALF_SEEN, replace(TINY, alpha=alpha, steps=200), seed)
            found.append(agent.q_values(EYE)[1])
    plain, careful = np.array(plain), np.array(careful)
    assert plain[:, 0] == pytest.approx(1.0, abs=0.05), "what was tried is known"
    assert plain[:, 1].std() > 0.05, "what was not depends on chance alone"
    assert (careful[:, 0] > careful[:, 1] + 1).all()


def test_the_unseen_action_runs_away_and_the_brake_holds_it():
    """A loop: action 0 stays and pays 1, so Q = 1 / (1 - gamma) = 5. Action 1 never occurs, and the
    network happens to begin with a value of 10 for it."""
    data = record([(0, 0, 1.0, "")] * 20 + [(0, 0, 1.0, "truncated")], states=1)
    config = replace(TINY, gamma=0.8, steps=300)

    def start_too_high(agent):
        with torch.no_grad():
            for network in (agent.online, agent.target):
                network.advantage.bias.copy_(torch.tensor([0.0, 10.0]))

    values = {}
    for alpha in (0.0, 1.0):
        agent = dqn.DQN(data.obs_shape, data.num_actions, NETWORK, seed=0)
        start_too_high(agent)
        list(offline.train_cql(agent, data, replace(config, alpha=alpha), seed=0))
        values[alpha] = agent.q_values(np.ones((1, 1), np.float32))[0]
    assert values[0.0].argmax() == 1 and values[0.0][0] > 7, "believed, and passed on"
    assert values[1.0].argmax() == 0 and values[1.0][0] < 7


def test_a_row_that_the_clock_cut_off_is_left_out():
    rows = [(0, 0, 1.0, "terminated"), (1, 0, 100.0, "truncated")]
    agent, _ = fitted(record(rows * 4), replace(TINY, alpha=0.0, steps=200))
    assert agent.q_values(EYE)[0, 0] == pytest.approx(1.0, abs=0.05)
    assert agent.q_values(EYE)[1, 0] < 10, "never learned from"
    with pytest.raises(ValueError, match="every row was truncated"):
        fitted(record(rows[1:]))


def test_rewards_are_scaled_as_the_agent_wants_them():
    data = record([(0, 0, 40.0, "terminated")])
    network = replace(NETWORK, reward_scale=0.01)
    agent, history = fitted(data, replace(TINY, alpha=0.0, steps=200), network=network)
    assert agent.q_values(EYE)[0, 0] == pytest.approx(40, abs=1)
    assert history[-1]["q"] == pytest.approx(40, abs=1)


def test_the_target_network_follows_slowly():
    agent, _ = fitted(HALF_SEEN, replace(TINY, steps=1, tau=0.25))
    before = dqn.DQN(HALF_SEEN.obs_shape, 2, NETWORK, seed=0).target.state_dict()
    for name, slow in agent.target.state_dict().items():
        expected = 0.75 * before[name] + 0.25 * agent.online.state_dict()[name]
        torch.testing.assert_close(slow, expected)


# Implicit Q-learning.


def learned(data, config=TINY, seed=0):
    learner = offline.IQL(data, config, seed)
    return learner, list(offline.train_iql(learner, data, config, seed))


def test_iql_values_lie_between_the_recorded_mean_and_the_recorded_best():
    """State 0: action 0 pays 1, action 1 pays 0, equally often. State 1: only action 0, pays 2."""
    rows = [(0, 0, 1.0), (0, 1, 0.0), (1, 0, 2.0)]
    data = record([(*row, "terminated") for row in rows])
    for expectile in (0.5, 0.9):
        learner, history = learned(data, replace(TINY, expectile=expectile, temperature=1.0))
        values = learner.value(torch.from_numpy(EYE)).detach()
        # Q is learned, so V is the expectile of a coin: the expectile itself.
        assert values[:2].tolist() == pytest.approx([expectile, 2.0], abs=0.08)
        chances = learner.agent.network.policy(torch.from_numpy(EYE)).logits.exp()[0]
        # Weights exp(1 - V) and exp(0 - V): of action 0 by e more.
        assert chances[0].item() == pytest.approx(np.e / (1 + np.e), abs=0.06)
        assert set(history[-1]) == {"steps", "loss", "value_loss", "q_loss", "value", "weight"}


def test_iql_bootstraps_from_v_and_ignores_what_nobody_tried():
    learner, _ = learned(HALF_SEEN)
    obs = torch.from_numpy(EYE)
    q = learner.q(obs[[0, 0, 1]], torch.tensor([0, 1, 0]))
    assert q.tolist() == pytest.approx([0.5, 0.0, 1.0], abs=0.06)  # gamma 0.5
    assert learner.value(obs)[1].item() == pytest.approx(1.0, abs=0.06), "not of action 1"


def test_iql_takes_the_smaller_of_two_different_critics():
    learner = offline.IQL(HALF_SEEN, TINY)
    obs, actions = torch.from_numpy(EYE), torch.tensor([0, 1, 0])
    both = [critic(obs)[range(3), actions] for critic in learner.targets]
    assert (both[0] != both[1]).all()
    assert torch.equal(learner.q(obs, actions), torch.minimum(*both))


# All of them.


def runs(data, config, seed):
    agent = Agent(data, AgentConfig(hidden=(8,)), seed)
    yield offline.train_cloning(agent, data, config, seed)
    yield offline.train_cql(dqn.DQN(data.obs_shape, 2, NETWORK, seed), data, config, seed)
    yield offline.train_iql(offline.IQL(data, config, seed), data, config, seed)


def test_a_seed_decides_everything_and_the_global_state_stays():
    config = replace(TINY, steps=3)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = ([list(run) for run in runs(HALF_SEEN, config, s)] for s in (1, 1, 2))
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("function", "run"),
    [
        (offline.conservative_loss, 1),
        (dqn.double_dqn_target, 1),
        (offline.expectile_loss, 2),
        (offline.weighted_cloning_loss, 2),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_a_function_put_in_the_place_of_the_librarys_is_called(function, run):
    calls = []

    def counted(*args):
        calls.append(args)
        return function(*args)

    with use({function: counted}):
        list(list(runs(HALF_SEEN, replace(TINY, steps=3), 0))[run])
    assert len(calls) == 3


@pytest.mark.parametrize("seed", range(2))
def test_networks_find_the_goal_of_the_maze_that_no_walk_shows(seed):
    data = crossing.recorded(seed)
    config = replace(TINY, gamma=0.9, alpha=0.05, steps=500, learning_rate=5e-3, tau=0.05)
    agent, _ = fitted(data, config, seed)
    cloned = Agent(data, AgentConfig(hidden=(32,)), seed)
    list(offline.train_cloning(cloned, data, replace(config, steps=200), seed))
    envs = crossing.crossing("A", num_envs=1)
    assert evaluate(agent.act, envs, 1).tolist() == [10.0]
    assert evaluate(cloned.act, envs, 1)[0] < 10
