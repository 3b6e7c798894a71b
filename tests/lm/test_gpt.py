"""The transformer against its formulas written out, against itself with and without memory."""

import inspect
import itertools
import math

import pytest
import torch
from torch import nn

from course_lib.classroom import use
from course_lib.lm import gpt
from course_lib.lm.gpt import GPT, GPTConfig

SHAPES = {
    "as many heads of keys": GPTConfig(50, layers=2, width=32, heads=4),
    "grouped queries": GPTConfig(50, layers=2, width=32, heads=4, kv_heads=2),
    "one head of keys": GPTConfig(50, layers=3, width=48, heads=6, kv_heads=1, tied=False),
    "wide heads": GPTConfig(50, layers=2, width=32, heads=2, head_size=20, hidden=40),
}


def _model(config: GPTConfig, seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    model = GPT(config)
    with torch.no_grad():  # larger than at the start of training, so that errors show
        for parameter in model.parameters():
            parameter.mul_(1 + 4 * (parameter.dim() == 2))
            parameter.add_(0.1 * torch.randn_like(parameter) * (parameter.dim() == 1))
    return model


def _tokens(batch: int, length: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(50, (batch, length), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=SHAPES, scope="module")
def model(request) -> GPT:
    return _model(SHAPES[request.param])


# --- The formulas, number by number ------------------------------------------------------------


def _by_hand(model: GPT, tokens: list[int]) -> torch.Tensor:
    """The logits after each token of one sequence, by loops over positions, heads and pairs."""
    c = model.config
    table = model.embedding.weight.double()

    def norm(x, weight):
        return x / torch.sqrt((x * x).mean() + c.norm_eps) * weight.double()

    def turned(x, position):
        out = x.clone()
        for i in range(c.head_size // 2):
            angle = position * c.rope_base ** (-2 * i / c.head_size)
            a, b = x[2 * i], x[2 * i + 1]
            out[2 * i] = a * math.cos(angle) - b * math.sin(angle)
            out[2 * i + 1] = a * math.sin(angle) + b * math.cos(angle)
        return out

    stream = [table[t] for t in tokens]
    for block in model.transformer.blocks:
        weight = block.attention.qkv.weight.double()
        size = c.head_size
        asked = [weight @ norm(x, block.norm1.weight) for x in stream]
        seen = []
        for t, row in enumerate(asked):
            heads = []
            for h in range(c.heads):
                group = h // (c.heads // c.kv_heads)
                q = turned(row[h * size : (h + 1) * size], t)
                scores, contents = [], []
                for s in range(t + 1):
                    k_at = (c.heads + group) * size
                    v_at = (c.heads + c.kv_heads + group) * size
                    k = turned(asked[s][k_at : k_at + size], s)
                    scores.append(q @ k / math.sqrt(size))
                    contents.append(asked[s][v_at : v_at + size])
                weights = torch.stack(scores).softmax(0)
                heads.append(sum(w * v for w, v in zip(weights, contents, strict=True)))
            seen.append(block.attention.out.weight.double() @ torch.cat(heads))
        stream = [x + y for x, y in zip(stream, seen, strict=True)]
        net = block.feed_forward
        for t, x in enumerate(stream):
            y = norm(x, block.norm2.weight)
            gate, up = net.gate.weight.double() @ y, net.up.weight.double() @ y
            stream[t] = x + net.down.weight.double() @ (gate * torch.sigmoid(gate) * up)
    last = [norm(x, model.transformer.norm.weight) for x in stream]
    return torch.stack([model.head.weight.double() @ x for x in last])


def test_logits_are_those_of_the_formulas(model):
    tokens = _tokens(1, 7)
    with torch.no_grad():
        expected = _by_hand(model, tokens[0].tolist())
        torch.testing.assert_close(model(tokens)[0].double(), expected, rtol=0, atol=2e-5)


def test_the_kernel_computes_the_formula_that_is_shown():
    q, k, v = torch.randn(3, 2, 3, 5, 8, generator=torch.Generator().manual_seed(0)).unbind()
    mask = gpt.causal_mask(5, 5)
    formula = inspect.unwrap(gpt.attention)
    assert "softmax" in inspect.getsource(gpt.attention), "the solution that a learner is shown"
    torch.testing.assert_close(gpt.attention(q, k, v, mask), formula(q, k, v, mask))
    weights = gpt.attention_weights(q, k, mask)
    torch.testing.assert_close(weights @ v, formula(q, k, v, mask))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5))
    assert bool((weights[..., ~mask] == 0).all())


@pytest.mark.parametrize(
    ("queries", "keys", "rows"), [(3, 3, ["100", "110", "111"]), (2, 4, ["1110", "1111"])]
)
def test_causal_mask_aligns_the_last_query_with_the_last_key(queries, keys, rows):
    expected = torch.tensor([[c == "1" for c in row] for row in rows])
    assert torch.equal(gpt.causal_mask(queries, keys), expected)


def test_turned_queries_and_keys_know_only_their_distance():
    config = GPTConfig(50, width=32, heads=2)
    q, k = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(0)).unbind()

    def product(i: int, j: int) -> torch.Tensor:
        turn = gpt.rotation(torch.tensor([[i], [j]]), config)
        return (gpt.rotate(q, turn[:1]) * gpt.rotate(k, turn[1:])).sum()

    torch.testing.assert_close(product(7, 3), product(104, 100), rtol=1e-4, atol=1e-4)
    assert abs(product(7, 3) - product(7, 4)) > 1e-3
    turned = gpt.rotate(q, gpt.rotation(torch.tensor([[5]]), config))
    torch.testing.assert_close(turned.norm(), q.norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norm_and_its_gradient_equal_the_formulas(dtype):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 24, generator=generator).to(dtype)
    norm = gpt.RMSNorm(24, 1e-5).to(dtype)
    norm.weight.data = (1 + 0.3 * torch.randn(24, generator=generator)).to(dtype)
    upstream = torch.randn(2, 5, 24, generator=generator).to(dtype)
    close = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.02, "atol": 0.05}
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = norm(ours)
    y.backward(upstream)
    gradient, norm.weight.grad = norm.weight.grad, None
    square = theirs.float().square().mean(-1, keepdim=True)
    expected = (theirs.float() / torch.sqrt(square + 1e-5)).to(dtype) * norm.weight
    expected.backward(upstream)
    torch.testing.assert_close(y, expected, **close)
    torch.testing.assert_close(ours.grad, theirs.grad, **close)
    torch.testing.assert_close(gradient, norm.weight.grad, **close)


