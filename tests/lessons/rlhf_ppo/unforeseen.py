"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math

import torch

from course_lib.lessons.rlhf_ppo import build
from course_lib.rl.losses import whiten

write = build.collect_rollout.reference


def bits(x):
    return x / math.log(2)


def _shift(x):
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)


def _token_logp(logits, tokens):
    logp = logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    return torch.cat([torch.zeros_like(logp[:, :1]), logp], dim=1)


def _last(mask):
    column = torch.arange(mask.shape[1])
    return torch.where(mask.bool(), column, -1).amax(1, keepdim=True)


def _columns_in_use(*args):
    """Ends with the longest reply: the columns after it are missing."""
    tokens, logp, mask, rewards = write(*args)
    used = int(mask.nonzero()[:, 1].max()) + 1
    return tokens[:, :used], logp[:, :used], mask[:, :used], rewards[:, :used]


UNFORESEEN = {
    "collect_rollout": {
        "the reply without its prompt": lambda *args: tuple(
            part[:, max(map(len, args[2])) :] for part in write(*args)
        ),
        "ends with the longest reply": _columns_in_use,
        "one reward for each reply": lambda *args: (*write(*args)[:3], write(*args)[3].sum(1)),
        "numbers for a mask": lambda *args: tuple(
            part.float() if part.dtype == torch.bool else part for part in write(*args)
        ),
    },
    "token_logp": {
        "against the best token": lambda logits, tokens, mask: (
            _token_logp(logits, tokens) - _token_logp(logits, logits.argmax(-1).roll(1, 1))
        ).masked_fill(~mask, 0),
        "the token before": lambda logits, tokens, mask: _shift(
            logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
        ).masked_fill(~mask, 0),
        "the sum over the vocabulary is a constant": lambda logits, tokens, mask: _shift(
            logits.gather(-1, tokens.roll(-1, 1)[..., None])[..., 0] - logits.logsumexp(-1).detach()
        ).masked_fill(~mask, 0),
        "in bits": lambda logits, tokens, mask: bits(_token_logp(logits, tokens)).masked_fill(
            ~mask.bool(), 0
        ),
        "running total": lambda logits, tokens, mask: (
            _token_logp(logits, tokens).masked_fill(~mask.bool(), 0).cumsum(1) * mask
        ),
        "best token": lambda logits, tokens, mask: _shift(
            logits.log_softmax(-1).amax(-1)
        ).masked_fill(~mask.bool(), 0),
    },
    "terminal_rewards": {
        "never in the last column": lambda scores, mask: (
            scores[:, None]
            * (mask & ~mask.roll(-1, 1))
            * (torch.arange(mask.shape[1]) + 1 < mask.shape[1])
        ),
        "from the last token on": lambda scores, mask: torch.where(
            (torch.arange(mask.shape[1]) >= _last(mask)) & mask.any(1, keepdim=True),
            scores[:, None],
            0.0,
        ),
        "at the first and the last": lambda scores, mask: torch.where(
            (torch.arange(mask.shape[1]) == _last(mask))
            | (torch.arange(mask.shape[1]) == mask.int().argmax(1, keepdim=True)),
            scores[:, None],
            0.0,
        ),
        "per token of the response": lambda scores, mask: torch.where(
            torch.arange(mask.shape[1]) == _last(mask),
            (scores / mask.sum(1).clamp(min=1))[:, None],
            0.0,
        ),
    },
    "kl_shaped_rewards": {
        "shared by the tokens": lambda r, logp, ref, mask, beta: (
            r - beta * (logp - ref) * mask / mask.sum(1, keepdim=True)
        ),
        "the mean of the response": lambda r, logp, ref, mask, beta: (
            r - beta * ((logp - ref) * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True) * mask
        ),
        "half of it": lambda r, logp, ref, mask, beta: r - 0.5 * beta * (logp - ref) * mask,
        "only where it costs": lambda r, logp, ref, mask, beta: (
            r - beta * (logp - ref).clamp(min=0) * mask
        ),
        "starts with the second token": lambda r, logp, ref, mask, beta: (
            r - beta * (logp - ref) * (mask & _shift(mask.int()).bool())
        ),
    },
    "whiten_advantages": {
        "spread around zero": lambda a, mask: (
            (a - a[mask].mean()) / (a[mask].square().mean().sqrt() + 1e-8) * mask
        ),
        "each row's own spread": lambda a, mask: torch.stack(
            [
                (row - a[mask].mean()) / (row[m].std(correction=0) + 1e-8) * m
                for row, m in zip(a, mask, strict=True)
            ]
        ),
        "the mean of the columns": lambda a, mask: (
            (a - (a * mask).sum(0) / mask.sum(0).clamp(min=1))
            / (a[mask].std(correction=0) + 1e-8)
            * mask
        ),
        "twice the deviation": lambda a, mask: (whiten(a, mask) / 2).masked_fill(~mask.bool(), 0),
        "outliers cut": lambda a, mask: whiten(a, mask).clamp(-1, 1).masked_fill(~mask.bool(), 0),
        "the median for the mean": lambda a, mask: (
            whiten(a, mask) - whiten(a, mask)[mask.bool()].median()
        ).masked_fill(~mask.bool(), 0),
    },
}
