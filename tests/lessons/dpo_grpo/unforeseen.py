"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import torch.nn.functional as F

from course_lib.rlhf import dpo, grpo


def sequential_loss(chosen, rejected, ref_chosen, ref_rejected, beta):
    """The margin is never negative: a pair that is told wrongly teaches nothing more."""
    margin = (chosen - ref_chosen) - (rejected - ref_rejected)
    return -F.logsigmoid(beta * margin.clamp(min=0))


UNFORESEEN = {
    "pair_loss": {
        "no margin below zero": sequential_loss,
        "beta on the reference alone": lambda c, r, rc, rr, beta: (
            -F.logsigmoid((c - r) - beta * (rc - rr))
        ),
        "squared": lambda c, r, rc, rr, beta: dpo.pair_loss(c, r, rc, rr, beta) ** 2,
    },
    "group_advantages": {
        "against the median": lambda rewards, scale="std": (
            grpo.group_advantages(rewards, scale)
            + (rewards.mean(1, keepdim=True) - rewards.median(1, keepdim=True).values)
        ),
        "against the others": lambda rewards, scale="std": (
            grpo.group_advantages(rewards, scale) * rewards.shape[1] / (rewards.shape[1] - 1)
        ),
        "ranks": lambda rewards, scale="std": grpo.group_advantages(
            rewards.argsort(1).argsort(1).float(), scale
        ),
    },
    "kl_estimate": {
        "never negative": lambda logp, ref, kind="k3": grpo.kl_estimate(logp, ref, kind).clamp(
            min=0
        ),
        "k2 for k3": lambda logp, ref, kind="k3": grpo.kl_estimate(
            logp, ref, "k2" if kind == "k3" else kind
        ),
    },
    "token_weights": {
        "root of the length": lambda mask, normalise="sequence", max_new_tokens=1: (
            grpo.token_weights(mask, normalise, max_new_tokens)
            * (mask.sum(1, keepdim=True).float().sqrt() if normalise == "sequence" else 1)
        ),
        "empty rows do not count": lambda mask, normalise="sequence", max_new_tokens=1: (
            grpo.token_weights(mask, normalise, max_new_tokens)
            * (len(mask) / mask.bool().any(1).sum().clamp(min=1) if normalise != "token" else 1)
        ),
    },
}