def test_gradients_agree_with_finite_differences():
    model = _model(GPTConfig(50, layers=1, width=8, heads=2, kv_heads=1)).double()
    tokens = _tokens(1, 4)

    def loss() -> torch.Tensor:
        return model(tokens).log_softmax(-1)[0, -1, 3]

    loss().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            where = int(parameter.grad.abs().argmax())
            flat, step = parameter.view(-1), 1e-3
            flat[where] += step
            above = loss()
            flat[where] -= 2 * step
            below = loss()
            flat[where] += step
            slope = (above - below) / (2 * step)
            # the norm and the rotation compute in float32, so the slope has about four digits
            torch.testing.assert_close(slope, parameter.grad.view(-1)[where], rtol=2e-2, atol=1e-3)


# --- With and without memory, with and without padding ------------------------------------------


@pytest.mark.parametrize("cuts", [[6, 7, 8, 13], [1, 2, 3], [12]])
def test_cached_logits_equal_uncached_ones(model, cuts):
    tokens = _tokens(3, 14)
    cache = model.new_cache(3, 14)
    edges = [0, *cuts, 14]
    with torch.no_grad():
        parts = [model(tokens[:, a:b], cache=cache) for a, b in itertools.pairwise(edges)]
        torch.testing.assert_close(torch.cat(parts, 1), model(tokens), rtol=0, atol=1e-5)
    assert cache.length == 14


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_no_logit_of_a_token(model, side):
    tokens, lengths = _tokens(3, 10), (10, 6, 1)
    padded, valid = torch.zeros(3, 10, dtype=torch.long), torch.zeros(3, 10, dtype=torch.bool)
    for row, length in enumerate(lengths):
        where = slice(10 - length, 10) if side == "left" else slice(0, length)
        padded[row, where] = tokens[row, :length]
        valid[row, where] = True
    with torch.no_grad():
        logits = model(padded, valid)
        assert bool(logits.isfinite().all())
        for row, length in enumerate(lengths):
            alone = model(tokens[row : row + 1, :length])[0]
            torch.testing.assert_close(logits[row, valid[row]], alone, rtol=0, atol=1e-5)


def test_left_padding_and_cache_together(model):
    tokens = _tokens(2, 12)
    padded = tokens.clone()
    padded[1, :4] = 0
    valid = torch.ones(2, 12, dtype=torch.bool)
    valid[1, :4] = False
    cache = model.new_cache(2, 12)
    with torch.no_grad():
        first = model(padded[:, :8], valid[:, :8], cache)
        rest = [model(padded[:, t : t + 1], cache=cache) for t in range(8, 12)]
        logits = torch.cat([first, *rest], dim=1)
        torch.testing.assert_close(logits[0], model(tokens[:1])[0], rtol=0, atol=1e-5)
        alone = model(tokens[1:, 4:])[0]
        torch.testing.assert_close(logits[1, 4:], alone, rtol=0, atol=1e-5)


def test_the_future_changes_nothing(model):
    tokens = _tokens(2, 9)
    other = tokens.clone()
    other[:, 5:] = (other[:, 5:] + 7) % 50
    with torch.no_grad():
        before, after = model(tokens), model(other)
    torch.testing.assert_close(before[:, :5], after[:, :5], rtol=0, atol=1e-6)
    assert not torch.allclose(before[:, 5:], after[:, 5:], atol=1e-3)


