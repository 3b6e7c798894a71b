"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math

import numpy as np

from course_lib.rlhf.constraints import dual_update


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
        "half": lambda n: 0.5 * (math.log(n) - (n - 1) / n),
    },
    "best_value": {
        "the median of the best n": lambda proxy, value, n: (
            value.double().gather(-1, proxy.topk(n, -1).indices).median(-1).values
        ),
        "weights by softmax": lambda proxy, value, n: (
            (proxy.double() * n).softmax(-1) * value.double()
        ).sum(-1),
    },
    "dual_update": {
        "at most one": lambda price, cost, limit, rate: min(
            1.0, dual_update(price, cost, limit, rate)
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
        "the narrowest gap": stop_at_highest_gap,
        "in the middle of the run": lambda used, second, patience: len(second) // 2,
    },
}
