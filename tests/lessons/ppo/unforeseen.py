"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math

import torch
import torch.nn.functional as F

from course_lib.lessons.ppo import build
from course_lib.rl import distributions, losses

learned = build.learn_from_rollout.reference


def gaussian(x, mean, std, constant):
    return (-0.5 * ((x - mean) / std) ** 2 - std.log() - constant).sum(-1)


def in_place(logits, *rest):
    return logits.copy_(learned(logits, *rest))


UNFORESEEN = {
    "learn_from_rollout": {
        "a NumPy array": lambda *args: learned(*args).numpy(),
        "only the states of the rollout": lambda logits, states, *rest: learned(
            logits, states, *rest
        )[states],
        "the table that it was given": in_place,
        "the last log-probabilities": lambda logits, states, actions, *rest: learned(
            logits, states, actions, *rest
        ).log_softmax(-1)[states, actions],
    },
    "probability_ratio": {
        "kept below 10": lambda logp, old: (logp - old).exp().clamp(max=1.5),
        "one plus the difference": lambda logp, old: 1 + logp - old,
        "of the whole batch": lambda logp, old: (logp - old).sum().exp().expand_as(logp),
        "shares of the batch": lambda logp, old: logp.softmax(0) / old.softmax(0),
        "a power of 2": lambda logp, old: 2 ** (logp - old),
    },
    "clipped_surrogate": {
        "half the room": lambda ratio, a, clip: losses.clipped_surrogate(ratio, a, clip / 2),
        "clips in the logarithm": lambda ratio, a, clip: (
            -torch.min(ratio * a, ratio.log().clamp(-clip, clip).exp() * a)
        ),
        "the lower limit is one over the upper": lambda ratio, a, clip: (
            -torch.min(ratio * a, ratio.clamp(1 / (1 + clip), 1 + clip) * a)
        ),
        "good actions alone": lambda ratio, a, clip: losses.clipped_surrogate(
            ratio, a.clamp(min=0), clip
        ),
        "always a clip of 0.2": lambda ratio, a, clip: losses.clipped_surrogate(ratio, a, 0.2),
    },
    "value_loss": {
        "absolute error": lambda v, t, old=None, clip=None: 0.5 * (v - t).abs(),
        "Huber": lambda v, t, old=None, clip=None: F.smooth_l1_loss(v, t, reduction="none"),
        "the mean of both errors": lambda v, t, old, clip: (
            0.5 * (v - t) ** 2
            if clip is None
            else 0.25 * ((v - t) ** 2 + (old + (v - old).clamp(-clip, clip) - t) ** 2)
        ),
        "half of one error alone": lambda v, t, old, clip: (
            0.5 * (v - t) ** 2
            if clip is None
            else torch.max(0.5 * (v - t) ** 2, (old + (v - old).clamp(-clip, clip) - t) ** 2)
        ),
        "clips upwards alone": lambda v, t, old, clip: (
            0.5 * (v - t) ** 2
            if clip is None
            else 0.5 * torch.max((v - t) ** 2, (torch.min(v, old + clip) - t) ** 2)
        ),
    },
    "approx_kl": {
        "twice": lambda logp, old: 2 * losses.approx_kl(logp, old),
        "positive part": lambda logp, old: (old - logp).clamp(min=0),
        "the distance": lambda logp, old: (logp - old).abs(),
        "half the square of r - 1": lambda logp, old: 0.5 * ((logp - old).exp() - 1) ** 2,
        "r log r - (r - 1)": lambda logp, old: (
            (logp - old).exp() * (logp - old) - (logp - old).expm1()
        ),
    },
    "gaussian_logp": {
        "half the constant": lambda x, mean, s: (
            -0.5 * (((x - mean) / s.exp()) ** 2 + 0.5 * math.log(2 * math.pi)) - s
        ).sum(-1),
        "actions kept within 1": lambda x, mean, s: distributions.gaussian_logp(
            x.clamp(-1, 1), mean, s
        ),
        "the constant of a variance": lambda x, mean, s: gaussian(
            x, mean, s.exp(), math.log(2 * math.pi)
        ),
        "half the width subtracted": lambda x, mean, s: (
            distributions.gaussian_logp(x, mean, s) + 0.5 * s.sum()
        ),
        "one width for all": lambda x, mean, s: distributions.gaussian_logp(
            x, mean, s.mean().expand_as(s)
        ),
    },
}