def test_a_mask_of_your_own_keeps_two_texts_apart():
    model = _model(SHAPES["grouped queries"])
    tokens = _tokens(1, 8)
    text = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1])
    mask = gpt.causal_mask(8, 8) & (text[:, None] == text[None])
    with torch.no_grad():
        hidden = model.transformer(model.embedding(tokens), mask=mask)
        alone = model.transformer(model.embedding(tokens[:, 5:]))
    # rotary positions are relative: starting at 5 instead of 0 changes nothing
    torch.testing.assert_close(hidden[:, 5:], alone, rtol=0, atol=1e-5)


def test_another_attention_and_mask_are_used_also_with_a_cache():
    calls = []

    def attend(q, k, v, mask):
        calls.append(mask.dtype)
        return gpt.attention_weights(q, k, mask) @ v

    def see(queries, keys):
        calls.append(torch.bool)
        return torch.arange(keys) <= torch.arange(keys - queries, keys)[:, None]

    model, tokens = _model(SHAPES["grouped queries"]), _tokens(2, 6)
    expected = model(tokens)
    with use({gpt.attention: attend, gpt.causal_mask: see}):
        torch.testing.assert_close(model(tokens), expected, rtol=0, atol=1e-5)
        assert calls == [torch.bool] * (1 + model.config.layers)
        cache = model.new_cache(2, 6)
        parts = [model(tokens[:, :5], cache=cache), model(tokens[:, 5:], cache=cache)]
        torch.testing.assert_close(torch.cat(parts, 1), expected, rtol=0, atol=1e-5)
    with use({gpt.causal_mask: lambda queries, keys: torch.ones(queries, keys).bool()}):
        assert not torch.allclose(model(tokens), expected, atol=1e-3)
    with use({gpt.residual_block: lambda x, *_: x}):
        torch.testing.assert_close(
            model.hidden(tokens), model.transformer.norm(model.embedding(tokens))
        )
    assert torch.equal(model(tokens), expected)


def test_attention_maps_show_the_weights_that_the_model_uses(model):
    tokens = _tokens(2, 6)
    maps = gpt.attention_maps(model, tokens)
    c = model.config
    assert maps.shape == (c.layers, 2, c.heads, 6, 6)
    torch.testing.assert_close(maps.sum(-1), torch.ones(maps.shape[:-1]))
    assert bool((maps.triu(1) == 0).all())
    used = []

    def watched(q, k, v, mask):
        used.append(gpt.attention_weights(q, k, mask))
        return used[-1] @ v

    with use({gpt.attention: watched}), torch.no_grad():
        model(tokens)
    torch.testing.assert_close(maps, torch.stack(used), rtol=0, atol=1e-5)


# --- Shapes, sizes, files ----------------------------------------------------------------------


def test_parameters_are_counted_once():
    tied, untied = (GPT(GPTConfig(50, layers=1, width=16, heads=2, tied=t)) for t in (True, False))
    assert untied.num_parameters() - tied.num_parameters() == 50 * 16
    hidden = tied.config.hidden
    expected = 50 * 16 + 4 * 16 * 16 + 3 * 16 * hidden + 3 * 16
    assert tied.num_parameters() == expected


def test_a_fresh_model_is_undecided():
    torch.manual_seed(0)
    logits = GPT(GPTConfig(50))(_tokens(4, 32))
    surprise = nn.functional.cross_entropy(logits.flatten(0, 1), _tokens(4, 32, seed=9).flatten())
    assert abs(surprise.item() - math.log(50)) < 0.1


@pytest.mark.parametrize("name", SHAPES)
def test_saved_and_loaded_models_are_the_same(name, tmp_path):
    model = _model(SHAPES[name])
    gpt.save(model, tmp_path / "model.safetensors")
    loaded = gpt.load(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    tokens = _tokens(2, 5)
    assert torch.equal(loaded(tokens), model(tokens))
    assert loaded.num_parameters() == model.num_parameters()
    half = gpt.load(tmp_path / "model.safetensors", dtype=torch.bfloat16)
    assert half.embedding.weight.dtype == torch.bfloat16


def test_a_damaged_file_is_named_in_a_sentence(tmp_path):
    path = tmp_path / "model.safetensors"
    gpt.save(_model(SHAPES["wide heads"]), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors holds no weights of the kind"):
        gpt.load(path)
    with pytest.raises(FileNotFoundError):
        gpt.load(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"heads": 5}, "width must be a multiple of heads, got 128 and 5"),
        ({"kv_heads": 3}, "heads must be a multiple of kv_heads, got 4 and 3"),
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"head_size": 7}, "head_size must be even for rotary positions, got 7"),
    ],
)
def test_impossible_shapes_are_refused_in_a_sentence(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        GPTConfig(50, **change)


def test_a_full_cache_says_so():
    model = _model(SHAPES["grouped queries"])
    cache = model.new_cache(1, 4)
    with pytest.raises(ValueError, match="room for 4 positions, got 5"):
        model(_tokens(1, 5), cache=cache)
