"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math

import torch
import torch.nn.functional as F

from course_lib.rlhf import pairwise


def last_before_padding(values, mask):
    """Right for padding on the right alone."""
    mask = mask.bool()
    first_gap = torch.where(mask, mask.shape[1], torch.arange(mask.shape[1])).amin(1)
    return values.gather(1, (first_gap - 1).clamp(min=0)[:, None])[:, 0] * mask.any(1)


UNFORESEEN = {
    "pairwise_nll": {
        "half the difference": lambda c, r, share: pairwise.pairwise_nll(c / 2, r / 2, share),
        "hinge": lambda c, r, share: (
            share * F.relu(1 - (c - r)) + (1 - share) * F.relu(1 + (c - r))
        ),
        "without the entropy of the label": lambda c, r, share: (
            pairwise.pairwise_nll(c, r, share)
            + torch.xlogy(share, share)
            + torch.xlogy(1 - share, 1 - share)
        ),
    },
    "last_token": {
        "up to the first gap": last_before_padding,
        "the largest value": lambda values, mask: torch.where(
            mask.bool().any(1), values.masked_fill(~mask.bool(), -1e9).amax(1), 0.0
        ),
    },
    "accuracy": {
        "close is equal": lambda c, r, share: pairwise.accuracy(c.round(), r.round(), share),
        "mean probability": lambda c, r, share: (
            share * (c - r).sigmoid() + (1 - share) * (r - c).sigmoid()
        ).mean(),
    },
    "noisy_nll": {
        "half the carelessness": lambda c, r, share, flip: pairwise.noisy_nll(
            c, r, share, flip / 2
        ),
        "subtracts the floor": lambda c, r, share, flip: (
            pairwise.noisy_nll(c, r, share, flip) + math.log(1 - flip)
        ),
    },
}
