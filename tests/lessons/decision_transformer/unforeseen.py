"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import numpy as np
import torch
import torch.nn.functional as F

from course_lib.agents.decision_transformer import interleave
from course_lib.lessons.decision_transformer import build
from course_lib.rl import dataset, offline, offline_table

played = build.play_games.reference


def with_metrics(loss, q, gap=None):
    extra = {} if gap is None else {"gap": gap}
    return loss, {"loss": loss.detach(), "q": q, **extra}


def conservative(q, actions, targets, alpha, gap):
    taken = q.gather(1, actions[:, None]).squeeze(1)
    loss = F.smooth_l1_loss(taken, targets) + alpha * gap
    return with_metrics(loss, taken.detach().mean(), gap.detach())


def expected_gap(q, actions):
    """Values weighed by their softmax, less the recorded one's: no logarithm of a sum."""
    return ((q.softmax(1) * q).sum(1) - q.gather(1, actions[:, None]).squeeze(1)).mean()


def squared(q, actions, targets, alpha):
    taken = q.gather(1, actions[:, None]).squeeze(1)
    gap = (q.logsumexp(1) - taken).mean()
    loss = ((taken - targets) ** 2).mean() + alpha * gap
    return with_metrics(loss, taken.detach().mean(), gap.detach())


def weighted(values, targets, weight):
    loss = (weight * (targets - values) ** 2).mean()
    return loss, {"loss": loss.detach(), "value": values.detach().mean()}


UNFORESEEN = {
    "returns_to_go": {
        "the mean of what is to come": lambda rewards, ended: (
            dataset.returns_to_go(rewards, ended) / len(rewards)
        ),
        "scaled": lambda rewards, ended: dataset.returns_to_go(rewards, ended) / 10,
        "prizes alone": lambda rewards, ended: dataset.returns_to_go(rewards.clip(0), ended),
        "from the table's end": lambda rewards, ended: (
            rewards.sum() - np.cumsum(rewards) + 2 * rewards
        ).astype(np.float32),
        "a list": lambda rewards, ended: dataset.returns_to_go(rewards, ended).tolist(),
    },
    "interleave": {
        "s, a, R": lambda r, s, a: interleave(s, a, r),
        "time backwards": lambda r, s, a: interleave(r, s, a).flip(1),
        "R s R s": lambda r, s, a: interleave(r, s, s),
        "the first window for all": lambda r, s, a: interleave(r, s, a)[:1].expand(len(r), -1, -1),
        "detached returns": lambda r, s, a: interleave(r.detach(), s, a),
    },
    "action_given_return": {
        "the product's square": lambda prior, likelihood: (
            prior
            if not (prior * likelihood).any()
            else (prior * likelihood) ** 2 / ((prior * likelihood) ** 2).sum()
        ),
        "the mean of both": lambda prior, likelihood: (prior + likelihood) / 2,
        "the likelihood of nothing": lambda prior, likelihood: offline_table.action_given_return(
            prior, 1 - likelihood
        ),
        "the prior twice": lambda prior, likelihood: offline_table.action_given_return(
            prior * prior, likelihood
        ),
    },
    "conservative_loss": {
        "the mean by softmax": lambda q, actions, targets, alpha: conservative(
            q, actions, targets, alpha, expected_gap(q, actions)
        ),
        "squared errors": squared,
        "the policy at twice its temperature": lambda q, actions, targets, alpha: conservative(
            q, actions, targets, alpha, F.cross_entropy(q / 2, actions)
        ),
        "only what is above": lambda q, actions, targets, alpha: conservative(
            q,
            actions,
            targets,
            alpha,
            (q.amax(1) - q.gather(1, actions[:, None]).squeeze(1)).clamp(min=0.1).mean(),
        ),
        "no metrics": lambda *args: offline.conservative_loss(*args)[0],
    },
    "expectile_loss": {
        "the heavy side twice": lambda v, t, expectile: weighted(
            v, t, torch.where(t > v, 2 * expectile, 1 - expectile)
        ),
        "one for the light side": lambda v, t, expectile: weighted(
            v, t, torch.where(t > v, expectile, 1.0)
        ),
        "Huber": lambda v, t, expectile: (
            F.smooth_l1_loss(v, t),
            {"loss": F.smooth_l1_loss(v, t).detach(), "value": v.detach().mean()},
        ),
        "always 0.7": lambda v, t, expectile: offline.expectile_loss(v, t, 0.7),
        "by the sign of the target": lambda v, t, expectile: weighted(
            v, t, torch.where(t > 0, expectile, 1 - expectile)
        ),
    },
    "play_games": {
        "a list of lists": lambda policy, envs, *rest: (
            played(policy, envs, *rest).reshape(envs.num_envs, -1).tolist()
        ),
        "the mean of all": lambda *args: float(played(*args).mean()),
        "a tensor": lambda *args: torch.as_tensor(played(*args)),
        "every environment plays all": lambda policy, envs, target, episodes, context: played(
            policy, envs, target, episodes * envs.num_envs, context
        ),
    },
}
