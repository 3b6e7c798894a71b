"""Pretraining: the schedule, the windows, the loss against brute force, and that it learns."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_lib.classroom import use
from course_lib.lm import losses, pretrain
from course_lib.lm.gpt import GPT, GPTConfig

CONFIG = pretrain.Config(total_steps=40, batch_size=4, context=8, learning_rate=1e-2)


def tiny(seed: int = 0, context: int = 8) -> GPT:
    torch.manual_seed(seed)
    return GPT(GPTConfig(vocab_size=5, context=context, layers=1, width=16, heads=2))


def test_the_schedule_rises_in_a_line_and_falls_like_half_a_cosine():
    config = replace(CONFIG, total_steps=120, warmup=1 / 6, learning_rate=2.0, final_rate=0.1)
    rates = [pretrain.learning_rate(step, config) for step in range(1, 121)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0)
    assert rates[19] == pytest.approx(2.0) == max(rates)
    assert rates[69] == pytest.approx((2.0 + 0.2) / 2)  # half-way down
    assert rates[119] == pytest.approx(0.2)
    assert all(a > b for a, b in itertools.pairwise(rates[19:]))


def test_past_its_end_the_rate_stays_at_its_floor():
    config = replace(CONFIG, learning_rate=2.0, final_rate=0.1)
    rates = [pretrain.learning_rate(step, config) for step in (40, 41, 60, 80, 4000)]
    assert rates == pytest.approx([0.2] * 5)


def test_no_warmup_starts_near_the_highest_rate_and_one_step_is_possible():
    config = replace(CONFIG, warmup=0.0)
    assert pretrain.learning_rate(1, config) == pytest.approx(config.learning_rate, rel=0.01)
    assert (
        len(list(pretrain.train(tiny(), torch.arange(50) % 5, replace(CONFIG, total_steps=1)))) == 1
    )


def test_windows_are_stretches_of_the_text_and_reach_both_ends():
    tokens = torch.arange(12)
    generator = torch.Generator().manual_seed(0)
    windows = pretrain.random_windows(tokens, 2000, 5, generator)
    assert windows.shape == (2000, 5) and windows.dtype == torch.int64
    assert torch.equal(windows - windows[:, :1], torch.arange(5).expand(2000, 5))
    starts, counts = windows[:, 0].unique(return_counts=True)
    assert starts.tolist() == list(range(8))
    assert counts.min() > 190  # 250 expected, standard deviation 15


def test_a_text_shorter_than_a_window_is_a_sentence():
    with pytest.raises(ValueError, match="holds 3 tokens, fewer than a window of 4"):
        pretrain.random_windows(torch.arange(3), 1, 4, torch.Generator())


def test_small_integers_can_hold_the_text():
    tokens = (torch.arange(200) % 5).to(torch.uint8)
    record = next(pretrain.train(tiny(), tokens, CONFIG))
    assert math.isfinite(record["loss"])
    assert math.isfinite(pretrain.held_out_loss(tiny(), tokens))


def test_it_learns_a_pattern_that_needs_memory():
    """0 0 1 1 2 2 ...: after a digit comes the same or the next, and only the one before says."""
    tokens = (torch.arange(400) // 2) % 5
    model = tiny()
    before = pretrain.held_out_loss(model, tokens)
    config = replace(CONFIG, total_steps=150)
    records = list(pretrain.train(model, tokens, config, seed=1))
    after = pretrain.held_out_loss(model, tokens)
    assert before > 1.5 and after < 0.2 < math.log(2)  # log 2: knowing only the last digit
    assert records[-1]["loss"] < records[0]["loss"]


def test_records():
    records = list(pretrain.train(tiny(), torch.arange(100) % 5, CONFIG))
    assert [r["steps"] for r in records] == list(range(1, 41))
    assert records[-1]["tokens"] == 40 * 4 * 8
    assert all(r["bits"] == pytest.approx(r["loss"] / math.log(2)) for r in records)
    assert all(isinstance(v, int | float) for r in records for v in r.values())
    assert records[0]["loss"] == pytest.approx(math.log(5), abs=0.1)  # nothing known yet


def test_the_first_record_is_the_loss_before_any_update():
    model, tokens = tiny(), torch.arange(100) % 5
    seed = int(np.random.SeedSequence((3, 1)).generate_state(1)[0])
    windows = pretrain.random_windows(tokens, 4, 8, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        logits = model(windows)
    expected = F.cross_entropy(logits[:, :-1].flatten(0, 1), windows[:, 1:].flatten())
    record = next(pretrain.train(model, tokens, CONFIG, seed=3))
    assert record["loss"] == pytest.approx(expected.item(), abs=1e-6)


def test_the_seed_decides_the_run():
    def losses(seed):
        model = tiny()
        return [r["loss"] for r in pretrain.train(model, torch.arange(100) % 7 % 5, CONFIG, seed)]

    assert losses(1) == losses(1) != losses(2)


def test_updates_are_those_of_a_loop_written_out():
    tokens = torch.arange(100) % 7 % 5
    model, other = tiny(), tiny()
    config = replace(CONFIG, total_steps=3, weight_decay=0.0, max_grad_norm=1e9)
    list(pretrain.train(model, tokens, config, seed=3))
    seed = int(np.random.SeedSequence((3, 1)).generate_state(1)[0])
    generator = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(other.parameters(), betas=config.betas)
    for step in (1, 2, 3):
        windows = pretrain.random_windows(tokens, 4, 8, generator)
        logits = other(windows)
        gradients = torch.autograd.grad(
            F.cross_entropy(logits[:, :-1].flatten(0, 1), windows[:, 1:].flatten()),
            list(other.parameters()),
        )
        for parameter, gradient in zip(other.parameters(), gradients, strict=True):
            parameter.grad = gradient
        adam.param_groups[0]["lr"] = pretrain.learning_rate(step, config)
        adam.step()
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_another_loss_drives_the_run():
    seen = []

    def own(logits, tokens):
        seen.append((logits.shape, tokens.shape))
        return logits.square().mean(), {}

    with use({losses.next_token_loss: own}):
        list(pretrain.train(tiny(), torch.arange(99) % 5, CONFIG))
    assert seen == [((4, 8, 5), (4, 8))] * 40


def test_norms_are_not_decayed_and_each_weight_is_in_one_group():
    model = tiny()
    decayed, kept = pretrain.new_optimizer(model, CONFIG).param_groups
    assert decayed["weight_decay"] == 0.1 and kept["weight_decay"] == 0.0
    assert all(p.dim() >= 2 for p in decayed["params"]) and all(
        p.dim() == 1 for p in kept["params"]
    )
    assert len(kept["params"]) == 3  # two in the block, one at the end
    held = {id(p) for group in (decayed, kept) for p in group["params"]}
    assert held == {id(p) for p in model.parameters()}
    assert len(decayed["params"]) + len(kept["params"]) == len(held)  # the tied head once


def test_long_gradients_are_shortened():
    model, tokens = tiny(), torch.arange(100) % 5

    def steep(logits, tokens):
        return 1e4 * logits.mean(), {}

    with use({losses.next_token_loss: steep}):
        record = next(pretrain.train(model, tokens, replace(CONFIG, max_grad_norm=0.5)))
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert record["grad_norm"] > 1 and norm.item() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("length", [2, 5, 8, 9, 10, 13, 14, 57])
@pytest.mark.parametrize("context", [4, 5, 8])
def test_held_out_loss_judges_every_token_once_with_enough_before_it(length, context):
    """Against a loop over tokens that gives each the window it should have had."""
    tokens = torch.randint(5, (length,), generator=torch.Generator().manual_seed(length))
    model = tiny(context=context)
    total = 0.0
    stride = context // 2
    starts = [0, *range(stride, length - context, stride)]
    for target in range(1, length):
        fits = [s for s in starts if s <= target - 1 < s + context]
        # the earliest window that holds it; what no window reaches is read by one at the end
        start = fits[0] if fits else length - 1 - context
        with torch.no_grad():
            logits = model(tokens[None, start:target])[0, -1]
        total += F.cross_entropy(logits, tokens[target]).item()
        assert target - start >= min(target, context - stride)
    found = pretrain.held_out_loss(model, tokens, batch_size=3)
    assert found == pytest.approx(total / (length - 1), abs=1e-5)


def test_held_out_loss_is_deterministic_and_leaves_the_mode_alone():
    tokens = torch.arange(100) % 5
    model = tiny().train()
    assert pretrain.held_out_loss(model, tokens) == pretrain.held_out_loss(model, tokens)
    assert model.training


def test_held_out_loss_of_an_ignorant_model_is_log_v():
    model = tiny()
    torch.nn.init.zeros_(model.embedding.weight)
    found = pretrain.held_out_loss(model, torch.arange(30) % 5)
    assert found == pytest.approx(math.log(5))


def test_too_little_text_or_context_is_a_sentence():
    with pytest.raises(ValueError, match="needs 2 tokens and a window of 2 at least, got 1 tok"):
        pretrain.held_out_loss(tiny(), torch.tensor([1]))
    with pytest.raises(ValueError, match=r"a window of 1$"):
        pretrain.held_out_loss(tiny(), torch.arange(5), context=1)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("total_steps", 0, "at least 1"),
        ("context", 1, "at least 2"),
        ("learning_rate", 0.0, "above 0"),
        ("warmup", 1.5, "lie in"),
        ("weight_decay", -1.0, "not be negative"),
    ],
)
def test_settings_out_of_range_are_refused(field, value, words):
    with pytest.raises(ValueError, match=rf"{field} must (be )?{words}.*, got {value}"):
        replace(CONFIG, **{field: value})
