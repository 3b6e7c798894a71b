"""Networks: shapes, seeds, the dueling sum, scaled observations."""

import pytest
import torch

from course_lib.rl.networks import QNetwork, mlp, seeded


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
