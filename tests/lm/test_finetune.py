"""Fine-tuning: which tokens count, packing, micro-batches, and that it learns."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import log_softmax

from course_lib.classroom import use
from course_lib.lm import finetune, lora
from course_lib.lm.finetune import Config, Example
from course_lib.lm.gpt import GPT, GPTConfig

SMALL = GPTConfig(vocab_size=40, layers=2, width=32, heads=4, kv_heads=2)
LENGTHS = [(3, 4), (5, 2), (2, 6), (7, 7), (1, 1), (4, 3), (1, 5)]


def examples(lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    draw = lambda n: rng.integers(1, SMALL.vocab_size, size=n).tolist()  # noqa: E731
    return [Example(draw(p), draw(r)) for p, r in lengths]


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = GPT(SMALL)
    for parameter in model.parameters():  # larger than at the start: attention is not uniform
        parameter.data.mul_(3) if parameter.dim() == 2 else None
    return model


def by_hand(model, rows):
    """The mean surprise over response tokens, each example alone, no padding, no mask."""
    surprise = []
    for prompt, response in rows:
        logp = log_softmax(model(torch.tensor([[*prompt, *response]]))[0], dim=-1)
        surprise += [-logp[len(prompt) - 1 + i, token] for i, token in enumerate(response)]
    return torch.stack(surprise).mean()


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_response_mask_by_hand():
    mask = finetune.response_mask(torch.tensor([2, 1, 3]), torch.tensor([4, 5, 4]), 5)
    expected = [[0, 0, 1, 1, 0], [0, 1, 1, 1, 1], [0, 0, 0, 1, 0]]
    assert mask.dtype == torch.bool and mask.int().tolist() == expected


def test_collate_on_either_side():
    rows = [Example([1, 2], [3]), Example([4], [5, 6, 7])]
    right = finetune.collate(rows, pad=9)
    assert right.tokens.tolist() == [[1, 2, 3, 9], [4, 5, 6, 7]]
    assert right.valid_mask.int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert right.response_mask.int().tolist() == [[0, 0, 1, 0], [0, 1, 1, 1]]
    left = finetune.collate(rows, pad=9, side="left")
    assert left.tokens.tolist() == [[9, 1, 2, 3], [4, 5, 6, 7]]
    assert left.valid_mask.int().tolist() == [[0, 1, 1, 1], [1, 1, 1, 1]]
    assert left.response_mask.int().tolist() == [[0, 0, 0, 1], [0, 1, 1, 1]]


def test_pack_by_hand():
    rows = [Example([1, 2], [3]), Example([4], [5, 6, 7]), Example([8], [9])]
    packed = finetune.pack(finetune.collate(rows), 5)
    assert packed.tokens.tolist() == [[4, 5, 6, 7, 0], [1, 2, 3, 8, 9]]
    assert packed.valid_mask.int().tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert packed.response_mask.int().tolist() == [[0, 1, 1, 1, 0], [0, 0, 1, 0, 1]]
    sees = packed.mask[1].int().tolist()
    assert sees == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 1, 1],
    ]


def test_pack_loses_nothing():
    rows = examples([(1 + i % 5, 1 + i % 7) for i in range(50)])
    packed = finetune.pack(finetune.collate(rows), 24)
    assert packed.valid_mask.sum() == sum(len(p) + len(r) for p, r in rows)
    assert packed.response_mask.sum() == sum(len(r) for _, r in rows)
    assert packed.tokens.shape[1] <= 24 and len(packed.tokens) < 16
    long = finetune.pack(finetune.collate(examples([(20, 20), (2, 2)])), 24)
    assert long.tokens.shape == (2, 40)


@pytest.mark.parametrize("shape", ["right", "left", "packed", "all in one row"])
def test_loss_and_gradients_do_not_depend_on_the_batch(model, shape):
    rows = examples()
    batch = finetune.collate(rows, side="left" if shape == "left" else "right")
    if shape in ("packed", "all in one row"):
        batch = finetune.pack(batch, 16 if shape == "packed" else 1000)
        assert len(batch.tokens) == (4 if shape == "packed" else 1)
    loss, metrics = finetune.sft_loss(finetune.batch_logp(model, batch), batch.response_mask)
    expected = by_hand(model, rows)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    assert metrics["loss"] == loss
    pairs = zip(gradients(model, loss), gradients(model, expected), strict=True)
    for mine, alone in pairs:
        torch.testing.assert_close(mine, alone, rtol=1e-5, atol=1e-5)


def test_an_example_in_a_packed_row_does_not_see_its_neighbour(model):
    rows = examples([(4, 4), (3, 5)])
    changed = [rows[0], Example([1, 1, 1], [2, 2, 2, 2, 2])]
    own = [
        finetune.batch_logp(model, finetune.pack(finetune.collate(pair), 100))[0, :8]
        for pair in (rows, changed)
    ]
    torch.testing.assert_close(*own, rtol=0, atol=0)


def test_the_first_token_of_a_packed_example_is_never_learned():
    batch = finetune.collate(examples([(2, 2), (2, 2)]))
    batch = batch._replace(response_mask=batch.valid_mask)
    packed = finetune.pack(batch, 8)
    assert packed.response_mask.int().tolist() == [[0, 1, 1, 1, 0, 1, 1, 1]]


def test_micro_batches_add_up_to_the_batch(model):
    batch = finetune.collate(examples())
    whole, _ = finetune.sft_loss(finetune.batch_logp(model, batch), batch.response_mask)
    expected = gradients(model, whole)
    model.zero_grad()
    count, total = int(batch.response_mask.sum()), 0.0
    parts = list(finetune.micro_batches(batch, 3))
    assert [len(p.tokens) for p in parts] == [3, 3, 1]
    assert parts[2].tokens.shape[1] == 6  # the columns of padding are gone
    for part in parts:
        loss, _ = finetune.sft_loss(finetune.batch_logp(model, part), part.response_mask, count)
        loss.backward()
        total += loss.item()
    assert total == pytest.approx(whole.item(), abs=1e-6)
    for parameter, wanted in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-5, atol=1e-6)


def test_sft_loss_by_hand():
    logp = torch.tensor([[0.0, -1.0, -2.0], [-5.0, -3.0, -9.0]])
    mask = torch.tensor([[0, 1, 1], [0, 1, 0]])
    assert finetune.sft_loss(logp, mask)[0].item() == pytest.approx(2.0)
    assert finetune.sft_loss(logp, mask, count=6)[0].item() == pytest.approx(1.0)
    assert finetune.sft_loss(logp, torch.zeros_like(mask))[0].item() == 0.0


@pytest.mark.parametrize("row_length", [None, 20])
def test_train_learns_the_responses_and_reports(model, row_length):
    config = Config(
        total_steps=60, batch_size=4, micro_batch=2, row_length=row_length, learning_rate=1e-2
    )
    records = list(finetune.train(model, examples(), config))
    assert [r["steps"] for r in records] == list(range(1, 61))
    assert records[-1]["examples"] == 240 and records[-1]["tokens"] > 500
    assert records[0]["loss"] > 3 and records[-1]["loss"] < 0.1
    assert max(r["lr"] for r in records) == pytest.approx(1e-2) and records[-1]["lr"] < 2e-4
    assert by_hand(model, examples()).item() < 0.1


def test_packed_and_unpacked_training_agree():
    results = []
    for row_length in (None, 24):
        torch.manual_seed(1)
        model = GPT(SMALL)
        config = Config(total_steps=5, batch_size=5, row_length=row_length, learning_rate=1e-3)
        results.append([r["loss"] for r in finetune.train(model, examples(), config, seed=3)])
    assert results[0] == pytest.approx(results[1], abs=1e-5)


def test_prompts_are_not_learned():
    """One prompt, two models: only what stands in the response becomes probable."""
    torch.manual_seed(0)
    model = GPT(SMALL)
    row = Example([5, 6, 7, 8], [9, 10])
    before = by_hand(model, [Example([5], [6, 7, 8])]).item()
    config = Config(total_steps=30, batch_size=1, row_length=None, learning_rate=1e-2)
    list(finetune.train(model, [row], config))
    assert by_hand(model, [row]).item() < 1.0
    assert by_hand(model, [Example([5], [6, 7, 8])]).item() > before


def test_a_replaced_response_mask_drives_training(model):
    widths = []

    def nothing(prompt_lengths, lengths, T):
        widths.append(T)
        return torch.zeros(len(lengths), T, dtype=torch.bool)

    before = [p.detach().clone() for p in model.parameters()]
    config = Config(total_steps=2, batch_size=3)
    with use({finetune.response_mask: nothing}):
        records = list(finetune.train(model, examples(), config))
    assert len(widths) == 2 and records[-1]["tokens"] == 0 and records[-1]["loss"] == 0
    after = list(model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_every_example_once_per_pass(model):
    rows = [Example([i + 1], [i + 1]) for i in range(6)]
    seen = []

    usual = finetune.collate

    def collate(chosen, **named):
        seen.append([e.prompt[0] for e in chosen])
        return usual(chosen, **named)

    finetune.collate = collate
    try:
        list(finetune.train(model, rows, Config(total_steps=3, batch_size=2)))
        list(finetune.train(model, rows, Config(total_steps=3, batch_size=2), seed=1))
    finally:
        finetune.collate = usual
    first, second = ([i for batch in part for i in batch] for part in (seen[:3], seen[3:]))
    assert sorted(first) == sorted(second) == [1, 2, 3, 4, 5, 6] and first != second


def test_trains_adapters_of_a_bfloat16_model(model):
    model.to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"are torch\.bfloat16, where small updates"):
        next(finetune.train(model, examples(), Config()))
    frozen = model.transformer.blocks[0].attention.qkv.weight.detach().clone()
    lora.apply(model, lora.Config(rank=8))
    config = Config(total_steps=80, batch_size=7, learning_rate=2e-2, micro_batch=8)
    records = list(finetune.train(model, examples(), config))
    assert records[-1]["loss"] < 0.7 * records[0]["loss"]
    assert torch.equal(model.transformer.blocks[0].attention.qkv.base.weight, frozen)


def test_the_rate_rises_and_falls_in_lines():
    config = Config(total_steps=10, warmup=0.2, learning_rate=8.0)
    rates = [finetune.learning_rate(step, config) for step in range(1, 11)]
    assert rates == pytest.approx([4, 8, 8, 7, 6, 5, 4, 3, 2, 1])
    flat = Config(total_steps=4, warmup=0.0, learning_rate=4.0)
    assert [finetune.learning_rate(s, flat) for s in (1, 4)] == pytest.approx([4, 1])
    assert [finetune.learning_rate(s, flat) for s in (5, 6, 40)] == [0, 0, 0], "past its end"


def test_sentences_for_what_cannot_be(model):
    with pytest.raises(ValueError, match="at least one example"):
        next(finetune.train(model, [], Config()))
    with pytest.raises(ValueError, match="of at least one token"):
        finetune.collate([Example([], [1])])
    with pytest.raises(ValueError, match="side must be"):
        finetune.collate(examples(), side="both")
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing would learn"):
        next(finetune.train(model, examples(), Config()))
    for wrong in ({"batch_size": 0}, {"row_length": 1}, {"learning_rate": 0.0}, {"warmup": 2.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Config(**wrong)


def test_a_uniform_model_is_surprised_by_log_v():
    model = GPT(SMALL)
    model.head.weight.data.zero_()
    batch = finetune.collate(examples())
    loss, _ = finetune.sft_loss(finetune.batch_logp(model, batch), batch.response_mask)
    assert loss.item() == pytest.approx(math.log(SMALL.vocab_size), abs=1e-6)
