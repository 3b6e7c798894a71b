"""LoRA: equal to the peft package, closed forms, and files that do not fit."""

import copy

import pytest
import torch
from torch import nn

from course_lib.classroom import use
from course_lib.lm import gpt, lora
from course_lib.lm.gpt import GPT, GPTConfig

SMALL = GPTConfig(vocab_size=31, layers=3, width=32, heads=4, kv_heads=2)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GPT(SMALL)


@pytest.fixture
def tokens():
    return torch.randint(SMALL.vocab_size, (2, 9), generator=torch.Generator().manual_seed(1))


def stir(model, seed=2):
    """Adapters as after some training: B is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    for layer in lora.adapters(model).values():
        layer.b.data.normal_(std=0.3, generator=generator)


def test_forward_by_hand():
    weight = torch.tensor([[1.0, 2.0], [0.0, 1.0], [3.0, 0.0]])
    a, b = torch.tensor([[1.0, -1.0]]), torch.tensor([[2.0], [0.0], [1.0]])
    x = torch.tensor([[1.0, 1.0], [2.0, 0.0]])
    # W x is (3, 1, 3) and (2, 0, 6); A x is 0 and 2; B A x is (0, 0, 0) and (4, 0, 2)
    expected = torch.tensor([[3.0, 1.0, 3.0], [4.0, 0.0, 7.0]])
    torch.testing.assert_close(lora.lora_forward(x, weight, a, b, 0.5), expected)
    merged = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.5, -0.5]])
    torch.testing.assert_close(lora.merge_weight(weight, a, b, 0.5), merged)


def test_forward_equals_the_merged_matrix():
    generator = torch.Generator().manual_seed(0)
    weight, a, b = (torch.randn(s, generator=generator) for s in ((7, 5), (2, 5), (7, 2)))
    x = torch.randn(3, 4, 5, generator=generator)
    expected = x @ lora.merge_weight(weight, a, b, 1.7).T
    torch.testing.assert_close(lora.lora_forward(x, weight, a, b, 1.7), expected)


def test_a_bfloat16_base_keeps_its_dtype_and_the_adapter_its_precision():
    weight = torch.eye(4, dtype=torch.bfloat16)
    a, b = torch.full((1, 4), 0.5), torch.full((4, 1), 2.0**-9)
    x = torch.ones(1, 4, dtype=torch.bfloat16)
    y = lora.lora_forward(x, weight, a, b, 1.0)
    assert y.dtype == torch.bfloat16
    assert lora.merge_weight(weight, a, b, 1.0).dtype == torch.bfloat16
    # In bfloat16 the off-diagonal 2 ** -10 survives, and is added to 1 before it is rounded.
    torch.testing.assert_close(
        lora.merge_weight(weight, a, b, 1.0).float()[0, 1], torch.tensor(2.0**-10)
    )


def test_equals_peft(model, tokens):
    peft = pytest.importorskip("peft")
    theirs = copy.deepcopy(model)
    names = ["qkv", "out", "gate", "up", "down"]
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules=names, lora_dropout=0.0)
    wrapped = peft.get_peft_model(theirs, settings)
    lora.apply(model, lora.Config(rank=4, alpha=8))
    stir(model)
    layers = {n: m for n, m in wrapped.named_modules() if hasattr(m, "lora_A")}
    assert len(layers) == len(lora.adapters(model)) == 15
    for name, ours in lora.adapters(model).items():
        layer = layers[f"base_model.model.{name}"]
        layer.lora_A.default.weight.data.copy_(ours.a.data)
        layer.lora_B.default.weight.data.copy_(ours.b.data)
    goal = torch.randn(2, 9, SMALL.vocab_size, generator=torch.Generator().manual_seed(3))
    outputs = []
    for one in (model, wrapped.base_model.model):
        out = one(tokens)
        (out * goal).sum().backward()
        outputs.append(out)
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    for name, ours in lora.adapters(model).items():
        layer = layers[f"base_model.model.{name}"]
        for mine, other in ((ours.a, layer.lora_A.default), (ours.b, layer.lora_B.default)):
            assert mine.grad.abs().max() > 0
            torch.testing.assert_close(mine.grad, other.weight.grad, rtol=1e-5, atol=1e-5)


def test_an_adapted_model_begins_as_the_model_that_it_was(model, tokens):
    before = model(tokens)
    lora.apply(model, lora.Config(rank=4))
    torch.testing.assert_close(model(tokens), before, rtol=0, atol=0)


def test_only_adapters_learn(model, tokens):
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    trained = lora.apply(model, lora.Config(rank=2, layers=1))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == {id(p) for p in trained}
    for _ in range(2):  # A gets a gradient once B is no longer zero
        model(tokens).square().sum().backward()
        optimizer.step()
    for name, parameter in model.named_parameters():
        if ".base." in name or name in weights:
            assert torch.equal(parameter, weights[name.replace(".base.", ".")])
    assert all(p.abs().max() > 0 for p in trained)


def test_which_layers(model):
    lora.apply(model, lora.Config(targets=("qkv", "down"), layers=2))
    assert sorted(lora.adapters(model)) == [
        "transformer.blocks.1.attention.qkv",
        "transformer.blocks.1.feed_forward.down",
        "transformer.blocks.2.attention.qkv",
        "transformer.blocks.2.feed_forward.down",
    ]


def test_layers_are_counted_by_number_not_by_name():
    model = GPT(GPTConfig(vocab_size=5, layers=11, width=8, heads=2))
    lora.apply(model, lora.Config(targets=("out",), layers=2))
    blocks = [name.split(".")[2] for name in lora.adapters(model)]
    assert blocks == ["9", "10"]


def test_same_seed_same_start(model):
    other = GPT(SMALL)
    lora.apply(model, lora.Config(), seed=5)
    lora.apply(other, lora.Config(), seed=5)
    pairs = zip(lora.adapters(model).values(), lora.adapters(other).values(), strict=True)
    starts = [(mine.a, theirs.a) for mine, theirs in pairs]
    assert all(torch.equal(*pair) for pair in starts)
    limit = 32**-0.5  # Kaiming-uniform with a = sqrt(5): within 1 / sqrt(inputs)
    assert 0.9 * limit < starts[0][0].abs().max() <= limit


def test_merge_all_and_unmerge(model, tokens):
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    lora.apply(model, lora.Config(rank=4))
    stir(model)
    adapted = model(tokens)
    lora.merge_all(model)
    lora.merge_all(model)  # a second time changes nothing
    torch.testing.assert_close(model(tokens), adapted, rtol=1e-4, atol=1e-5)
    lora.unmerge(model)
    for name, layer in lora.adapters(model).items():
        assert torch.equal(layer.base.weight, weights[f"{name}.weight"])
    torch.testing.assert_close(model(tokens), adapted, rtol=0, atol=0)


def test_unmerge_is_exact_in_bfloat16(model):
    model.to(torch.bfloat16)
    before = model.transformer.blocks[0].attention.qkv.weight.detach().clone()
    lora.apply(model, lora.Config())
    assert all(layer.a.dtype == torch.float32 for layer in lora.adapters(model).values())
    stir(model)
    lora.merge_all(model)
    layer = model.transformer.blocks[0].attention.qkv
    assert not torch.equal(layer.base.weight, before)
    lora.unmerge(model)
    assert torch.equal(layer.base.weight, before)


def test_merged_then_removed_is_an_ordinary_model(model, tokens, tmp_path):
    lora.apply(model, lora.Config(rank=4))
    stir(model)
    adapted = model(tokens)
    lora.merge_all(model)
    lora.remove(model)
    assert not lora.adapters(model) and type(model.transformer.blocks[0].attention.qkv) is nn.Linear
    gpt.save(model, tmp_path / "m.safetensors")
    again = gpt.load(tmp_path / "m.safetensors")
    torch.testing.assert_close(again(tokens), adapted, rtol=1e-4, atol=1e-5)


def test_removed_without_merging_is_the_old_model(model, tokens):
    before = model(tokens)
    lora.apply(model, lora.Config())
    stir(model)
    lora.remove(model)
    torch.testing.assert_close(model(tokens), before, rtol=0, atol=0)
    lora.apply(model, lora.Config())  # and it can be adapted again


def test_a_replacement_is_used_and_taken_back(model, tokens):
    calls, zeros = [], lambda weight, a, b, scale: torch.zeros_like(weight)
    usual = lora.lora_forward

    def counted(x, weight, a, b, scale):
        calls.append(scale)
        return usual(x, weight, a, b, scale)

    lora.apply(model, lora.Config(rank=4, alpha=12, layers=1))
    with use({usual: counted, lora.merge_weight: zeros}):
        model(tokens)
        lora.merge_all(model)
    assert calls == [3.0] * 5
    assert model.transformer.blocks[2].attention.qkv.base.weight.abs().max() == 0
    lora.unmerge(model)
    model(tokens)
    assert len(calls) == 5


def test_files_hold_adapters_only_and_come_back(model, tokens, tmp_path):
    path = tmp_path / "adapters.safetensors"
    other = GPT(SMALL)
    other.load_state_dict(model.state_dict())
    third = GPT(SMALL)
    third.load_state_dict(model.state_dict())
    config = lora.Config(rank=2, alpha=5, targets=("qkv",), layers=2)
    lora.apply(model, config)
    stir(model)
    lora.save_adapters(model, path)
    numbers = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert numbers * 4 < path.stat().st_size < numbers * 4 + 2000
    lora.load_adapters(other, path)  # without adapters: it gets the stored kind
    torch.testing.assert_close(other(tokens), model(tokens), rtol=0, atol=0)
    assert other.lora_config == config
    lora.apply(third, config, seed=9)  # with adapters of the same shape
    lora.load_adapters(third, path)
    torch.testing.assert_close(third(tokens), model(tokens), rtol=0, atol=0)


def test_files_that_do_not_fit(model, tokens, tmp_path):
    path = tmp_path / "adapters.safetensors"
    lora.apply(model, lora.Config(rank=2, layers=1))
    lora.save_adapters(model, path)
    wider = GPT(GPTConfig(vocab_size=31, layers=3, width=64, heads=4, kv_heads=2))
    with pytest.raises(ValueError, match=r"do not fit: .*\.a has the shape \(2, 32\).*\(2, 64\)"):
        lora.load_adapters(wider, path)
    assert not lora.adapters(wider) and all(p.requires_grad for p in wider.parameters())
    deeper = GPT(GPTConfig(vocab_size=31, layers=4, width=32, heads=4, kv_heads=2))
    with pytest.raises(ValueError, match=r"for other layers: .* is only in"):
        lora.load_adapters(deeper, path)
    lora.remove(model)
    lora.apply(model, lora.Config(rank=4, layers=1))
    before = model(tokens)
    with pytest.raises(ValueError, match=r"has the shape \(2, 32\), the model's has \(4, 32\)"):
        lora.load_adapters(model, path)
    torch.testing.assert_close(model(tokens), before, rtol=0, atol=0)
    gpt.save(GPT(SMALL), tmp_path / "gpt.safetensors")
    with pytest.raises(ValueError, match="of the kind 'lora'"):
        lora.load_adapters(GPT(SMALL), tmp_path / "gpt.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="of the kind 'lora'"):
        lora.load_adapters(GPT(SMALL), tmp_path / "cut.safetensors")


def test_merged_adapters_are_not_overwritten(model, tmp_path):
    lora.apply(model, lora.Config())
    lora.save_adapters(model, tmp_path / "a.safetensors")
    lora.merge_all(model)
    with pytest.raises(ValueError, match=r"merged: call `lora\.unmerge` first"):
        lora.load_adapters(model, tmp_path / "a.safetensors")


def test_sentences_for_what_cannot_be(model, tmp_path):
    with pytest.raises(ValueError, match="no Linear layer of this model is called q_proj"):
        lora.apply(model, lora.Config(targets=("q_proj",)))
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="no adapters to save"):
        lora.save_adapters(model, tmp_path / "a.safetensors")
    lora.apply(model, lora.Config())
    with pytest.raises(ValueError, match="already has adapters"):
        lora.apply(model, lora.Config())
    biased = nn.ModuleDict({"out": nn.Linear(3, 3)})
    with pytest.raises(ValueError, match="without bias"):
        lora.apply(biased, lora.Config(targets=("out",)))
    for wrong in ({"rank": 0}, {"alpha": 0.0}, {"layers": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            lora.Config(**wrong)
