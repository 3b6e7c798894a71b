"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math
from itertools import combinations

import numpy as np
import torch

from course_lib.rlhf.best_of_n import best_value
from course_lib.rlhf.constraints import dual_update


def best_above_zero(proxy, value, n):
    """Looks for the highest proxy from 0 upwards, so it never finds a negative one."""
    if proxy.dim() > 1:
        return torch.stack([best_above_zero(*row, n) for row in zip(proxy, value, strict=True)])
    values = []
    for choice in combinations(range(len(proxy)), n):
        best, highest = choice[0], 0.0
        for i in choice:
            if proxy[i] > highest:
                best, highest = i, proxy[i]
        values.append(value[best])
    return torch.stack(values).mean()


def stop_before_looking(used, second, patience):
    """Stops when patience is over, even if the second judge has come back at that very update."""
    best = 0
    for i in range(len(second)):
        if i - best >= patience and used[i] > used[best]:
            return best
        if second[i] > second[best]:
            best = i
    return len(second) - 1


def stop_above_zero(used, second, patience):
    best, highest = 0, 0.0
    for i in range(len(second)):
        if second[i] > highest:
            best, highest = i, second[i]
        if i - best >= patience and used[i] > used[best]:
            return best
    return len(second) - 1


def stop_by_falls(used, second, patience):
    """Counts the updates at which the second judge fell, not those since its best."""
    best = falls = 0
    for i in range(1, len(second)):
        if second[i] > second[best]:
            best = i
        falls += second[i] < second[i - 1]
        if falls >= patience and used[i] > used[best]:
            return best
    return len(second) - 1


def stop_in_window(used, second, patience):
    """Takes any update for the best that the next ones do not exceed."""
    for i in range(patience, len(second)):
        first = i - patience
        if max(second[first + 1 : i + 1]) <= second[first] and used[i] > used[first]:
            return first
    return len(second) - 1


def stop_after(used, second, patience):
    """Stops as soon as the second judge falls `patience` times in a row."""
    falls = 0
    for i in range(1, len(second)):
        falls = falls + 1 if second[i] < second[i - 1] else 0
        if falls >= patience:
            return i - patience
    return len(second) - 1


def stop_at_highest_gap(used, second, patience):
    return int(np.argmin(np.asarray(used) - np.asarray(second)))


UNFORESEEN = {
    "best_of_n_kl": {
        "of n minus one": lambda n: math.log(max(n - 1, 1)) - (n - 1) / n,
        "the limit for large n": lambda n: math.log(n) - 1 if n > 1 else 0.0,
        "harmonic numbers": lambda n: sum(1 / k for k in range(2, n + 1)) - (n - 1) / n,
        "half": lambda n: 0.5 * (math.log(n) - (n - 1) / n),
    },
    "best_value": {
        "the median of the best n": lambda proxy, value, n: (
            value.double().gather(-1, proxy.topk(n, -1).indices).median(-1).values
        ),
        "nothing below zero": best_above_zero,
        "the size of the proxy": lambda proxy, value, n: best_value(proxy.abs(), value, n),
        "weights by softmax": lambda proxy, value, n: (
            (proxy.double() * n).softmax(-1) * value.double()
        ).sum(-1),
    },
    "dual_update": {
        "at most one": lambda price, cost, limit, rate: min(
            1.0, dual_update(price, cost, limit, rate)
        ),
        "the absolute value": lambda price, cost, limit, rate: abs(price + rate * (cost - limit)),
        "a running mean": lambda price, cost, limit, rate: max(
            0.0, (1 - rate) * price + rate * (cost - limit)
        ),
        "only the sign counts": lambda price, cost, limit, rate: max(
            0.0, price + rate * float(np.sign(cost - limit))
        ),
        "relative excess": lambda price, cost, limit, rate: max(
            0.0, price + rate * (cost - limit) / max(limit, 0.1)
        ),
    },
    "stop_at": {
        "falls in a row": stop_after,
        "before looking": stop_before_looking,
        "nothing below zero": stop_above_zero,
        "counts falls": stop_by_falls,
        "the best of a window": stop_in_window,
        "the narrowest gap": stop_at_highest_gap,
        "in the middle of the run": lambda used, second, patience: len(second) // 2,
    },
}
