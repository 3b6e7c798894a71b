"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math

import torch
import torch.nn.functional as F

from course_lib.lm.gpt import attention, causal_mask


def top_p_strict(logits, p):
    """Keeps one token more than are needed."""
    ordered, order = logits.sort(dim=-1, descending=True)
    before = ordered.softmax(-1).cumsum(-1) - 2 * ordered.softmax(-1)
    return torch.empty_like(logits).scatter(-1, order, ordered.masked_fill(before >= p, -math.inf))


def top_p_one_threshold(logits, p):
    """Compares each probability with the largest one times 1 - p."""
    probability = logits.softmax(-1)
    least = probability.amax(-1, keepdim=True) * (1 - p)
    return logits.masked_fill(probability < least, -math.inf)


UNFORESEEN = {
    "attention": {
        "hard choice": lambda q, k, v, mask: (
            F.one_hot(
                (q @ k.transpose(-2, -1)).masked_fill(~mask, -math.inf).argmax(-1), k.shape[-2]
            ).to(v)
            @ v
        ),
        "keys and queries exchanged": lambda q, k, v, mask: (
            ((k @ q.transpose(-2, -1)) / q.shape[-1] ** 0.5)
            .masked_fill(~mask, -math.inf)
            .softmax(-1)
            @ v
            if q.shape[-2] == k.shape[-2]
            else attention(q, k, v, mask)
        ),
    },
    "causal_mask": {
        "looks one step back at most": lambda queries, keys: (
            causal_mask(queries, keys)
            & ~causal_mask(queries, keys).roll(-2, dims=1).tril(keys - queries - 2)
        ),
        "the first key is always seen": lambda queries, keys: (
            torch.ones(queries, keys, dtype=torch.bool)
            .tril(keys - queries - 1)
            .index_fill(1, torch.tensor([0]), True)
        ),
    },
    "residual_block": {
        "both branches twice": lambda x, n1, att, n2, ff: (
            x + 2 * att(n1(x)) + ff(n2(x + 2 * att(n1(x))))
        ),
        "half the stream": lambda x, n1, att, n2, ff: (
            0.5 * (x + att(n1(x))) + ff(n2(x + att(n1(x))))
        ),
    },
    "next_token_nll": {
        "two tokens ahead": lambda logits, tokens: F.pad(
            F.cross_entropy(logits[:, :-2].transpose(1, 2), tokens[:, 2:], reduction="none"),
            (0, 1),
        ),
        "smoothed labels": lambda logits, tokens: F.cross_entropy(
            logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none", label_smoothing=0.1
        ),
    },
    "top_p_filter": {"one token more": top_p_strict, "min-p": top_p_one_threshold},
}
