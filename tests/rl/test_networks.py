"""Networks: shapes, seeds, first weights, the dueling sum, scaled observations."""

import math

import pytest
import torch

from course_lib.rl.distributions import Categorical, Gaussian
from course_lib.rl.networks import ActorCritic, QNetwork, mlp, orthogonal, seeded


@pytest.mark.parametrize("obs_shape", [(5,), (4, 10, 10)])
@pytest.mark.parametrize("dueling", [False, True])
def test_one_value_per_action(obs_shape, dueling):
    network = QNetwork(obs_shape, 3, hidden=(8,), dueling=dueling)
    assert network(torch.zeros(7, *obs_shape)).shape == (7, 3)
    assert network(torch.ones(7, *obs_shape, dtype=torch.uint8)).dtype == torch.float32


def test_dueling_advantages_average_to_zero():
    network = QNetwork((5,), 3, hidden=(8,), dueling=True)
    obs = torch.randn(6, 5)
    value = network.value(network.body(obs))
    torch.testing.assert_close(network(obs).mean(dim=1, keepdim=True), value)


def test_obs_scale_divides():
    plain = seeded(0, lambda: QNetwork((2,), 2, hidden=(8,)))
    scaled = seeded(0, lambda: QNetwork((2,), 2, hidden=(8,), obs_scale=(2.0, 0.5)))
    obs = torch.randn(4, 2)
    torch.testing.assert_close(scaled(obs * torch.tensor([2.0, 0.5])), plain(obs))
    with pytest.raises(ValueError, match="obs_scale must give one size for each number"):
        QNetwork((3,), 2, obs_scale=(1.0,))


def test_seeded_repeats_and_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a, b, c = (seeded(s, lambda: mlp([3, 4])) for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a[0].weight, b[0].weight)
    assert not torch.equal(a[0].weight, c[0].weight)


def test_an_unsupported_shape_gets_a_sentence():
    with pytest.raises(ValueError, match=r"a vector \(D,\) or an image"):
        QNetwork((), 2)


SHAPES = [(5,), (4, 10, 10)]
KINDS = [{"num_actions": 3}, {"action_size": 2}]


@pytest.mark.parametrize("obs_shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [False, True])
def test_a_policy_and_a_value_for_each_observation(obs_shape, kind, shared):
    network = ActorCritic(obs_shape, **kind, hidden=(8, 6), shared=shared)
    obs = torch.randint(2, (7, *obs_shape), dtype=torch.uint8)
    policy, values = network(obs)
    assert values.shape == (7,) and values.dtype == torch.float32
    if "num_actions" in kind:
        assert isinstance(policy, Categorical) and policy.logits.shape == (7, 3)
    else:
        assert isinstance(policy, Gaussian) and policy.mean.shape == (7, 2)
        assert policy.log_std.shape == (2,)
    # Each half alone says the same as both together.
    torch.testing.assert_close(network.value(obs), values)
    torch.testing.assert_close(network.policy(obs).mode(), policy.mode())
    torch.testing.assert_close(network.policy(obs).entropy(), policy.entropy())


@pytest.mark.parametrize("shared", [False, True])
def test_only_a_shared_body_feels_both_losses(shared):
    network = ActorCritic((5,), num_actions=3, hidden=(8,), shared=shared)
    network.value(torch.randn(4, 5)).sum().backward()
    felt = [p.grad is not None for p in network.policy_body.parameters()]
    assert all(felt) if shared else not any(felt)
    assert network.policy_head.weight.grad is None


@pytest.mark.parametrize("obs_shape", SHAPES)
@pytest.mark.parametrize("shared", [False, True])
def test_first_weights_are_orthogonal(obs_shape, shared):
    network = seeded(0, lambda: ActorCritic(obs_shape, num_actions=3, hidden=(32,), shared=shared))
    bodies = [network.policy_body] + [network.value_body] * (not shared)
    layers = {m: math.sqrt(2) for body in bodies for m in body if hasattr(m, "weight")}
    layers |= {network.policy_head: 0.01, network.value_head: 1.0}
    assert len(layers) == 2 + len(bodies) * (1 if len(obs_shape) == 1 else 2)
    for layer, gain in layers.items():
        # All singular values equal the gain: lengths are multiplied by it.
        found = torch.linalg.svdvals(layer.weight.flatten(1))
        torch.testing.assert_close(found, torch.full_like(found, gain), rtol=1e-4, atol=1e-6)
        assert not layer.bias.any()


def test_at_first_all_actions_are_about_equally_probable():
    network = seeded(0, lambda: ActorCritic((5,), num_actions=4))
    entropy = network.policy(torch.randn(100, 5)).entropy()
    assert entropy.min().item() > 0.9999 * math.log(4)
    plain = seeded(0, lambda: ActorCritic((5,), num_actions=4, orthogonal_init=False))
    assert plain.policy(torch.randn(100, 5)).entropy().min() < entropy.min()


def test_the_spread_starts_where_set_and_is_learned():
    network = ActorCritic((5,), action_size=2, log_std=-0.7)
    assert network.log_std.tolist() == pytest.approx([-0.7, -0.7])
    policy, _ = network(torch.randn(3, 5))
    policy.logp(torch.zeros(3, 2)).sum().backward()
    assert network.log_std.grad.abs().min() > 0
    assert ActorCritic((5,), num_actions=2).log_std is None


def test_activations():
    for name, kind in (("tanh", torch.nn.Tanh), ("relu", torch.nn.ReLU)):
        network = ActorCritic((5,), num_actions=2, activation=name)
        assert sum(isinstance(m, kind) for m in network.modules()) == 4
    with pytest.raises(ValueError, match=r"must be one of \['tanh', 'relu'\], got 'gelu'"):
        ActorCritic((5,), num_actions=2, activation="gelu")


@pytest.mark.parametrize("kind", [{}, {"num_actions": 3, "action_size": 2}])
def test_one_kind_of_action_must_be_chosen(kind):
    with pytest.raises(ValueError, match="give either num_actions"):
        ActorCritic((5,), **kind)


def test_orthogonal_reaches_every_layer():
    layers = torch.nn.Sequential(mlp([6, 6, 6]), torch.nn.Conv2d(2, 3, 3))
    orthogonal(layers, 2.0)
    for layer in (layers[0][0], layers[0][2], layers[1]):
        found = torch.linalg.svdvals(layer.weight.flatten(1))
        torch.testing.assert_close(found, torch.full_like(found, 2.0), rtol=1e-4, atol=0)
