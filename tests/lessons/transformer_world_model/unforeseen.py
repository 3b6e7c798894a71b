"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math

import torch

from course_lib.world_models import sequence
from course_lib.world_models.returns import continue_weights, dream_returns


def bits(x):
    return x / math.log(2)


UNFORESEEN = {
    "block_causal_mask": {
        "the step before at most": lambda ended, places: (
            sequence.block_causal_mask(ended, places)
            & ~torch.ones(ended.shape[1], ended.shape[1], dtype=torch.bool)
            .tril(-2)
            .repeat_interleave(places, 0)
            .repeat_interleave(places, 1)
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
        "in bits": lambda *args: bits(sequence.event_nll(*args)),
    },
    "sample_frame": {
        "draws from above": lambda chance_logits, decode, draws, temperature=1.0: (
            sequence.sample_frame(chance_logits, decode, 1 - draws, temperature)
        ),
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
        "gamma on the bootstrap twice": lambda rewards, next_values, continues, gamma, lam: (
            dream_returns(rewards, gamma * next_values, continues, gamma, lam)
        ),
    },
    "continue_weights": {
        "the least of them": lambda continues: torch.cat(
            [torch.ones_like(continues[:1]), continues[:-1].cummin(0).values]
        ),
        "squared": lambda continues: continue_weights(continues) ** 2,
    },
}
