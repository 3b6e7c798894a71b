"""Other right ways to solve the exercises of lessons 05 and 06: they must be accepted."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_lib.classroom.check import check
from course_lib.lessons.adaptation import exercises as adaptation
from course_lib.lessons.transformer import exercises as transformer


def attention_by_pytorch(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def attention_by_einsum(q, k, v, mask):
    scores = torch.einsum("...td,...sd->...ts", q, k) * q.shape[-1] ** -0.5
    weights = torch.softmax(torch.where(mask, scores, torch.finfo(scores.dtype).min), dim=-1)
    return torch.einsum("...ts,...sd->...td", weights, v)


def mask_by_comparison(queries, keys):
    return torch.arange(keys)[None] <= torch.arange(keys - queries, keys)[:, None]


def block_in_one_line(x, norm1, attention, norm2, feed_forward):
    return (y := x + attention(norm1(x))) + feed_forward(norm2(y))


def nll_by_cross_entropy(logits, tokens):
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")


def nll_by_logsumexp(logits, tokens):
    guesses = logits[:, :-1]
    return guesses.logsumexp(-1) - guesses.gather(-1, tokens[:, 1:, None]).squeeze(-1)


def top_p_by_shifting(logits, p):  # the order of steps in transformers' TopPLogitsWarper
    ordered, order = torch.sort(logits, descending=False, dim=-1)
    remove = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    remove[..., -1:] = False
    return logits.masked_fill(remove.scatter(-1, order, remove), -torch.inf)


def top_p_by_argsort(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True)
    shares = ordered.softmax(-1)
    ordered[shares.cumsum(-1) - shares >= p] = -torch.inf
    return ordered.gather(-1, order.argsort(-1))


def prompt_by_adding(instruction, shots, question):
    text = instruction + "\n\n" if instruction else ""
    for asked, answer in shots:
        text += f"Input: {asked}\nOutput: {answer}\n\n"
    return text + f"Input: {question}\nOutput:"


def mask_by_rows(prompt_lengths, lengths, T):
    mask = torch.zeros(len(lengths), T, dtype=torch.bool)
    for row, (start, end) in enumerate(zip(prompt_lengths, lengths, strict=True)):
        mask[row, start:end] = True
    return mask


def lora_all_in_float32(x, weight, a, b, scale):
    wide = x.float()
    return (wide @ weight.float().T + scale * (wide @ a.T) @ b.T).to(x.dtype)


def lora_through_the_product(x, weight, a, b, scale):
    return (x.float() @ (weight.float() + scale * b @ a).T).to(x.dtype)


def merge_by_addmm(weight, a, b, scale):
    return torch.addmm(weight.float(), b, a, alpha=scale).to(weight.dtype)


def mean_by_einsum(hidden, mask):
    kept = mask.float()
    return torch.einsum("btc,bt->bc", hidden, kept) / kept.sum(1, keepdim=True).clamp(min=1)


def mean_by_rows(hidden, mask):
    nothing = torch.zeros(hidden.shape[-1])
    rows = zip(hidden, mask, strict=True)
    return torch.stack([row[keep].mean(0) if keep.any() else nothing for row, keep in rows])


RIGHT = [
    (transformer.attention, attention_by_pytorch),
    (transformer.attention, attention_by_einsum),
    (transformer.causal_mask, mask_by_comparison),
    (transformer.residual_block, block_in_one_line),
    (transformer.next_token_nll, nll_by_cross_entropy),
    (transformer.next_token_nll, nll_by_logsumexp),
    (transformer.top_p_filter, top_p_by_shifting),
    (transformer.top_p_filter, top_p_by_argsort),
    (adaptation.few_shot_prompt, prompt_by_adding),
    (adaptation.response_mask, mask_by_rows),
    (adaptation.lora_forward, lora_all_in_float32),
    (adaptation.lora_forward, lora_through_the_product),
    (adaptation.merge_weight, merge_by_addmm),
    (adaptation.masked_mean, mean_by_einsum),
    (adaptation.masked_mean, mean_by_rows),
]


@pytest.mark.parametrize(("exercise", "answer"), RIGHT, ids=[a.__name__ for _, a in RIGHT])
def test_another_right_way_is_right(exercise, answer):
    for seed in range(5):
        verdict = check(answer, exercise, seed)
        assert verdict.status == "right", verdict


def lora_without_dtypes(x, weight, a, b, scale):
    return F.linear(x, weight) + scale * F.linear(F.linear(x, a), b)


def test_a_layer_that_ignores_dtypes_is_told_where_it_breaks():
    verdict = check(lora_without_dtypes, adaptation.lora_forward)
    assert verdict.status == "wrong"
    assert "F.linear(F.linear(x, a), b)" in verdict.reason and "dtype" in verdict.reason
    assert verdict.case.startswith("x and W in bfloat16, A and B in float32")


@pytest.mark.parametrize("seed", range(21))
def test_the_drawn_p_lies_where_rounding_cannot_decide(seed):
    logits, p = transformer.top_p_filter.cases(np.random.default_rng(seed))[-1].args
    sums = logits.double().softmax(-1).sort(descending=True).values.cumsum(-1)
    assert (sums[:, :-1] - p).abs().min() > 1e-4
