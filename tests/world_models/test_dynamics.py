"""Learned dynamics: the likelihood in closed form, known worlds, and what the data lack."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.rl.distributions import gaussian_logp
from course_lib.world_models import dynamics
from course_lib.world_models.dynamics import Config, Dynamics
from course_lib.world_models.experience import Segments, Transitions

SMALL = Config(members=3, hidden=(32,), updates=400, batch_size=64)
MATRIX = torch.tensor([[0.9, 0.3], [-0.2, 0.95]])
PUSH = torch.tensor([[0.0, 0.5]])


def linear_world(rows=400, seed=0, spread=1.0):
    """x' = x M + a P; the reward is the first number of x'."""
    rng = torch.Generator().manual_seed(seed)
    obs = spread * torch.randn(rows, 2, generator=rng)
    actions = torch.rand(rows, 1, generator=rng) * 2 - 1
    next_obs = obs @ MATRIX + actions @ PUSH
    return Transitions(obs, actions, next_obs[:, 0].clone(), next_obs)


def trained(config=SMALL, data=None, seed=0):
    data = linear_world() if data is None else data
    model = Dynamics(2, 1, config, seed)
    return model, list(dynamics.train(model, data, config, seed))


# --- the pure functions --------------------------------------------------------------------------


def test_the_likelihood_is_that_of_a_gaussian():
    rng = torch.Generator().manual_seed(0)
    mean, log_var, targets = torch.randn(3, 5, 7, 4, generator=rng)
    found = dynamics.gaussian_nll(mean, log_var, targets)
    normal = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    assert found.shape == (5, 7)
    torch.testing.assert_close(found, -normal.log_prob(targets).sum(-1))
    torch.testing.assert_close(found, -gaussian_logp(targets, mean, log_var / 2))


def test_the_likelihood_is_least_where_the_variance_is_the_squared_error():
    log_var = torch.linspace(-3, 3, 601)
    nll = dynamics.gaussian_nll(torch.zeros(601, 1), log_var[:, None], torch.full((601, 1), 2.0))
    assert float(log_var[nll.argmin()]) == pytest.approx(np.log(4), abs=0.006)


def test_the_log_variance_stays_between_its_bounds_and_moves_freely_inside():
    low, high = torch.tensor([-5.0]), torch.tensor([1.0])
    raw = torch.tensor([-1e3, -2.0, 1e3])[:, None]
    bounded = dynamics.bound_log_var(raw, low, high).flatten()
    assert bounded[0] == pytest.approx(-5.0, abs=0.01)
    assert bounded[1] == pytest.approx(-2.0, abs=0.1)
    assert bounded[2] == pytest.approx(1.0, abs=0.01)


def test_disagreement_by_hand():
    members = torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]]])  # a standard deviation of 1 and of 0
    found = dynamics.disagreement(members, torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(found, torch.tensor([(0.5**2 / 2) ** 0.5]))


# --- the ensemble --------------------------------------------------------------------------------


def test_it_learns_a_linear_world_and_its_reward():
    config = replace(SMALL, learn_reward=True)
    model, history = trained(config)
    assert history[-1]["nll"] < history[0]["nll"] - 3
    fresh = linear_world(100, seed=1)
    error, _ = dynamics.one_step_error(model, fresh)
    assert error.mean() < 0.15
    rewards = model.predict(fresh.obs, fresh.actions).rewards
    assert rewards.shape == (3, 100)
    assert (rewards.mean(0) - fresh.rewards).abs().mean() < 0.1


def test_members_compute_what_each_would_compute_alone():
    model = Dynamics(2, 1, SMALL, seed=3)
    data = linear_world(5)
    model.fit_scales(data)
    together = model.predict(data.obs, data.actions).next_obs
    for e in range(3):
        x = torch.cat([(data.obs - model.obs_mean) / model.obs_std, data.actions], -1)
        x = torch.nn.functional.silu(x @ model.weights[0][e] + model.biases[0][e])
        x = x @ model.weights[1][e] + model.biases[1][e]
        expected = data.obs + x[:, :2] * model.change_std + model.change_mean
        torch.testing.assert_close(together[e], expected, atol=1e-5, rtol=1e-5)


def test_rows_of_their_own_for_each_member():
    model = Dynamics(2, 1, SMALL, seed=3)
    obs, actions = torch.randn(3, 4, 2), torch.randn(3, 4, 1)
    own = model.predict(obs, actions).next_obs
    for e in range(3):
        shared = model.predict(obs[e], actions[e]).next_obs
        torch.testing.assert_close(own[e], shared[e], atol=1e-6, rtol=1e-5)


def test_members_agree_on_data_and_disagree_far_from_it():
    model, _ = trained()
    _, near = dynamics.one_step_error(model, linear_world(100, seed=1))
    _, far = dynamics.one_step_error(model, linear_world(100, seed=1, spread=8.0))
    assert far.median() > 3 * near.median()


def test_it_learns_how_noisy_the_world_is():
    data = linear_world(2000)
    noise = torch.tensor([0.05, 0.4]) * torch.randn(2000, 2, generator=torch.Generator())
    data = data._replace(next_obs=data.next_obs + noise)
    model, _ = trained(replace(SMALL, updates=800), data)
    std = model.noise(data.obs, data.actions).detach().mean((0, 1))
    assert std[0] == pytest.approx(0.05, rel=0.5)
    assert std[1] == pytest.approx(0.4, rel=0.25)


def test_without_a_variance_it_minimises_the_squared_error():
    model, history = trained(replace(SMALL, probabilistic=False))
    assert history[-1]["error"] < 0.15
    scale = model.noise(torch.zeros(1, 2), torch.zeros(1, 1))
    torch.testing.assert_close(scale, model.step_size.expand(3, 1, 2))


def test_a_number_that_never_changes_does_no_harm():
    data = linear_world(50)
    still = data._replace(obs=data.obs * 0 + 1, next_obs=data.next_obs * 0 + 1)
    model, history = trained(replace(SMALL, updates=5), still)
    assert np.isfinite(history[-1]["nll"])
    predicted = model.predict(still.obs, still.actions).next_obs
    torch.testing.assert_close(predicted, torch.ones_like(predicted), atol=1e-3, rtol=0)


def test_training_repeats_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    one, two = trained(seed=5)[0], trained(seed=5)[0]
    assert torch.equal(before, torch.random.get_rng_state())
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    other = trained(seed=6)[0]
    assert not torch.equal(one.weights[0], other.weights[0])


# --- open loop -----------------------------------------------------------------------------------


def test_open_loop_feeds_on_its_own_predictions():
    model, _ = trained()
    data = linear_world(6)
    actions = torch.rand(6, 3, 1)
    states = dynamics.open_loop(model, data.obs, actions)
    here = data.obs
    for k in range(3):
        here = model.predict(here, actions[:, k]).next_obs.mean(0)
        torch.testing.assert_close(states[:, k], here, atol=1e-5, rtol=1e-5)
    apart = dynamics.open_loop(model, data.obs, actions, average=False)
    assert apart.shape == (3, 6, 3, 2)
    alone = model.predict(data.obs, actions[:, 0]).next_obs
    torch.testing.assert_close(apart[:, :, 0], alone)


def test_open_loop_error_is_zero_for_the_truth_and_grows_with_the_horizon():
    model, _ = trained()
    obs = linear_world(50, seed=2).obs
    actions = torch.rand(50, 8, 1) * 2 - 1
    imagined = dynamics.open_loop(model, obs, actions)
    own = Segments(obs, actions, imagined, torch.zeros(50, 8))
    assert dynamics.open_loop_error(model, own).max() < 1e-6
    truth, here = [], obs
    for k in range(8):
        here = here @ MATRIX + actions[:, k] @ PUSH
        truth.append(here)
    data = own._replace(next_obs=torch.stack(truth, 1))
    error = dynamics.open_loop_error(model, data)
    assert error.shape == (8,)
    assert error[-1] > error[0]
    assert dynamics.open_loop_error(model, data, average=False).shape == (8,)


# --- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"members": 0}, "members must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"hidden": ()}, "hidden must name at least one layer size"),
    ],
)
def test_impossible_settings_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Config(**change)


def test_one_row_is_too_few():
    with pytest.raises(ValueError, match="at least two transitions, got 1"):
        list(dynamics.train(Dynamics(2, 1, SMALL), linear_world(1), SMALL))
