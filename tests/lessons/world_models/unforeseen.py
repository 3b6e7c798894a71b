"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math

from course_lib.world_models import dyna, dynamics, horizons, planning


def bits(x):
    return x / math.log(2)


UNFORESEEN = {
    "dyna_update": {
        "backwards through the pairs": lambda q, model, pairs, alpha, gamma: dyna.dyna_update(
            q, model, pairs[::-1], alpha, gamma
        ),
        "no bootstrap at all": lambda q, model, pairs, alpha, gamma: dyna.dyna_update(
            q, model, pairs, alpha, 0.0
        ),
    },
    "gaussian_nll": {
        "no variance above 1": lambda mean, log_var, targets: dynamics.gaussian_nll(
            mean, log_var.clamp(max=0), targets
        ),
        "in bits": lambda mean, log_var, targets: bits(
            dynamics.gaussian_nll(mean, log_var, targets)
        ),
    },
    "elite_update": {
        "one elite more": lambda plans, scores, mean, std, elites, keep: planning.elite_update(
            plans, scores, mean, std, elites + 1, keep
        ),
        "the median of the elites": lambda plans, scores, mean, std, elites, keep: (
            keep * mean
            + (1 - keep)
            * plans.gather(
                1,
                scores.topk(elites, 1).indices[:, :, None, None].expand(-1, -1, *plans.shape[2:]),
            )
            .median(1)
            .values,
            planning.elite_update(plans, scores, mean, std, elites, keep)[1],
        ),
    },
    "horizon_weights": {
        "squared": lambda returns, floor=1e-8: (
            horizons.horizon_weights(returns, floor) ** 2
            / (horizons.horizon_weights(returns, floor) ** 2).sum(0, keepdim=True)
        ),
        "the range for the variance": lambda returns, floor=1e-8: (
            (1 / (returns.amax(0) - returns.amin(0) + floor))
            / (1 / (returns.amax(0) - returns.amin(0) + floor)).sum(0, keepdim=True)
        ),
    },
}
