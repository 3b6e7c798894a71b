"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import torch
import torch.nn.functional as F

from course_lib.lessons.dpo_grpo import build
from course_lib.rlhf import dpo, grpo


def divided(difference, rewards, scale, divisor):
    """Advantages with another divisor, 0 for a tied group."""
    tied = rewards.amax(1, keepdim=True) == rewards.amin(1, keepdim=True)
    return (difference / divisor if scale == "std" else difference).masked_fill(tied, 0.0)


def only_one(kind, wrong):
    """KL estimates that are right but for one kind, whose d the function ``wrong`` takes."""
    return lambda logp, ref, asked: (
        wrong(logp - ref) if asked == kind else grpo.kl_estimate(logp, ref, asked)
    )


def weights_but(kind, divisor):
    """Weights that are right but for one kind, where ``divisor`` of the mask divides."""
    return lambda mask, asked, longest: (
        mask / divisor(mask) if asked == kind else grpo.token_weights(mask, asked, longest)
    )


def sequential_loss(chosen, rejected, ref_chosen, ref_rejected, beta):
    """The margin is never negative: a pair that is told wrongly teaches nothing more."""
    margin = (chosen - ref_chosen) - (rejected - ref_rejected)
    return -F.logsigmoid(beta * margin.clamp(min=0))


def goes_on_with(change):
    """GRPO's loop, right but for the form of what it returns."""
    return lambda *args: change(build.learn_from_groups.reference(*args))


UNFORESEEN = {
    "learn_from_groups": {
        "in NumPy": goes_on_with(lambda logits: logits.numpy()),
        "the other way round": goes_on_with(lambda logits: torch.cat([logits, logits]).T),
        "with something to log": goes_on_with(lambda logits: (logits, {"loss": 0.0})),
        "not a number": goes_on_with(lambda logits: logits * float("nan")),
    },
    "pair_loss": {
        "no margin below zero": sequential_loss,
        "hinge": lambda c, r, rc, rr, beta: F.relu(1 - beta * ((c - rc) - (r - rr))),
        "each side by itself": lambda c, r, rc, rr, beta: (
            -F.logsigmoid(beta * (c - rc)) - F.logsigmoid(-beta * (r - rr))
        ),
        "probabilities": lambda c, r, rc, rr, beta: (
            -F.logsigmoid(beta * ((c - rc).exp() - (r - rr).exp()))
        ),
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
        "the range of the group": lambda rewards, scale: divided(
            rewards - rewards.mean(1, keepdim=True),
            rewards,
            scale,
            rewards.amax(1, keepdim=True) - rewards.amin(1, keepdim=True) + 1e-4,
        ),
        "error of the mean": lambda rewards, scale: divided(
            rewards - rewards.mean(1, keepdim=True),
            rewards,
            scale,
            rewards.std(1, keepdim=True) / rewards.shape[1] ** 0.5 + 1e-4,
        ),
        "against the best": lambda rewards, scale: divided(
            rewards - rewards.amax(1, keepdim=True),
            rewards,
            scale,
            rewards.std(1, keepdim=True) + 1e-4,
        ),
        "ranks": lambda rewards, scale="std": grpo.group_advantages(
            rewards.argsort(1).argsort(1).float(), scale
        ),
    },
    "kl_estimate": {
        "k2 of the ratio": only_one("k2", lambda d: torch.expm1(d) ** 2 / 2),
        "k1 without its sign": only_one("k1", lambda d: d.abs()),
        "k3 kept small": only_one("k3", lambda d: torch.expm1((-d).clamp(max=1)) + d),
        "k3 whose ratio is a constant": only_one("k3", lambda d: torch.expm1(-d).detach() + d),
        "never negative": lambda logp, ref, kind="k3": grpo.kl_estimate(logp, ref, kind).clamp(
            min=0
        ),
        "k2 for k3": lambda logp, ref, kind="k3": grpo.kl_estimate(
            logp, ref, "k2" if kind == "k3" else kind
        ),
    },
    "token_weights": {
        "by column": weights_but("sequence", lambda mask: mask.sum(0).clamp(min=1) * len(mask)),
        "a token more": weights_but(
            "sequence", lambda mask: (mask.sum(1, keepdim=True) + 1) * len(mask)
        ),
        "the mean length": weights_but(
            "token", lambda mask: mask.sum(1).float().mean().clamp(min=1)
        ),
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
