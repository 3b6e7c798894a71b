# ruff: noqa: F811
# %% imports
import math

import numpy as np
import torch
import torch.nn.functional as F


# %% probability_ratio: a power of e
def probability_ratio(logp, old_logp):
    return math.e ** (logp - old_logp)


# %% probability_ratio: row by row
def probability_ratio(logp, old_logp):
    ratios = []
    for new, old in zip(logp, old_logp, strict=True):
        ratios.append((new - old).exp())
    return torch.stack(ratios)


# %% probability_ratio: one over the inverse, in double precision
def probability_ratio(logp, old_logp):
    inverse = (old_logp.double() - logp.double()).exp()
    return (1 / inverse).float()


# %% probability_ratio: what softmax and sigmoid say about two numbers
def probability_ratio(logp, old_logp):
    share = torch.sigmoid(logp - old_logp)
    return share / torch.sigmoid(old_logp - logp)


# %% clipped_surrogate: the larger of two losses
def clipped_surrogate(ratio, advantages, clip):
    plain = -advantages * ratio
    clipped = -advantages * torch.clip(ratio, 1.0 - clip, 1.0 + clip)
    return torch.maximum(plain, clipped)


# %% clipped_surrogate: two cases with torch.where
def clipped_surrogate(ratio, advantages, clip):
    good = torch.where(ratio > 1 + clip, torch.full_like(ratio, 1 + clip), ratio)
    bad = torch.where(ratio < 1 - clip, torch.full_like(ratio, 1 - clip), ratio)
    return -torch.where(advantages >= 0, good, bad) * advantages


# %% clipped_surrogate: row by row with Python's min and max
def clipped_surrogate(ratio, advantages, clip):
    losses = []
    for r, a in zip(ratio, advantages, strict=True):
        kept = max(min(r, torch.tensor(1 + clip)), torch.tensor(1 - clip))
        losses.append(-min(r * a, kept * a))
    return torch.stack(losses)


# %% clipped_surrogate: what lies beyond the limit is taken away
def clipped_surrogate(ratio, advantages, clip):
    over = F.relu(ratio - (1 + clip)) * F.relu(advantages)
    under = F.relu((1 - clip) - ratio) * F.relu(-advantages)
    return over + under - ratio * advantages


# %% clipped_surrogate: two tensors on top of each other
def clipped_surrogate(ratio, advantages, clip):
    both = torch.stack([ratio, ratio.clamp(min=1 - clip).clamp(max=1 + clip)])
    return (both * advantages).amin(dim=0).neg()


# %% value_loss: early return
def value_loss(values, targets, old_values, clip):
    plain = F.mse_loss(values, targets, reduction="none") / 2
    if clip is None:
        return plain
    near = torch.clamp(values, old_values - clip, old_values + clip)
    return torch.maximum(plain, F.mse_loss(near, targets, reduction="none") / 2)


# %% value_loss: the larger distance, squared at the end
def value_loss(values, targets, old_values, clip):
    distance = (values - targets).abs()
    if clip is not None:
        low, high = old_values - clip, old_values + clip
        near = torch.minimum(torch.maximum(values, low), high)
        distance = torch.maximum(distance, (near - targets).abs())
    return distance.pow(2).mul(0.5)


# %% value_loss: a number at a time
def half_square(a, b):
    return (a - b) * (a - b) / 2


def value_loss(values, targets, old_values, clip):
    losses = []
    for i in range(len(values)):
        loss = half_square(values[i], targets[i])
        if clip is not None:
            moved = values[i] - old_values[i]
            if moved > clip:
                moved = moved * 0 + clip
            elif moved < -clip:
                moved = moved * 0 - clip
            loss = max(loss, half_square(old_values[i] + moved, targets[i]))
        losses.append(loss)
    return torch.stack(losses)


# %% value_loss: no clip is an infinite one
def value_loss(values, targets, old_values, clip):
    if clip is None or old_values is None:
        old_values, clip = values, math.inf
    near = old_values + torch.clip(values - old_values, -clip, clip)
    first, second = (values - targets).square(), (near - targets).square()
    return 0.5 * torch.where(first > second, first, second)


# %% approx_kl: with the ratio
def approx_kl(logp, old_logp):
    ratio = (logp - old_logp).exp()
    return (ratio - 1) - ratio.log()


# %% approx_kl: NumPy and back
def approx_kl(logp, old_logp):
    difference = logp.detach().double().numpy() - old_logp.detach().double().numpy()
    return torch.from_numpy(np.exp(difference) - difference - 1).float()


# %% approx_kl: number by number
def approx_kl(logp, old_logp):
    rows = []
    for new, old in zip(logp.tolist(), old_logp.tolist(), strict=True):
        rows.append(math.exp(new - old) - 1.0 + old - new)
    return torch.tensor(rows)


# %% approx_kl: the old log-probability comes first
def approx_kl(logp, old_logp):
    behind = old_logp - logp
    return behind + torch.expm1(-behind)


