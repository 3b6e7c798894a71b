"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import numpy as np


def greedy_ties_last(q, epsilon):
    best = np.zeros_like(q, dtype=float)
    last = q.shape[-1] - 1 - np.argmax(np.flip(q, -1), -1)
    np.put_along_axis(best, last[..., None], 1.0, -1)
    return epsilon / q.shape[-1] + (1 - epsilon) * best


UNFORESEEN = {
    "bellman_backup": {
        "nothing for a reward of 0": lambda p, r, v, gamma: np.where(r == 0, 0, r + gamma * p @ v),
        "the likeliest successor alone": lambda p, r, v, gamma: r + gamma * v[p.argmax(-1)],
    },
    "epsilon_greedy": {
        "the last of several best": greedy_ties_last,
        "softmax": lambda q, e: (
            e / q.shape[-1] + (1 - e) * np.exp(9 * q) / np.exp(9 * q).sum(axis=-1, keepdims=True)
        ),
    },
    "q_update": {
        "squares the step": lambda v, target, alpha: v + alpha**2 * (target - v),
        "sign of the error": lambda v, target, alpha: v + alpha * float(np.sign(target - v)),
    },
    "q_learning_target": {
        "never below zero": lambda r, end, q, a, gamma: (
            r + gamma * (1 - end) * max(0.0, float(q.max()))
        ),
        "largest in size": lambda r, end, q, a, gamma: (
            r + gamma * (1 - end) * float(q[np.abs(q).argmax()])
        ),
    },
    "sarsa_target": {
        "the action after": lambda r, end, q, a, gamma: (
            r + gamma * (1 - end) * float(q[(a + 1) % len(q)])
        ),
        "discounts the reward as well": lambda r, end, q, a, gamma: (
            gamma * (r + (1 - end) * float(q[a]))
        ),
    },
}
