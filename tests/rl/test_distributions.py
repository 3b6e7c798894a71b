"""Distributions over actions against PyTorch's own, in float64."""

import math

import pytest
import torch

from course_lib.rl.distributions import Categorical, Gaussian, gaussian_entropy, gaussian_logp

EXACT = {"atol": 1e-10, "rtol": 1e-10}


def randn(*shape, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 6), (2,)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_categorical_agrees_with_pytorch(shape, scale):
    logits = randn(*shape, scale=scale)
    ours, theirs = Categorical(logits), torch.distributions.Categorical(logits=logits)
    actions = torch.randint(shape[-1], shape[:-1], generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours.logp(actions), theirs.log_prob(actions), **EXACT)
    torch.testing.assert_close(ours.entropy(), theirs.entropy(), **EXACT)
    assert torch.equal(ours.mode(), theirs.probs.argmax(-1))
    assert ours.logp(actions).shape == ours.entropy().shape == ours.mode().shape == shape[:-1]


def test_categorical_by_hand():
    even = Categorical(torch.full((1, 4), 5.0))  # logits need not be normalised
    assert even.logp(torch.tensor([2])).item() == pytest.approx(-math.log(4))
    assert even.entropy().item() == pytest.approx(math.log(4))
    certain = Categorical(torch.tensor([[1000.0, 0.0]]))
    assert certain.entropy().item() == 0 and certain.logp(torch.tensor([0])).item() == 0
    assert certain.logp(torch.tensor([1])).item() == -1000


@pytest.mark.parametrize("shape", [(7, 3), (2, 5, 1), (4,)])
def test_gaussian_agrees_with_pytorch(shape):
    mean, log_std, actions = randn(*shape), randn(shape[-1], seed=1), randn(*shape, seed=2)
    ours = Gaussian(mean, log_std)
    normal = torch.distributions.Normal(mean, log_std.exp())
    theirs = torch.distributions.Independent(normal, 1)
    torch.testing.assert_close(ours.logp(actions), theirs.log_prob(actions), **EXACT)
    torch.testing.assert_close(ours.entropy(), theirs.entropy(), **EXACT)
    assert torch.equal(ours.mode(), mean)
    assert ours.logp(actions).shape == ours.entropy().shape == shape[:-1]
    # A spread for each row, too.
    spreads = randn(*shape, seed=3)
    each = torch.distributions.Independent(torch.distributions.Normal(mean, spreads.exp()), 1)
    torch.testing.assert_close(
        gaussian_logp(actions, mean, spreads), each.log_prob(actions), **EXACT
    )
    torch.testing.assert_close(gaussian_entropy(spreads), each.entropy(), **EXACT)


def test_gradients_agree_with_finite_differences():
    actions = randn(5, 3, seed=1)
    mean, log_std = randn(5, 3).requires_grad_(), randn(3, seed=2).requires_grad_()
    logits = randn(5, 4).requires_grad_()
    chosen = torch.tensor([0, 3, 1, 1, 2])
    check = torch.autograd.gradcheck
    assert check(lambda m, s: Gaussian(m, s).logp(actions), (mean, log_std))
    assert check(lambda m, s: Gaussian(m, s).entropy(), (mean, log_std))
    assert check(lambda x: Categorical(x).logp(chosen), (logits,))
    assert check(lambda x: Categorical(x).entropy(), (logits,))


def test_densities_integrate_to_one():
    grid = torch.linspace(-9, 9, 2001, dtype=torch.float64)
    mean, log_std = torch.tensor([0.5, -1.0]).double(), torch.tensor([-0.3, 0.2]).double()
    points = torch.cartesian_prod(grid[::10], grid[::10])
    density = gaussian_logp(points, mean, log_std).exp()
    cell = float(grid[10] - grid[0]) ** 2
    assert density.sum().item() * cell == pytest.approx(1, abs=1e-6)
    # Entropy is the mean of -logp.
    mean_surprise = -(density * density.log()).sum() * cell
    assert mean_surprise.item() == pytest.approx(gaussian_entropy(log_std).item(), abs=1e-5)


def test_samples_follow_the_distribution_and_the_generator():
    rows = 40_000
    logits = torch.log(torch.tensor([0.1, 0.6, 0.3])).expand(rows, 3)
    mean, log_std = torch.tensor([[2.0, -1.0]]).expand(rows, 2), torch.tensor([-1.0, 0.5])
    for policy in (Categorical(logits), Gaussian(mean, log_std)):
        draws = [policy.sample(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
        assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
        if draws[0].dtype == torch.int64:
            shares = torch.bincount(draws[0], minlength=3) / rows
            torch.testing.assert_close(shares, torch.tensor([0.1, 0.6, 0.3]), atol=0.015, rtol=0)
        else:
            torch.testing.assert_close(draws[0].mean(0), mean[0], atol=0.05, rtol=0)
            torch.testing.assert_close(draws[0].std(0), log_std.exp(), atol=0.05, rtol=0)
            assert draws[0].shape == (rows, 2) and draws[0].dtype == torch.float32


def test_samples_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    for policy in (Categorical(torch.zeros(3, 4)), Gaussian(torch.zeros(3, 2), torch.zeros(2))):
        policy.sample(torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())


def test_leading_shapes_are_kept():
    for shape in [(2, 3), (5,), ()]:
        assert Categorical(torch.zeros(*shape, 4)).sample().shape == shape
        assert Gaussian(torch.zeros(*shape, 4), torch.zeros(4)).sample().shape == (*shape, 4)