# %% gaussian_logp: torch.distributions
def gaussian_logp(actions, mean, log_std):
    return torch.distributions.Normal(mean, log_std.exp()).log_prob(actions).sum(dim=1)


# %% gaussian_logp: variance, and the constants once
def gaussian_logp(actions, mean, log_std):
    variance = torch.exp(2 * log_std)
    squares = ((actions - mean) ** 2 / variance).sum(-1)
    return -0.5 * squares - log_std.sum() - 0.5 * len(log_std) * math.log(2 * math.pi)


# %% gaussian_logp: dimension by dimension
def gaussian_logp(actions, mean, log_std):
    total = torch.zeros(actions.shape[0])
    for d in range(actions.shape[1]):
        std = log_std[d].exp()
        z = (actions[:, d] - mean[:, d]) / std
        total = total - z * z / 2 - torch.log(std * math.sqrt(2 * math.pi))
    return total


# %% gaussian_logp: a bell in D dimensions, in double precision
def gaussian_logp(actions, mean, log_std):
    scale = torch.diag(log_std.double().exp())
    bell = torch.distributions.MultivariateNormal(mean.double(), scale_tril=scale)
    return bell.log_prob(actions.double()).float()


# %% gaussian_logp: minus the loss that torch has for it
def gaussian_logp(actions, mean, log_std):
    variance = (2 * log_std).exp().expand_as(mean)
    loss = F.gaussian_nll_loss(mean, actions, variance, full=True, eps=0.0, reduction="none")
    return -loss.sum(-1)


# %% learn_from_rollout: a table of parameters, slices of a list, torch.autograd.grad
def learn_from_rollout(
    logits, states, actions, advantages, epochs, minibatch_size, clip, rate, kl, generator
):
    def log_probabilities(table):
        return F.log_softmax(table, dim=1).gather(1, taken[:, None]).squeeze(1)

    table = torch.nn.Parameter(logits.clone())
    with torch.no_grad():
        before = F.log_softmax(table, dim=1)[states, actions]
    for _ in range(epochs):
        shuffled = torch.rand(len(states), generator=generator).argsort().tolist()
        for first in range(0, len(shuffled), minibatch_size):
            i = shuffled[first : first + minibatch_size]
            taken = actions[i]
            difference = log_probabilities(table[states[i]]) - before[i]
            if kl is not None and (difference.exp() - 1 - difference).mean().item() > kl:
                return table
            ratio, a = difference.exp(), advantages[i]
            objective = torch.minimum(ratio * a, torch.clip(ratio, 1 - clip, 1 + clip) * a).mean()
            (slope,) = torch.autograd.grad(objective, table)
            table.data += rate * slope
    return table


# %% learn_from_rollout: the gradient worked out on paper, in double precision
def learn_from_rollout(
    logits, states, actions, advantages, epochs, minibatch_size, clip, rate, kl, generator
):
    table = logits.double()
    old = table.softmax(-1)[states, actions]
    left = epochs
    while left:
        left -= 1
        for i in torch.randperm(len(states), generator=generator).split(minibatch_size):
            s, a, gain = states[i], actions[i], advantages[i].double()
            policy = table[s].softmax(-1)
            ratio = policy[torch.arange(len(i)), a] / old[i]
            if kl is not None and (ratio - 1 - ratio.log()).mean() > kl:
                return table.float()
            flat = torch.where(gain > 0, ratio > 1 + clip, ratio < 1 - clip)
            strength = torch.where(flat, 0.0, gain * ratio) / len(i)
            push = strength[:, None] * (F.one_hot(a, table.shape[1]) - policy)
            table = table.index_add(0, s, rate * push)
    return table.float()


# %% learn_from_rollout: a generator of minibatches, a network without hidden layer, a flag
def minibatches(rows, size, epochs, generator):
    for _ in range(epochs):
        order = rows[torch.randperm(len(rows), generator=generator)]
        while len(order):
            yield order[:size]
            order = order[size:]


def learn_from_rollout(
    logits, states, actions, advantages, epochs, minibatch_size, clip, rate, kl, generator
):
    policy = torch.nn.Embedding.from_pretrained(logits.clone(), freeze=False)
    optimizer = torch.optim.SGD(policy.parameters(), lr=rate, maximize=True)
    was = torch.distributions.Categorical(logits=policy(states).detach()).log_prob(actions)
    over = False
    for b in minibatches(torch.arange(len(states)), minibatch_size, epochs, generator):
        now = torch.distributions.Categorical(logits=policy(states[b])).log_prob(actions[b])
        r = torch.exp(now - was[b])
        over = over or (kl is not None and bool((r - 1 - (now - was[b])).mean() > kl))
        if not over:
            optimizer.zero_grad()
            pays = r * advantages[b]
            torch.min(pays, r.clamp(1 - clip, 1 + clip) * advantages[b]).mean().backward()
            optimizer.step()
    return policy.weight.data
