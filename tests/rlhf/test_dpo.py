"""DPO and IPO: losses by hand, what cancels, the frozen reference, and that it learns."""

import copy
import math
from dataclasses import replace
from itertools import islice

import pytest
import torch

from course_lib.classroom import use
from course_lib.lessons.dpo_grpo import exercises
from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.rlhf import dpo
from course_lib.rlhf.dpo import Config
from course_lib.rlhf.reward_model import Comparison

SMALL = GPTConfig(vocab_size=20, layers=2, width=32, heads=4, kv_heads=2)
END = 1


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = GPT(SMALL)
    for parameter in model.parameters():
        parameter.data.mul_(3) if parameter.dim() == 2 else None
    return model


def pairs():
    """Whoever writes sevens is preferred to whoever writes eights; the sides alternate."""
    rows = []
    for i in range(12):
        seven, eight = [7] * (1 + i % 3) + [END], [8] * (1 + i % 2) + [END]
        prompt = [2 + i % 4, 6]
        sides = (seven, eight, 1.0) if i % 2 else (eight, seven, 0.0)
        rows.append(Comparison(prompt, *sides))
    return rows


def drawn(rows=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [-5 + 2 * torch.randn(rows, generator=generator) for _ in range(4)]


def test_dpo_by_hand():
    c, r, ref_c, ref_r = drawn()
    loss, metrics = dpo.dpo_loss(c, r, ref_c, ref_r, 0.3)
    margins = [0.3 * ((c[i] - ref_c[i]) - (r[i] - ref_r[i])).item() for i in range(5)]
    assert loss.item() == pytest.approx(sum(math.log1p(math.exp(-m)) for m in margins) / 5)
    assert metrics["margin"].item() == pytest.approx(sum(margins) / 5)
    assert metrics["accuracy"].item() == pytest.approx(sum(m > 0 for m in margins) / 5)
    assert metrics["logp_chosen"] == c.mean() and metrics["logp_rejected"] == r.mean()


def test_ipo_by_hand_with_sums_and_with_means():
    c, r, ref_c, ref_r = drawn()
    n = torch.tensor([1, 2, 3, 4, 5]), torch.tensor([2, 2, 2, 2, 2])
    loss = dpo.dpo_loss(c, r, ref_c, ref_r, 0.5, "ipo")[0]
    margin = (c - ref_c) - (r - ref_r)
    assert loss.item() == pytest.approx(((margin - 1.0) ** 2).mean().item())
    loss = dpo.dpo_loss(c, r, ref_c, ref_r, 0.5, "ipo", n)[0]
    margin = (c - ref_c) / n[0] - (r - ref_r) / n[1]
    assert loss.item() == pytest.approx(((margin - 1.0) ** 2).mean().item())


def test_the_gradient_is_weighted_by_how_wrong_the_pair_is():
    """Equation 7's gradient: beta * sigmoid(-margin), up for the chosen, down for the rejected."""
    c, r, ref_c, ref_r = drawn()
    c.requires_grad_(), r.requires_grad_()
    dpo.pair_loss(c, r, ref_c, ref_r, 0.3).sum().backward()
    weight = 0.3 * torch.sigmoid(-0.3 * ((c - ref_c) - (r - ref_r)))
    torch.testing.assert_close(c.grad, -weight.detach())
    torch.testing.assert_close(r.grad, weight.detach())


def test_at_the_start_the_margin_is_zero_and_the_loss_log_two(model):
    first = next(dpo.train(model, pairs(), Config(batch_size=12)))
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["margin"] == pytest.approx(0, abs=1e-6)


def test_whole_responses_count_and_the_prompt_does_not(model):
    some = [Comparison([2, 3, 4], [7, 8, END], [7, END]), Comparison([5], [9, END], [END])]
    logp, lengths = dpo.summed_logp(model, some)
    for pair, totals in zip(some, logp.T.tolist(), strict=True):
        for response, total in zip((pair.a, pair.b), totals, strict=True):
            rows = model(torch.tensor([[*pair.prompt, *response]]))[0].log_softmax(-1)
            at = range(len(pair.prompt) - 1, len(pair.prompt) + len(response) - 1)
            by_hand = sum(rows[t, x].item() for t, x in zip(at, response, strict=True))
            assert total == pytest.approx(by_hand, abs=1e-4)
    assert lengths.tolist() == [[3, 2], [2, 1]]


def test_the_prompt_cancels_in_dpo(model):
    """Both responses follow the same prompt: counting a part of it with them changes no margin."""
    counted = [Comparison(p[:1], [*p[1:], *a], [*p[1:], *b], s) for p, a, b, s in pairs()]
    other = copy.deepcopy(model)
    a = list(islice(dpo.train(model, pairs(), Config()), 4))
    b = list(islice(dpo.train(other, counted, Config()), 4))
    for one, two in zip(a, b, strict=True):
        assert one["margin"] == pytest.approx(two["margin"], abs=1e-3)
        assert one["logp_chosen"] > two["logp_chosen"] + 1


@pytest.mark.parametrize("kind", ["dpo", "ipo"])
def test_it_learns_to_prefer(model, kind):
    config = Config(total_steps=40, batch_size=8, kind=kind, beta=0.3, learning_rate=3e-3)
    rows = list(dpo.train(model, pairs(), config))
    assert rows[-1]["accuracy"] == 1 and rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[-1]["margin"] > 0.3


def test_micro_batches_give_the_same_update(model):
    other = copy.deepcopy(model)
    config = Config(total_steps=3, batch_size=8, micro_batch=8)
    a = list(dpo.train(model, pairs(), config))
    b = list(dpo.train(other, pairs(), replace(config, micro_batch=3)))
    for one, two in zip(a, b, strict=True):
        assert one == pytest.approx(two, abs=1e-3)


def test_ties_are_left_out_and_sides_do_not_matter(model):
    turned = [Comparison(p, b, a, 1 - share) for p, a, b, share in pairs()]
    tie = Comparison([2], [3], [4], 0.5)
    a = list(islice(dpo.train(copy.deepcopy(model), pairs(), Config()), 2))
    b = list(islice(dpo.train(copy.deepcopy(model), [*turned, tie], Config()), 2))
    assert len(b) == 2 and a == b
    with pytest.raises(ValueError, match="at least one pair that is not a tie"):
        next(dpo.train(model, [tie], Config()))


def test_a_drifting_reference_never_sees_a_margin(model):
    with use(exercises.pair_loss.mistake("the reference drifts")):
        rows = list(islice(dpo.train(model, pairs(), Config()), 5))
    assert all(row["loss"] == pytest.approx(math.log(2)) for row in rows)
    assert rows[-1]["logp_rejected"] < rows[0]["logp_rejected"]


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("beta", 0.0, "beta must be above 0, got 0.0"),
        ("kind", "kto", 'kind must be "dpo" or "ipo"'),
        ("batch_size", 0, "batch_size must be at least 1"),
        ("warmup", 2.0, r"warmup must lie in \[0, 1\]"),
    ],
)
def test_impossible_settings_are_refused_in_a_sentence(field, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        Config(**{field: value})


def test_a_frozen_model_is_refused(model):
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing would learn"):
        next(dpo.train(model, pairs(), Config()))
