"""What preferences say about rewards: losses on pairs, and how to judge a reward model by them.

All functions take the rewards of the two replies of B pairs, ``chosen`` and ``rejected`` (B,), and
``share`` (B,), how far the first was preferred: 1, or 0.5 for a tie, or 0 where the second was.
By Bradley and Terry (1952) the first is preferred with probability p = sigmoid(chosen - rejected).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def pairwise_nll(chosen: Tensor, rejected: Tensor, share: Tensor) -> Tensor:
    """Negative log-likelihood of each label in nats, (B,): -share log p - (1 - share) log (1 - p).

    ``chosen`` and ``rejected`` (B,) are the rewards of the two replies, p the sigmoid of their
    difference, ``share`` (B,) how far the first was preferred: 1, or 0.5 for a tie. Computed
    from the difference: the logarithm of a sigmoid that was rounded to 0 would be -inf.
    """
    difference = chosen - rejected
    return -share * F.logsigmoid(difference) - (1 - share) * F.logsigmoid(-difference)


def noisy_nll(chosen: Tensor, rejected: Tensor, share: Tensor, flip: float) -> Tensor:
    """`pairwise_nll` for labels of which a known part was turned round by carelessness, (B,).

    With the probability ``flip`` of a turned label, A is *labelled* better with probability
    q = (1 - flip) p + flip (1 - p), and the likelihood is that of q. p itself stays free to go
    to 0 or 1. This is the *forward* correction of Patrini et al. (arXiv 1609.03944, theorem 2).
    The *backward* one weighs losses instead, ((1 - flip) nll(A) - flip nll(B)) / (1 - 2 flip), as
    robust DPO does (arXiv 2403.00409); label smoothing, (1 - flip) nll(A) + flip nll(B), pulls p
    towards 0.5.
    For ``flip`` above 0: without noise `pairwise_nll` is the loss, and safe from rounding.
    """
    p = torch.sigmoid(chosen - rejected)
    q = (1 - flip) * p + flip * (1 - p)
    return -share * q.log() - (1 - share) * (1 - q).log()


def pairwise_loss(
    chosen: Tensor, rejected: Tensor, share: Tensor | None = None, flip: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean negative log-likelihood of the labels, and metrics. All tensors (B,).

    Without ``share`` the first of each pair was preferred: the mean of
    -logsigmoid(chosen - rejected), equation 1 of arXiv 2203.02155. ``flip`` is the share of labels
    that carelessness has turned round.
    """
    if share is None:
        share = torch.ones_like(chosen)
    if flip:
        nll = noisy_nll(chosen, rejected, share, flip)
    else:
        nll = pairwise_nll(chosen, rejected, share)
    loss = nll.mean()
    with torch.no_grad():
        metrics = {
            "loss": loss.detach(),
            "accuracy": accuracy(chosen, rejected, share),
            "margin": (chosen - rejected).abs().mean(),
        }
    return loss, metrics


def accuracy(chosen: Tensor, rejected: Tensor, share: Tensor) -> Tensor:
    """The share of pairs that the rewards put in the order of the labels, a number.

    All (B,). Equal rewards are a coin's throw and count half, and so does a pair whose label is a
    tie: a model that gives everything the same reward gets 0.5, not 0 or 1.
    """
    first = (torch.sign(chosen - rejected) + 1) / 2  # 1 the first wins, 0.5 equal, 0 it loses
    return (share * first + (1 - share) * (1 - first)).mean()


class Calibration(NamedTuple):
    """Predicted probability against what happened, for bins that hold at least one pair; (K,)."""

    predicted: Tensor  # mean probability of "A is better"
    observed: Tensor  # mean share of A among the labels
    count: Tensor  # pairs in the bin
    error: float  # mean distance of the two over all pairs (expected calibration error)


def calibration(chosen: Tensor, rejected: Tensor, share: Tensor, bins: int = 10) -> Calibration:
    """Are 80 % of the pairs right to which the model gives 80 %? All (B,).

    Bins of equal width over the predicted probability; Guo et al., arXiv 1706.04599, equation 3.
    """
    p = torch.sigmoid(chosen - rejected)
    number = (p * bins).long().clamp(max=bins - 1)
    sums = torch.zeros(3, bins, dtype=p.dtype)
    for row, values in zip(sums, (torch.ones_like(p), p, share.to(p.dtype)), strict=True):
        row.index_add_(0, number, values)
    count, predicted, observed = sums[:, sums[0] > 0]
    predicted, observed = predicted / count, observed / count
    error = float(((predicted - observed).abs() * count).sum() / count.sum())
    return Calibration(predicted, observed, count.long(), error)
