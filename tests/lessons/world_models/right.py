# ruff: noqa: F811, B905
"""Right answers of lesson 11 in other styles."""

# %% imports
import math

import numpy as np
import torch
import torch.nn.functional as F


# %% dyna_update: a weighted mean of old value and target
def dyna_update(q, model, pairs, alpha, gamma):
    new = np.array(q)
    for pair in pairs:
        reward, next_state, terminated = model[pair]
        target = reward if terminated else reward + gamma * max(new[next_state])
        new[pair] = (1 - alpha) * new[pair] + alpha * target
    return new


# %% dyna_update: recursion
def dyna_update(q, model, pairs, alpha, gamma):
    if not pairs:
        return q.copy()
    (s, a), *rest = pairs
    m = model[s, a]
    error = m.reward + gamma * (not m.terminated) * np.amax(q[m.next_state]) - q[s, a]
    one = np.zeros_like(q)
    one[s, a] = alpha * error
    return dyna_update(q + one, model, rest, alpha, gamma)


# %% dyna_update: lists, then an array
def dyna_update(q, model, pairs, alpha, gamma):
    table = q.tolist()
    for s, a in pairs:
        memory = model[(s, a)]
        future = 0.0
        if not memory.terminated:
            future = sorted(table[memory.next_state])[-1]
        table[s][a] += alpha * (memory.reward + gamma * future - table[s][a])
    return np.array(table)


# %% gaussian_nll: torch.distributions
def gaussian_nll(mean, log_var, targets):
    bell = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    return -bell.log_prob(targets).sum(dim=-1)


# %% gaussian_nll: F.gaussian_nll_loss
def gaussian_nll(mean, log_var, targets):
    each = F.gaussian_nll_loss(mean, targets, log_var.exp(), full=True, reduction="none")
    return each.sum(-1)


# %% gaussian_nll: standard deviations away, in double precision
def gaussian_nll(mean, log_var, targets):
    std = log_var.double().mul(0.5).exp()
    z = (targets - mean) / std
    constant = 0.5 * math.log(2 * math.pi) * mean.shape[-1]
    return (z.square() / 2 + std.log()).sum(-1) + constant


# %% gaussian_nll: einsum, number by number
def gaussian_nll(mean, log_var, targets):
    error = targets - mean
    mahalanobis = torch.einsum("...d,...d,...d->...", error, error, 1 / torch.exp(log_var))
    log_det = sum(log_var[..., d] for d in range(log_var.shape[-1]))
    return 0.5 * (mahalanobis + log_det + mean.size(-1) * np.log(2 * np.pi))


# %% elite_update: a loop over environments
def elite_update(plans, scores, mean, std, elites, keep):
    means, stds = [], []
    for n in range(len(plans)):
        best = scores[n].argsort(descending=True)[:elites]
        chosen = plans[n][best]
        means.append(keep * mean[n] + (1 - keep) * chosen.mean(0))
        stds.append(keep * std[n] + (1 - keep) * chosen.std(0, unbiased=False))
    return torch.stack(means), torch.stack(stds)


# %% elite_update: weights of 0 and 1, einsum
def elite_update(plans, scores, mean, std, elites, keep):
    rank = scores.argsort(1, descending=True).argsort(1)
    weight = (rank < elites).float() / elites
    middle = torch.einsum("np,npha->nha", weight, plans)
    variance = torch.einsum("np,npha->nha", weight, (plans - middle[:, None]) ** 2)
    return torch.lerp(middle, mean, keep), torch.lerp(variance.sqrt(), std, keep)


# %% elite_update: NumPy and back
def elite_update(plans, scores, mean, std, elites, keep):
    order = np.argsort(-scores.numpy(), axis=1)[:, :elites, None, None]
    chosen = np.take_along_axis(plans.numpy(), order, axis=1)
    new = torch.from_numpy(chosen.mean(1)), torch.from_numpy(chosen.std(1))
    return tuple(keep * old + (1 - keep) * x for old, x in zip((mean, std), new))


