# ruff: noqa: F811, B905
"""Right answers of lesson 10 in other styles."""

# %% imports
import math

import numpy as np
import torch


# %% best_of_n_kl: one fraction
def best_of_n_kl(n):
    return (n * math.log(n) - n + 1) / n


# %% best_of_n_kl: an integral over u, strip by strip
def best_of_n_kl(n):
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    density = n * u ** (n - 1)
    return float(np.mean(density * (np.log(n) + (n - 1) * np.log(u))))


# %% best_of_n_kl: a tensor, minus the entropy
def best_of_n_kl(n):
    n = torch.tensor(n, dtype=torch.float64)
    entropy = -n.log() + 1 - 1 / n
    return -entropy


# %% best_value: every choice, one by one
def best_value(proxy, value, n):
    from itertools import combinations

    if proxy.dim() > 1:
        return torch.stack([best_value(p, v, n) for p, v in zip(proxy, value)])
    chosen = [value[max(c, key=lambda i: proxy[i])] for c in combinations(range(len(proxy)), n)]
    return torch.stack(chosen).mean()


# %% best_value: weights by math.comb, padded with zeros
def best_value(proxy, value, n):
    N = proxy.shape[-1]
    order = torch.argsort(proxy, -1, descending=True)
    best_first = torch.take_along_dim(value, order, -1)
    weights = [math.comb(N - 1 - place, n - 1) / math.comb(N, n) for place in range(N)]
    return best_first @ torch.tensor(weights, dtype=value.dtype)


# %% best_value: the chance to be at most number i, and its differences, in NumPy
def best_value(proxy, value, n):
    proxy, value = proxy.numpy(), value.numpy().astype(np.float64)
    N = proxy.shape[-1]
    at_most = np.ones(N + 1)
    for i in range(N + 1):
        for k in range(n):
            at_most[i] *= max(0, i - k) / (N - k)
    ordered = np.take_along_axis(value, proxy.argsort(-1), -1)
    return torch.tensor(np.einsum("...i,i->...", ordered, np.diff(at_most))).float()


# %% best_value: the ranks instead of sorting
def best_value(proxy, value, n):
    N = proxy.shape[-1]
    below = (proxy[..., None, :] < proxy[..., :, None]).sum(-1).double()
    weight = torch.full_like(below, n / N)  # the response is drawn, and all others from below it
    for k in range(n - 1):
        weight = weight * (below - k).clamp(min=0) / (N - 1 - k)
    return torch.sum(weight * value, dim=-1)


# %% dual_update: with if
def dual_update(price, cost, limit, rate):
    new = price - rate * (limit - cost)
    if new < 0:
        return 0
    return new


# %% dual_update: NumPy
def dual_update(price, cost, limit, rate):
    excess = np.subtract(cost, limit)
    return np.maximum(price + rate * excess, 0.0)


# %% dual_update: a clamped tensor
def dual_update(price, cost, limit, rate):
    step = torch.tensor(rate, dtype=torch.float64) * (cost - limit)
    return torch.relu(price + step).item()


# %% dual_update: the step down is bounded
def dual_update(price, cost, limit, rate):
    return price + max(-price, rate * cost - rate * limit)


# %% stop_at: counts the updates since the best
def stop_at(used, second, patience):
    best, waited, highest = 0, 0, -math.inf
    for number, (mine, other) in enumerate(zip(used, second)):
        if other > highest:
            best, waited, highest = number, 0, other
        else:
            waited += 1
            if waited >= patience and mine > used[best]:
                break
    else:
        return len(used) - 1
    return best


# %% stop_at: argmax of each beginning
def stop_at(used, second, patience):
    for i in range(len(second)):
        best = int(np.argmax(second[: i + 1]))
        if i - best >= patience and used[i] > used[best]:
            return best
    return i


# %% stop_at: all at once
def stop_at(used, second, patience):
    used, second = np.asarray(used), np.asarray(second)
    i = np.arange(len(second))
    running = np.maximum.accumulate(second)
    new = np.r_[True, second[1:] > running[:-1]]
    best = np.maximum.accumulate(np.where(new, i, 0))
    stop = (i - best >= patience) & (used > used[best])
    return int(best[stop.argmax()]) if stop.any() else len(second) - 1


# %% stop_at: recursion
def stop_at(used, second, patience, i=0, best=0):
    if i == len(second):
        return i - 1
    best = i if second[i] > second[best] else best
    if i >= best + patience and used[best] < used[i]:
        return best
    return stop_at(used, second, patience, i + 1, best)


# %% stop_at: the later of two equally good updates
def stop_at(used, second, patience):
    best = 0
    for i, x in enumerate(second):
        if x >= second[best]:
            best = i
        if i - best >= patience and used[i] > used[best]:
            return best
    return len(second) - 1
