"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math

import torch
import torch.nn.functional as F

from course_lib.lessons.reward_models.build import fit_reward_model
from course_lib.rlhf import pairwise


def last_before_padding(values, mask):
    """Right for padding on the right alone."""
    mask = mask.bool()
    first_gap = torch.where(mask, mask.shape[1], torch.arange(mask.shape[1])).amin(1)
    return values.gather(1, (first_gap - 1).clamp(min=0)[:, None])[:, 0] * mask.any(1)


def before_the_first_gap(values, mask):
    """The same with -1 as an index: right with padding on the left, too, but not on both sides."""
    picked = values[torch.arange(len(values)), (~mask).int().argmax(1) - 1]
    return torch.where(mask.any(1), picked, 0.0)


def mixed(p, share, flip, rest):
    """The loss with q = (1 - flip) p + rest."""
    q = (1 - flip) * p + rest
    return -share * q.log() - (1 - share) * (1 - q).log()


UNFORESEEN = {
    "fit_reward_model": {
        "a column": lambda *args: fit_reward_model.reference(*args)[:, None],
        "an array": lambda *args: fit_reward_model.reference(*args).numpy(),
        "with the bias of a linear layer": lambda *args: torch.cat(
            [fit_reward_model.reference(*args), torch.zeros(1)]
        ),
    },
    "pairwise_nll": {
        "a sigmoid kept off zero": lambda c, r, share: (
            -share * ((c - r).sigmoid() + 1e-8).log()
            - (1 - share) * ((r - c).sigmoid() + 1e-8).log()
        ),
        "a difference cut at 20": lambda c, r, share: pairwise.pairwise_nll(
            (c - r).clamp(-20, 20), 0 * r, share
        ),
        "ties left out": lambda c, r, share: pairwise.pairwise_nll(c, r, share).masked_fill(
            share == 0.5, 0
        ),
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
        "before the first gap": before_the_first_gap,
        "the largest value": lambda values, mask: torch.where(
            mask.bool().any(1), values.masked_fill(~mask.bool(), -1e9).amax(1), 0.0
        ),
    },
    "accuracy": {
        "a product above zero": lambda c, r, share: ((c - r) * (share - 0.5) > 0).float().mean(),
        "half for rewards alone": lambda c, r, share: torch.where(
            c == r, 0.5, ((c > r) == (share == 1)).float()
        ).mean(),
        "close is equal": lambda c, r, share: pairwise.accuracy(c.round(), r.round(), share),
        "mean probability": lambda c, r, share: (
            share * (c - r).sigmoid() + (1 - share) * (r - c).sigmoid()
        ).mean(),
    },
    "noisy_nll": {
        "a probability cut off": lambda c, r, share, flip: mixed(
            (c - r).sigmoid().clamp(flip, 1 - flip), share, 0, 0
        ),
        "half the floor": lambda c, r, share, flip: mixed(
            (c - r).sigmoid(), share, 2 * flip, flip / 2
        ),
        "the other side is a constant": lambda c, r, share, flip: mixed(
            (c - r).sigmoid(), share, flip, flip * (r - c).sigmoid().detach()
        ),
        "twice the carelessness": lambda c, r, share, flip: pairwise.noisy_nll(
            c, r, share, flip * 2
        ),
        "subtracts the floor": lambda c, r, share, flip: (
            pairwise.noisy_nll(c, r, share, flip) + math.log(1 - flip)
        ),
    },
}