# %% elite_update: mean of the squares, rows by number
def elite_update(plans, scores, mean, std, elites, keep):
    rows = torch.arange(len(scores))[:, None]
    chosen = plans[rows, scores.sort(dim=1).indices[:, -elites:]].double()
    m1, m2 = chosen.sum(1) / elites, (chosen**2).sum(1) / elites
    spread = (m2 - m1**2).clamp(min=0).sqrt()
    return keep * mean + (1 - keep) * m1, keep * std + (1 - keep) * spread


# %% horizon_weights: a softmax of minus the log-variance
def horizon_weights(returns, floor):
    return torch.softmax(-torch.log(returns.var(0, unbiased=False) + floor), dim=0)


# %% horizon_weights: one by one
def horizon_weights(returns, floor):
    E, K, B = returns.shape
    weights = torch.zeros(K, B)
    for b in range(B):
        for k in range(K):
            x = returns[:, k, b]
            weights[k, b] = 1 / (((x - x.mean()) ** 2).sum() / E + floor)
        weights[:, b] /= weights[:, b].sum()
    return weights


# %% horizon_weights: NumPy, differences of pairs
def horizon_weights(returns, floor):
    r = returns.numpy().astype(np.float64)
    variance = ((r[:, None] - r[None]) ** 2).mean((0, 1)) / 2
    certainty = 1 / (variance + floor)
    return torch.tensor(certainty / certainty.sum(0))


# %% horizon_weights: F.normalize
def horizon_weights(returns, floor):
    centred = returns - returns.mean(dim=0, keepdim=True)
    return F.normalize((centred.square().mean(0) + floor).reciprocal(), p=1, dim=0)


# %% cross_entropy_plan: one plan at a time, in NumPy
def cross_entropy_plan(model, state, mean, std, gamma, population, elites, rounds, generator):
    rng = np.random.default_rng(0)
    middle, spread = mean.numpy().copy(), std.numpy().copy()
    for _ in range(rounds):
        scored = []
        for number in range(population):
            plan = rng.normal(middle, spread).astype(np.float32)
            at, discount, total = state[None], 1.0, 0.0
            for action in plan:
                at, reward, ended = model(at, torch.from_numpy(action)[None])
                total += discount * float(reward[0])
                discount *= gamma
                if ended[0]:
                    break
            scored.append((total, number, plan))
        best = np.stack([plan for *_, plan in sorted(scored, reverse=True)[:elites]])
        middle, spread = best.mean(0), best.std(0)
    return torch.from_numpy(middle)


# %% cross_entropy_plan: the rollout apart, ends counted along the plan
def imagined_returns(model, state, plans, gamma):
    at, rewards, over = state.repeat(len(plans), 1), [], []
    for actions in plans.unbind(1):
        at, reward, ended = model(at, actions)
        rewards.append(reward)
        over.append(ended)
    still = torch.stack(over, 1).int().cumsum(1).roll(1, dims=1) == 0
    still[:, 0] = True
    return (torch.stack(rewards, 1) * still) @ gamma ** torch.arange(float(plans.shape[1]))


def cross_entropy_plan(model, state, mean, std, gamma, population, elites, rounds, generator):
    while rounds:
        plans = torch.normal(mean.expand(population, -1, -1), std.expand(population, -1, -1))
        returns = imagined_returns(model, state, plans, gamma)
        best = plans[returns.argsort(descending=True)[:elites]]
        mean, std = best.mean(dim=0), best.std(dim=0, unbiased=False)
        rounds -= 1
    return mean


# %% cross_entropy_plan: backwards through the rewards, recursion over rounds
def cross_entropy_plan(model, state, mean, std, gamma, population, elites, rounds, generator):
    if rounds == 0:
        return mean
    H, A = mean.shape
    plans = torch.distributions.Normal(mean, std + 1e-12).sample((population,))
    steps, states = [], torch.stack([state] * population)
    for h in range(H):
        states, reward, ended = model(states, plans[:, h, :])
        steps.append((reward, ended))
    total = torch.zeros(population)
    for reward, ended in reversed(steps):
        total = reward + torch.where(ended, torch.zeros(()), gamma * total)
    cut = total.sort().values[-elites]
    chosen = plans[total >= cut].reshape(-1, H * A)
    spread = chosen.var(0, unbiased=False).sqrt().view(H, A)
    return cross_entropy_plan(
        *(model, state, chosen.mean(0).view(H, A), spread),
        *(gamma, population, elites, rounds - 1, generator),
    )
