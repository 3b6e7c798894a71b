"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math

import torch

from course_lib.lessons.world_models.build import cross_entropy_plan
from course_lib.world_models import dyna, dynamics, horizons, planning


def bits(x):
    return x / math.log(2)


def with_target(target):
    """Dyna's update with another target, a function of q, memory, action and gamma."""

    def update(q, model, pairs, alpha, gamma):
        q = q.copy()
        for state, action in pairs:
            error = target(q, model[state, action], action, gamma) - q[state, action]
            q[state, action] += alpha * error
        return q

    return update


def mixes_variances(plans, scores, mean, std, elites, keep):
    new_mean, new_std = planning.elite_update(plans, scores, mean, std, elites, 0.0)
    spread = (keep * std**2 + (1 - keep) * new_std**2).sqrt()
    return keep * mean + (1 - keep) * new_mean, spread


def normalised(certainty):
    return certainty / certainty.sum(0, keepdim=True)


UNFORESEEN = {
    "cross_entropy_plan": {
        "the first action alone": lambda *args: cross_entropy_plan.reference(*args)[0],
        "a list of numbers": lambda *args: cross_entropy_plan.reference(*args).tolist(),
        "the mean and the spread": lambda *args: (cross_entropy_plan.reference(*args), args[3]),
    },
    "dyna_update": {
        "backwards through the pairs": lambda q, model, pairs, alpha, gamma: dyna.dyna_update(
            q, model, pairs[::-1], alpha, gamma
        ),
        "a future of at least zero": with_target(
            lambda q, m, a, gamma: (
                m.reward + gamma * (1 - m.terminated) * max(0, q[m.next_state].max())
            )
        ),
        "the same action again": with_target(
            lambda q, m, a, gamma: m.reward + gamma * (1 - m.terminated) * q[m.next_state, a]
        ),
        "an end without its reward": with_target(
            lambda q, m, a, gamma: (1 - m.terminated) * (m.reward + gamma * q[m.next_state].max())
        ),
        "no bootstrap at all": lambda q, model, pairs, alpha, gamma: dyna.dyna_update(
            q, model, pairs, alpha, 0.0
        ),
    },
    "gaussian_nll": {
        "no variance above 1": lambda mean, log_var, targets: dynamics.gaussian_nll(
            mean, log_var.clamp(max=0), targets
        ),
        "a little more variance": lambda mean, log_var, targets: dynamics.gaussian_nll(
            mean, torch.log(log_var.exp() + 0.01), targets
        ),
        "the distance over the standard deviation": lambda mean, log_var, targets: (
            0.5 * ((targets - mean).abs() * (-log_var / 2).exp() + log_var + math.log(2 * math.pi))
        ).sum(-1),
        "in bits": lambda mean, log_var, targets: bits(
            dynamics.gaussian_nll(mean, log_var, targets)
        ),
    },
    "elite_update": {
        "one elite more": lambda plans, scores, mean, std, elites, keep: planning.elite_update(
            plans, scores, mean, std, elites + 1, keep
        ),
        "mixes variances": mixes_variances,
        "the size of the scores": lambda plans, scores, *rest: planning.elite_update(
            plans, scores.abs(), *rest
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
        "the second moment": lambda returns, floor=1e-8: normalised(
            1 / (returns.square().mean(0) + floor)
        ),
        "floor in the last sum": lambda returns, floor=1e-8: (
            (1 / (returns.var(0, correction=0) + floor))
            / ((1 / (returns.var(0, correction=0) + floor)).sum(0) + floor + 0.01)
        ),
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
