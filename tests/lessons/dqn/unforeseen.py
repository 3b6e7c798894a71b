"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import numpy as np
from torch.nn.functional import one_hot

from course_lib.lessons.dqn import build
from course_lib.rl import returns


def sorted_ring(written, count, capacity):
    rows, size = dqn_ring(written, count, capacity)
    return np.sort(rows), size


def dqn_ring(written, count, capacity):
    return (written + np.arange(count)) % capacity, min(written + count, capacity)


def last_end(rewards, terminated, truncated, gamma):
    stops = np.flatnonzero(terminated | truncated)
    steps = stops[-1] + 1 if len(stops) else len(rewards)
    return sum(gamma**k * rewards[k] for k in range(steps)), int(steps), bool(terminated[steps - 1])


def trained(*arguments):
    return build.learn_from_replay.reference(*arguments)


UNFORESEEN = {
    "epsilon_schedule": {
        "one step ahead": lambda step, start, end, n: (
            start + (end - start) * min((step + 1) / n, 1)
        ),
        "nothing left after the decay": lambda step, start, end, n: (
            start + (end - start) * step / n if step <= n else 0.0
        ),
        "geometric": lambda step, start, end, n: (
            start * (max(end, 1e-9) / start) ** min(step / n, 1.0)
        ),
        "half the way": lambda step, start, end, n: start + (end - start) * min(step / n / 2, 1.0),
    },
    "ring_indices": {
        "full one row too early": lambda w, n, c: (
            (w + np.arange(n)) % c,
            c if w + n >= c - 1 else w + n,
        ),
        "goes around once only": lambda w, n, c: (
            np.where(w + np.arange(n) < c, w + np.arange(n), w + np.arange(n) - c),
            min(w + n, c),
        ),
        "in ascending order": sorted_ring,
        "one row short": lambda w, n, c: ((w + np.arange(n)) % c, min(w + n, c - 1)),
    },
    "td_target": {
        "no future where one row ended": lambda r, end, q, gamma: (
            r + gamma * (1 - end.max()) * q.max(-1).values
        ),
        "a future never below zero": lambda r, end, q, gamma: (
            r + gamma * (1 - end) * q.max(-1).values.clamp(min=0)
        ),
        "the first action": lambda r, end, q, gamma: r + gamma * (1 - end) * q[:, 0],
        "second best": lambda r, end, q, gamma: (
            r + gamma * (1 - end.to(r)) * q.topk(2, dim=-1).values[:, 1]
        ),
        "rewards beyond 1 are cut": lambda r, end, q, gamma: (
            r.clamp(-1, 1) + gamma * (1 - end.to(r)) * q.max(-1).values
        ),
    },
    "n_step_target": {
        "the last end in the window": last_end,
        "the window's last flag": lambda r, end, cut, gamma: (
            *returns.n_step_target(r, end, cut, gamma)[:2],
            bool(end[-1]),
        ),
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
        "a one-hot mask, then the maximum": lambda r, end, online, target, gamma: (
            r
            + gamma
            * (1 - end)
            * (target * one_hot(online.argmax(1), online.shape[1])).max(1).values
        ),
        "one action for the whole batch": lambda r, end, online, target, gamma: (
            r + gamma * (1 - end) * target[:, online.mean(0).argmax()]
        ),
        "means of both": lambda r, end, online, target, gamma: (
            r + gamma * (1 - end.to(r)) * ((online + target) / 2).max(-1).values
        ),
        "the online network's worst": lambda r, end, online, target, gamma: (
            r + gamma * (1 - end.to(r)) * target.gather(1, online.argmin(-1, True))[:, 0]
        ),
    },
    "learn_from_replay": {
        "returns the network": lambda *args: trained(*args) and args[1],
        "returns the table, a row per state": lambda *args: trained(*args)["weight"].T,
        "NumPy in place of tensors": lambda *args: {
            k: v.numpy() for k, v in trained(*args).items()
        },
        "a list of weights": lambda *args: list(trained(*args).values()),
    },
}
