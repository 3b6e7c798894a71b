"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math

import torch
import torch.nn.functional as F

from course_lib.rl import distributions, losses

UNFORESEEN = {
    "probability_ratio": {
        "kept below 10": lambda logp, old: (logp - old).exp().clamp(max=1.5),
        "one plus the difference": lambda logp, old: 1 + logp - old,
    },
    "clipped_surrogate": {
        "clips only above": lambda ratio, a, clip: (
            -torch.min(ratio * a, ratio.clamp(max=1 + clip) * a)
        ),
        "half the room": lambda ratio, a, clip: losses.clipped_surrogate(ratio, a, clip / 2),
        "clips in the logarithm": lambda ratio, a, clip: (
            -torch.min(ratio * a, ratio.log().clamp(-clip, clip).exp() * a)
        ),
    },
    "value_loss": {
        "absolute error": lambda v, t, old=None, clip=None: 0.5 * (v - t).abs(),
        "Huber": lambda v, t, old=None, clip=None: F.smooth_l1_loss(v, t, reduction="none"),
    },
    "approx_kl": {
        "twice": lambda logp, old: 2 * losses.approx_kl(logp, old),
        "positive part": lambda logp, old: (old - logp).clamp(min=0),
    },
    "gaussian_logp": {
        "half the constant": lambda x, mean, s: (
            -0.5 * (((x - mean) / s.exp()) ** 2 + 0.5 * math.log(2 * math.pi)) - s
        ).sum(-1),
        "actions kept within 1": lambda x, mean, s: distributions.gaussian_logp(
            x.clamp(-1, 1), mean, s
        ),
    },
}
