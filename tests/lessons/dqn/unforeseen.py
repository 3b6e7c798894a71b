"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import numpy as np

from course_lib.rl import returns


def sorted_ring(written, count, capacity):
    rows, size = dqn_ring(written, count, capacity)
    return np.sort(rows), size


def dqn_ring(written, count, capacity):
    return (written + np.arange(count)) % capacity, min(written + count, capacity)


UNFORESEEN = {
    "epsilon_schedule": {
        "geometric": lambda step, start, end, n: (
            start * (max(end, 1e-9) / start) ** min(step / n, 1.0)
        ),
        "half the way": lambda step, start, end, n: start + (end - start) * min(step / n / 2, 1.0),
    },
    "ring_indices": {
        "in ascending order": sorted_ring,
        "one row short": lambda w, n, c: ((w + np.arange(n)) % c, min(w + n, c - 1)),
    },
    "td_target": {
        "second best": lambda r, end, q, gamma: (
            r + gamma * (1 - end.to(r)) * q.topk(2, dim=-1).values[:, 1]
        ),
        "rewards beyond 1 are cut": lambda r, end, q, gamma: (
            r.clamp(-1, 1) + gamma * (1 - end.to(r)) * q.max(-1).values
        ),
    },
    "n_step_target": {
        "divided by the steps": lambda r, end, cut, gamma: (
            returns.n_step_target(r, end, cut, gamma)[0] / len(r),
            *returns.n_step_target(r, end, cut, gamma)[1:],
        ),
        "rewards never below zero": lambda r, end, cut, gamma: returns.n_step_target(
            [max(0.0, x) for x in r], end, cut, gamma
        ),
        "the newest reward counts most": lambda r, end, cut, gamma: (
            sum(gamma**k * x for k, x in enumerate(reversed(r))),
            *returns.n_step_target(r, end, cut, gamma)[1:],
        ),
    },
    "double_dqn_target": {
        "means of both": lambda r, end, online, target, gamma: (
            r + gamma * (1 - end.to(r)) * ((online + target) / 2).max(-1).values
        ),
        "the online network's worst": lambda r, end, online, target, gamma: (
            r + gamma * (1 - end.to(r)) * target.gather(1, online.argmin(-1, True))[:, 0]
        ),
    },
}
