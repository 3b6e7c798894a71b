"""The transformer's experiments: what they train, count and fit, against independent answers."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.transformer import block_design, isoflop, kv_cache, pretrain_chars, transfer_counts
from benchmarks.transformer.side_by_side import train_together
from course_lib.lm import gpt, pretrain


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_models_trained_together_end_as_each_would_alone(norm):
    text = torch.randint(84, (2_000,), generator=torch.Generator().manual_seed(0))
    shape = replace(block_design.SHAPE, layers=2, width=16)
    recipe = replace(block_design.RECIPE, total_steps=6)
    configs = [
        replace(recipe, learning_rate=rate, warmup=warmup)
        for rate, warmup in ((1e-3, 0.0), (1e-2, 0.4))
    ]
    models = [block_design.new_model(block_design.Arm(norm), shape) for _ in configs]
    alone = copy.deepcopy(models)
    for model, config, seed in zip(alone, configs, (1, 2), strict=True):
        assert len(list(pretrain.train(model, text, config, seed))) == 6
    train_together(models, text, configs, [1, 2])
    for one, other in zip(alone, models, strict=True):
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
        assert other.head.weight is other.embedding.weight


def test_post_norm_keeps_the_stream_at_size_one_and_pre_norm_lets_it_grow():
    windows = torch.randint(84, (4, 32), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    post, pre, scaled = (
        block_design.first_look(block_design.new_model(arm), windows)["stream"]
        for arm in (
            block_design.Arm("post"),
            block_design.Arm("pre"),
            block_design.Arm("pre", std=0.02, scaled=True),
        )
    )
    assert post == pytest.approx([1.0] * 8, abs=1e-3)
    assert all(a < b for a, b in itertools.pairwise(pre))
    assert scaled[-1] == pytest.approx(scaled[0], rel=0.05)


@pytest.mark.parametrize("arm", block_design.FIRST_WEIGHTS)
def test_first_weights_have_the_spread_that_the_arm_names(arm):
    torch.manual_seed(0)
    block = block_design.new_model(arm).transformer.blocks[0]
    if arm.std is not None:
        assert block.attention.qkv.weight.std().item() == pytest.approx(arm.std, rel=0.1)
        last = arm.std / (4 if arm.scaled else 1)  # the root of 2 L, with 8 blocks
        assert block.feed_forward.down.weight.std().item() == pytest.approx(last, rel=0.1)


@pytest.mark.parametrize("tokens", [1, 9])
@pytest.mark.parametrize("cached", [True, False])
def test_multiply_adds_are_those_that_torch_counts(cached, tokens, monkeypatch):
    monkeypatch.setattr(gpt, "attention", gpt.attention.__wrapped__)  # the kernel is not counted
    model = gpt.GPT(kv_cache.SHAPE)
    write = kv_cache.write_with if cached else kv_cache.write_without
    with FlopCounterMode(display=False) as counter:
        text = write(model, torch.tensor([[0]]), tokens)
    assert text.shape == (1, 1 + tokens)
    counted = kv_cache.multiply_adds(kv_cache.SHAPE, tokens, cached)
    assert counted == counter.get_total_flops() / 2


def test_the_lowest_point_and_the_power_law_of_exact_curves_are_found():
    sizes = np.array([1e3, 3e3, 8e3, 2e4])
    assert isoflop.lowest(sizes, 3 + 0.1 * np.log(sizes / 5e3) ** 2) == pytest.approx(5e3)
    assert np.isnan(isoflop.lowest(sizes, 3 - 0.1 * np.log(sizes / 5e3) ** 2))
    budgets = [1e9, 2e9, 4e9]
    a, log_k = isoflop.power_law(budgets, [2 * budget**0.5 for budget in budgets])
    assert (a, np.exp(log_k)) == pytest.approx((0.5, 2.0))


def test_the_judge_of_exact_curves_predicts_the_held_out_budget():
    runs = [
        {"seed": seed, "budget": budget, "parameters": size}
        | {"bits_per_character": 3 + 0.1 * np.log(size / (0.1 * budget**0.5)) ** 2}
        for seed in (0, 1, 2)
        for budget in (1e9, 4e9, 16e9)
        for size in (2_000, 4_000, 8_000, 16_000)
    ]
    goals = {g.what: g.measured for g in isoflop.judge({"seeds": [0, 1, 2], "runs": runs})}
    law = next(v for k, v in goals.items() if "exponent" in k)
    held_out = next(v for k, v in goals.items() if "predicted" in k)
    assert law.startswith("0.50;") and "1.00 times" in held_out and "0.0000 bits" in held_out


def test_counts_for_a_test_text_give_the_bits_of_all_counts():
    train, more, test = "the king saw his crown. " * 9, "a film of kings. " * 7, "the kings film"
    tables = transfer_counts.counts_for(test, train)
    nothing = transfer_counts.counts_for(test, "")
    characters = len(set(train))
    alone = pretrain_chars.counted_bits(transfer_counts.added(tables, nothing), characters, test)
    assert alone == pytest.approx(pretrain_chars.count_bits(train, test, order=4))
    both = transfer_counts.added(tables, transfer_counts.counts_for(test, more))
    characters = len(set(train + more))
    bits = pretrain_chars.counted_bits(both, characters, test)
    # joined, the two texts have a few stretches more, across the seam
    assert bits == pytest.approx(pretrain_chars.count_bits(train + more, test, order=4), abs=0.1)
