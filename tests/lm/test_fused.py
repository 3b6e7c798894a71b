"""The blocks with their gradient written out against the plain ones, which autograd follows."""

import copy

import pytest
import torch

from course_lib.lm import fused, gpt, lora
from course_lib.lm.gpt import GPT, GPTConfig

pytestmark = pytest.mark.skipif(not fused.AVAILABLE, reason="this PyTorch lacks the kernels")
SHAPES = {
    "small": GPTConfig(50, layers=3, width=48, heads=3),
    "wide heads": GPTConfig(50, layers=2, width=32, heads=2, head_size=20, hidden=40),
}


def _run(model: GPT, tokens: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits and the gradients by all weights of a loss that looks at every logit."""
    model.zero_grad()
    logits = model(tokens)
    upstream = torch.randn(logits.shape, generator=torch.Generator().manual_seed(3))
    (logits * upstream).sum().backward()
    return logits.detach(), [p.grad.clone() for p in model.parameters()]


def _model(config: GPTConfig) -> GPT:
    torch.manual_seed(0)
    model = GPT(config)
    with torch.no_grad():  # larger than at the start of training, so that errors show
        for p in model.parameters():
            p.mul_(1 + 3 * (p.dim() == 2)).add_(0.1 * torch.randn_like(p) * (p.dim() == 1))
    return model


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """One entry per forward pass that took the fused way."""
    calls, usual = [], fused.run
    monkeypatch.setattr(fused, "run", lambda *args: calls.append(1) or usual(*args))
    return calls


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("large", [False, True], ids=["MKL", "oneDNN"])
def test_logits_and_gradients_are_those_of_the_plain_blocks(name, large, counted, monkeypatch):
    monkeypatch.setattr(fused, "LARGE", 0 if large else 10**12)
    model = _model(SHAPES[name])
    tokens = torch.randint(50, (3, 17), generator=torch.Generator().manual_seed(1))
    logits, gradients = _run(model, tokens)
    assert len(counted) == 1
    monkeypatch.setattr(fused, "fits", lambda *_: False)
    expected, theirs = _run(model, tokens)
    assert len(counted) == 1
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    for ours, other in zip(gradients, theirs, strict=True):
        assert (ours - other).abs().max() <= 1e-5 * other.abs().max()


def test_gradients_reach_what_stands_before_the_blocks(monkeypatch):
    transformer = _model(SHAPES["small"]).transformer
    x = torch.randn(2, 5, 96, generator=torch.Generator().manual_seed(2))[..., ::2]
    found = []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr(fused, "fits", lambda *_: False)
        leaf = x.detach().requires_grad_()
        transformer(leaf).square().sum().backward()
        found.append(leaf.grad)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


def test_a_graph_that_is_retained_gives_its_gradient_again():
    model = _model(SHAPES["small"])
    loss = model(torch.randint(50, (2, 9))).logsumexp(-1).sum()
    weights = list(model.parameters())
    first = torch.autograd.grad(loss, weights, retain_graph=True)
    second = torch.autograd.grad(loss, weights, retain_graph=True)
    last = torch.autograd.grad(loss, weights)
    for one, two, three in zip(first, second, last, strict=True):
        assert torch.equal(one, two) and torch.equal(one, three)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, weights)


@pytest.mark.parametrize("what", ["input", "weight"])
def test_what_was_changed_before_the_way_back_is_noticed(what):
    transformer = _model(SHAPES["small"]).transformer
    x = torch.randn(2, 5, 48).requires_grad_()
    stem = x * 1
    loss = transformer(stem).sum()
    with torch.no_grad():
        (stem if what == "input" else transformer.blocks[1].attention.out.weight).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_inputs_and_upstream_gradients_are_left_alone():
    transformer = _model(SHAPES["small"]).transformer
    x = torch.randn(2, 5, 48).requires_grad_()
    before = x.detach().clone()
    y = fused.run(transformer.blocks, x, gpt.rotation(torch.arange(5)[None], transformer.config))
    upstream = torch.randn(y.shape)
    kept = upstream.clone()
    y.backward(upstream)
    assert torch.equal(x, before) and torch.equal(upstream, kept)


@pytest.mark.parametrize("part", ["", "norm1", "attention", "attention.out", "feed_forward.down"])
def test_hooks_are_heard(part, counted):
    model, heard = _model(SHAPES["small"]), []
    model.transformer.blocks[1].get_submodule(part).register_forward_hook(
        lambda *_: heard.append(part)
    )
    model(torch.randint(50, (2, 6))).sum().backward()
    assert heard == [part] and not counted


class _Doubled(gpt.SwiGLU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def test_parts_of_your_own_are_used(counted):
    model, tokens = _model(SHAPES["small"]), torch.randint(50, (2, 6))
    usual = model(tokens)
    block = copy.deepcopy(model.transformer.blocks[1])
    counted.clear()

    model.transformer.blocks[1].feed_forward = _Doubled(model.config)
    assert not torch.equal(model(tokens), usual)
    model.transformer.blocks[1] = copy.deepcopy(block)
    model.transformer.blocks[1].attention.out = torch.nn.Linear(48, 48)  # with a bias
    assert not torch.equal(model(tokens), usual)
    model.transformer.blocks[1] = copy.deepcopy(block)
    model.transformer.blocks[1].forward = lambda x, *_: x
    assert not torch.equal(model(tokens), usual)
    model.transformer.blocks[1] = copy.deepcopy(block)
    model.transformer.blocks[1].probe = torch.nn.Linear(48, 2)
    torch.testing.assert_close(model(tokens), usual)
    assert not counted
    model.transformer.blocks[1] = block
    assert torch.equal(model(tokens), usual) and len(counted) == 1


def test_everything_else_takes_the_plain_way(counted):
    model, tokens = _model(SHAPES["small"]), torch.randint(50, (2, 6))
    with torch.no_grad():
        model(tokens)
    model(tokens, torch.tensor([[1] * 6, [0] * 3 + [1] * 3]))  # padding
    model(tokens, cache=model.new_cache(2, 6))
    model.hidden(tokens, mask=gpt.causal_mask(6, 6))
    copy.deepcopy(model).to(torch.bfloat16)(tokens)
    GPT(SHAPES["small"], attend=gpt.attention)(tokens)
    GPT(GPTConfig(50, layers=1, width=32, heads=4, kv_heads=2))(tokens)
    lora.apply(model, lora.Config(rank=2))
    model(tokens)
    assert not counted
