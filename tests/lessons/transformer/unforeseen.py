"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math
from collections import Counter
from itertools import pairwise

import torch
import torch.nn.functional as F

from course_lib.lessons.transformer import build
from course_lib.lm.gpt import attention, causal_mask
from course_lib.lm.losses import next_token_nll


def top_p_strict(logits, p):
    """Keeps one token more than are needed."""
    ordered, order = logits.sort(dim=-1, descending=True)
    before = ordered.softmax(-1).cumsum(-1) - 2 * ordered.softmax(-1)
    return torch.empty_like(logits).scatter(-1, order, ordered.masked_fill(before >= p, -math.inf))


def top_p_all_rows(logits, p):
    """Fills up p over all rows at once."""
    chances = logits.softmax(-1).flatten()
    ordered, order = chances.sort(descending=True)
    out = torch.empty_like(ordered).scatter(0, order, ordered.cumsum(0) - ordered)
    rows = logits.numel() // logits.shape[-1]
    return logits.masked_fill(out.view_as(logits) >= p * rows, -math.inf)


def top_p_as_a_count(logits, p):
    """Keeps the share p of the tokens."""
    count = max(1, round(p * logits.shape[-1]))
    return logits.masked_fill(logits < logits.topk(count).values[..., -1:], -math.inf)


def attend(q, k, v, mask, factor=1.0, low=-math.inf):
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    return factor * scores.masked_fill(~mask, low).softmax(-1) @ v


def top_p_one_threshold(logits, p):
    """Compares each probability with the largest one times 1 - p."""
    probability = logits.softmax(-1)
    least = probability.amax(-1, keepdim=True) * (1 - p)
    return logits.masked_fill(probability < least, -math.inf)


def one_word_for_all(words, number):
    """Joins neighbours across words: the whole text is one word."""
    text = "".join(word * often for word, often in words.items())
    return build.learn_merges.reference({text: 1}, number)


def letters_in_order(words, number):
    """The most frequent pairs of letters, all counted before the first merge."""
    counts = Counter()
    for word, often in words.items():
        for pair in pairwise(word):
            counts[pair] += often
    return [pair for pair, _ in counts.most_common(number)]


UNFORESEEN = {
    "learn_merges": {
        "joins across words": one_word_for_all,
        "counts once": letters_in_order,
        "returns the joined pieces": lambda words, number: [
            "".join(pair) for pair in build.learn_merges.reference(words, number)
        ],
    },
    "attention": {
        "scales the weights": lambda q, k, v, mask: attend(
            q * q.shape[-1] ** 0.5, k, v, mask, factor=q.shape[-1] ** -0.5
        ),
        "hides with -1": lambda q, k, v, mask: attend(q, k, v, mask, low=-1.0),
        "the mask of the first text for all": lambda q, k, v, mask: attention(
            q, k, v, mask.reshape(-1, *mask.shape[-2:])[0]
        ),
        "causal, whatever the mask": lambda q, k, v, mask: attention(
            q, k, v, causal_mask(*mask.shape[-2:])
        ),
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
        "all but the last row": lambda queries, keys: (
            torch.arange(keys) < keys - queries + torch.arange(1, queries + 1)[:, None].clamp(min=2)
        ),
        "past keys alone, or a triangle alone": lambda queries, keys: (
            torch.ones(queries, keys).tril().bool()
            if queries == keys
            else torch.ones(queries, keys).bool()
        ),
        "from the right": lambda queries, keys: causal_mask(queries, keys).flip(1),
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
        "the first norm of the sum": lambda x, n1, att, n2, ff: (
            n1(x + att(n1(x))) + ff(n2(x + att(n1(x))))
        ),
        "the norms exchanged": lambda x, n1, att, n2, ff: x + att(n2(x)) + ff(n1(x + att(n2(x)))),
        "norms after the branches": lambda x, n1, att, n2, ff: (
            x + n1(att(x)) + n2(ff(x + n1(att(x))))
        ),
        "the start twice": lambda x, n1, att, n2, ff: 2 * x + att(n1(x)) + ff(n2(x + att(n1(x)))),
        "both branches twice": lambda x, n1, att, n2, ff: (
            x + 2 * att(n1(x)) + ff(n2(x + 2 * att(n1(x))))
        ),
        "half the stream": lambda x, n1, att, n2, ff: (
            0.5 * (x + att(n1(x))) + ff(n2(x + att(n1(x))))
        ),
    },
    "next_token_nll": {
        "the last token left out": lambda logits, tokens: F.pad(
            next_token_nll(logits, tokens)[:, :-1], (0, 1)
        ),
        "token 0 is padding": lambda logits, tokens: F.cross_entropy(
            logits[:, :-1].mT, tokens[:, 1:], reduction="none", ignore_index=0
        ),
        "a running sum": lambda logits, tokens: next_token_nll(logits, tokens).cumsum(1),
        "divided by the number of tokens": lambda logits, tokens: (
            next_token_nll(logits, tokens) / (tokens.shape[1] - 1)
        ),
        "rows and columns mixed up": lambda logits, tokens: next_token_nll(
            logits, tokens
        ).T.reshape(len(tokens), -1),
        "one minus the probability": lambda logits, tokens: (
            1 - (-next_token_nll(logits, tokens)).exp()
        ),
        "two tokens ahead": lambda logits, tokens: F.pad(
            F.cross_entropy(logits[:, :-2].transpose(1, 2), tokens[:, 2:], reduction="none"),
            (0, 1),
        ),
        "smoothed labels": lambda logits, tokens: F.cross_entropy(
            logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none", label_smoothing=0.1
        ),
    },
    "top_p_filter": {
        "one token more": top_p_strict,
        "min-p": top_p_one_threshold,
        "all rows at once": top_p_all_rows,
        "a share of the tokens": top_p_as_a_count,
    },
}
