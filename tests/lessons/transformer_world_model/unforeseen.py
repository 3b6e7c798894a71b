"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math

import torch
import torch.nn.functional as F

from course_lib.world_models import sequence
from course_lib.world_models.returns import continue_weights, dream_returns


def bits(x):
    return x / math.log(2)


def one_term_unmasked(reward_logits, end_logits, rewards, terminated, valid):
    """Leaves invalid steps out of the rewards only."""
    places = reward_logits.shape[1] // rewards.shape[1]
    scores, end = (x[:, places - 1 :: places] for x in (reward_logits, end_logits))
    reward = F.cross_entropy(scores.transpose(1, 2), rewards, reduction="none")
    end = F.binary_cross_entropy_with_logits(end, terminated.float())
    return (reward * valid).sum() / valid.sum() + end


def likeliest_first(chance_logits, decode, draws, temperature=1.0):
    """Turns the wheel with its sectors sorted by size."""
    if temperature == 0:
        return sequence.sample_frame(chance_logits, decode, draws, 0)
    ordered, codes = chance_logits.sort(-1, descending=True)
    marks = (ordered / temperature).softmax(-1).cumsum(-1)[:, :-1]
    at = (marks <= draws[:, None]).sum(-1, keepdim=True)
    return (decode(codes.gather(1, at)[:, 0]) > 0).to(torch.uint8)


def same_row_for_all(chance_logits, decode, draws, temperature=1.0):
    return sequence.sample_frame(
        chance_logits[:1].expand_as(chance_logits), decode, draws, temperature
    )


UNFORESEEN = {
    "block_causal_mask": {
        "the step before at most": lambda ended, places: (
            sequence.block_causal_mask(ended, places)
            & ~torch.ones(ended.shape[1], ended.shape[1], dtype=torch.bool)
            .tril(-2)
            .repeat_interleave(places, 0)
            .repeat_interleave(places, 1)
        ),
        "one end may be looked across": lambda ended, places: sequence.block_causal_mask(
            ended & (ended.cumsum(1) > 1), places
        ),
        "every window ends where one does": lambda ended, places: sequence.block_causal_mask(
            ended.any(0, keepdim=True).expand_as(ended), places
        ),
        "the first step is always seen": lambda ended, places: (
            sequence.block_causal_mask(ended, places)
            | (torch.arange(ended.shape[1] * places) < places)
        ),
    },
    "event_nll": {
        "surer than it is": lambda reward_logits, end_logits, rewards, ended, valid: (
            sequence.event_nll(2 * reward_logits, end_logits, rewards, ended, valid)
        ),
        "a term unmasked": one_term_unmasked,
        "a sum per window": lambda *args: (
            sequence.event_nll(*args) * args[-1].sum() / len(args[-1])
        ),
        "in bits": lambda *args: bits(sequence.event_nll(*args)),
    },
    "sample_frame": {
        "draws from above": lambda chance_logits, decode, draws, temperature=1.0: (
            sequence.sample_frame(chance_logits, decode, 1 - draws, temperature)
        ),
        "the likeliest sector first": likeliest_first,
        "the first row for all": same_row_for_all,
        "cells upside down": lambda chance_logits, decode, draws, temperature=1.0: (
            1 - sequence.sample_frame(chance_logits, decode, draws, temperature)
        ),
    },
    "dream_returns": {
        "one step short": lambda rewards, next_values, continues, gamma, lam: torch.cat(
            [
                dream_returns(rewards, next_values, continues, gamma, lam)[1:],
                next_values[-1:],
            ]
        ),
        "decides at one half": lambda rewards, next_values, continues, gamma, lam: dream_returns(
            rewards, next_values, continues.round(), gamma, lam
        ),
        "continues multiplied up": lambda rewards, next_values, continues, gamma, lam: (
            dream_returns(rewards, next_values, continues.cumprod(0), gamma, lam)
        ),
        "gamma on the bootstrap twice": lambda rewards, next_values, continues, gamma, lam: (
            dream_returns(rewards, gamma * next_values, continues, gamma, lam)
        ),
    },
    "continue_weights": {
        "the least of them": lambda continues: torch.cat(
            [torch.ones_like(continues[:1]), continues[:-1].cummin(0).values]
        ),
        "two steps late": lambda continues: torch.cat(
            [torch.ones_like(continues[:2]), continues[:-2].cumprod(0)]
        ),
        "divided by its own": lambda continues: continues.cumprod(0) / continues,
        "squared": lambda continues: continue_weights(continues) ** 2,
    },
}
