# ruff: noqa: F811
"""Right answers in other styles than the library's, one per cell; each runs after the imports."""

# %% imports
import math

import numpy as np
import torch
import torch.nn.functional as F

from course_lib.rl.losses import clipped_surrogate, probability_ratio
from course_lib.rlhf import grpo


# %% pair_loss: two implied rewards, softplus
def implied_reward(logp, ref_logp, beta):
    return beta * (logp - ref_logp)


def pair_loss(logp_chosen, logp_rejected, ref_logp_chosen, ref_logp_rejected, beta):
    better = implied_reward(logp_chosen, ref_logp_chosen, beta)
    worse = implied_reward(logp_rejected, ref_logp_rejected, beta)
    return F.softplus(worse - better)


# %% pair_loss: policy's difference less the reference's, loss on logits
def pair_loss(logp_chosen, logp_rejected, ref_logp_chosen, ref_logp_rejected, beta):
    policy, reference = logp_chosen - logp_rejected, ref_logp_chosen - ref_logp_rejected
    margin = beta * (policy - reference)
    wins = torch.ones_like(margin)
    return F.binary_cross_entropy_with_logits(margin, wins, reduction="none")


# %% pair_loss: a softmax over the two responses, float64 inside
def pair_loss(logp_chosen, logp_rejected, ref_logp_chosen, ref_logp_rejected, beta):
    logp = torch.stack([logp_chosen, logp_rejected]).double()
    ref = torch.stack([ref_logp_chosen, ref_logp_rejected]).double()
    rewards = beta * (logp - ref)  # (2, B)
    return (rewards.logsumexp(dim=0) - rewards[0]).float()


# %% pair_loss: pair by pair, by the sign of the margin
def minus_log_sigmoid(x):
    if x > 0:
        return torch.log1p(torch.exp(-x))
    return torch.log1p(torch.exp(x)) - x


def pair_loss(logp_chosen, logp_rejected, ref_logp_chosen, ref_logp_rejected, beta):
    losses = []
    for i in range(len(logp_chosen)):
        chosen = logp_chosen[i] - ref_logp_chosen[i].detach()
        rejected = logp_rejected[i] - ref_logp_rejected[i].detach()
        losses.append(minus_log_sigmoid(beta * chosen - beta * rejected))
    return torch.stack(losses)


# %% group_advantages: row by row with early ends, plain Python
def group_advantages(rewards, scale):
    rows = []
    for row in rewards.tolist():
        if len(set(row)) == 1:
            rows.append([0.0] * len(row))
            continue
        mean = sum(row) / len(row)
        if scale == "none":
            divisor = 1.0
        else:
            divisor = math.sqrt(sum((r - mean) ** 2 for r in row) / (len(row) - 1)) + 1e-4
        rows.append([(r - mean) / divisor for r in row])
    return torch.tensor(rows)


# %% group_advantages: NumPy and back
def group_advantages(rewards, scale):
    r = rewards.double().numpy()
    a = r - r.mean(axis=1, keepdims=True)
    if scale == "std":
        a = a / (r.std(axis=1, ddof=1, keepdims=True) + 1e-4)
    return torch.tensor(np.where(np.ptp(r, axis=1, keepdims=True) == 0, 0.0, a)).float()


# %% group_advantages: every reward against the first of its group, which makes ties exact
def group_advantages(rewards, scale):
    shifted = rewards - rewards[:, :1]
    centred = shifted - shifted.mean(1, keepdim=True)
    if scale == "none":
        return centred
    return centred / (shifted.std(1, keepdim=True) + 1e-4)


# %% group_advantages: torch.var_mean and torch.where
def group_advantages(rewards, scale):
    variance, mean = torch.var_mean(rewards, dim=-1, keepdim=True)
    divisor = {"std": variance.sqrt() + 1e-4, "none": torch.ones_like(variance)}[scale]
    tied = (rewards == rewards[:, :1]).all(dim=1, keepdim=True)
    return torch.where(tied, torch.zeros_like(rewards), (rewards - mean) / divisor)


# %% kl_estimate: from the ratio ref / pi, as in the paper
def kl_estimate(logp, ref_logp, kind):
    log_ratio = ref_logp - logp
    if kind == "k1":
        return -log_ratio
    elif kind == "k2":
        return log_ratio.pow(2) / 2
    elif kind == "k3":
        return log_ratio.exp() - 1 - log_ratio
    raise ValueError(kind)


# %% kl_estimate: a table of functions
def kl_estimate(logp, ref_logp, kind):
    formulas = {
        "k1": lambda d: d,
        "k2": lambda d: d * d * 0.5,
        "k3": lambda d: torch.exp(-d) + d - 1,
    }
    return formulas[kind](logp - ref_logp)


# %% kl_estimate: all three at once, float64 inside
def kl_estimate(logp, ref_logp, kind):
    d = (logp - ref_logp).double()
    all_three = torch.stack([d, 0.5 * d**2, torch.expm1(-d) + d])
    return all_three[int(kind[1]) - 1].to(logp.dtype)


# %% kl_estimate: token by token
def one(d, kind):
    if kind == "k1":
        return d
    return d.square() / 2 if kind == "k2" else 1 / d.exp() - 1 + d


def kl_estimate(logp, ref_logp, kind):
    pairs = zip(logp.flatten(), ref_logp.flatten(), strict=True)
    return torch.stack([one(a - b, kind) for a, b in pairs]).view(logp.shape)


# %% token_weights: row by row
def token_weights(response_mask, normalise, max_new_tokens):
    weights = torch.zeros(response_mask.shape)
    b, total = len(response_mask), int(response_mask.sum())
    for i, row in enumerate(response_mask):
        n = int(row.sum())
        if n == 0:
            continue
        each = {"sequence": 1 / (b * n), "constant": 1 / (b * max_new_tokens), "token": 1 / total}
        weights[i, row] = each[normalise]
    return weights


# %% token_weights: NumPy and back
def token_weights(response_mask, normalise, max_new_tokens):
    keep = response_mask.numpy().astype(float)
    if normalise == "sequence":
        divisor = keep.shape[0] * np.maximum(keep.sum(axis=1, keepdims=True), 1)
    elif normalise == "constant":
        divisor = keep.shape[0] * max_new_tokens
    else:
        divisor = max(keep.sum(), 1)
    return torch.tensor(keep / divisor)


# %% token_weights: fill in where the mask is
def token_weights(response_mask, normalise, max_new_tokens):
    rows = response_mask.shape[0]
    if normalise == "constant":
        return torch.where(response_mask, 1 / (rows * max_new_tokens), 0.0)
    if normalise == "token":
        return torch.where(response_mask, 1 / response_mask.sum(), 0.0)
    each = 1 / (rows * response_mask.sum(1, keepdim=True))  # infinite where nothing is kept
    return each.expand(response_mask.shape).masked_fill(~response_mask, 0.0)


# %% token_weights: a weight for each row, einsum
def token_weights(response_mask, normalise, max_new_tokens):
    mask = response_mask.double()
    lengths = mask.sum(1)
    if normalise == "sequence":
        row = torch.where(lengths > 0, 1 / lengths, lengths) / len(mask)
    elif normalise == "constant":
        row = torch.full_like(lengths, 1 / max_new_tokens) / len(mask)
    else:
        row = torch.ones_like(lengths) / lengths.sum().clamp(min=1)
    return torch.einsum("b,bt->bt", row, mask).float()


# %% learn_from_groups: NumPy, the gradient by hand, duplicates added up by np.add.at
def log_softmax(z):
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def learn_from_groups(logits, sample, reward, updates, epochs, clip, beta, learning_rate):
    z = logits.numpy().astype(float)
    start = log_softmax(z)
    rows = np.arange(len(z))[:, None]
    for _ in range(updates):
        answers = sample(torch.tensor(z)).numpy()
        r = reward(torch.tensor(answers)).numpy().astype(float)
        advantages = r - r.mean(axis=1, keepdims=True)
        old = log_softmax(z)[rows, answers]
        for _ in range(epochs):
            logp = log_softmax(z)
            ratio = np.exp(logp[rows, answers] - old)
            open_ = np.where(advantages > 0, ratio < 1 + clip, ratio > 1 - clip)
            push = ratio * advantages * open_ - beta * (logp - start)[rows, answers]
            gradient = np.zeros_like(z)
            np.add.at(gradient, (rows, answers), push)
            gradient -= push.sum(axis=1, keepdims=True) * np.exp(logp)
            z = z + learning_rate * gradient / answers.size
    return torch.tensor(z, dtype=torch.float32)


# %% learn_from_groups: the pieces of the course, cross entropy, gradients set to zero afterwards
def learn_from_groups(logits, sample, reward, updates, epochs, clip, beta, learning_rate):
    def logp_of(table, answers):
        prompts, size = answers.shape
        rows = table.repeat_interleave(size, dim=0)
        return -F.cross_entropy(rows, answers.flatten(), reduction="none").view(prompts, size)

    table = torch.nn.Parameter(logits.clone())
    reference = logits.clone()
    sgd = torch.optim.SGD([table], learning_rate)
    update = 0
    while update < updates:
        with torch.no_grad():
            answers = sample(table)
            advantages = grpo.group_advantages(reward(answers), "none")
            old, ref = logp_of(table, answers), logp_of(reference, answers)
        for _ in range(epochs):
            logp = logp_of(table, answers)
            loss = clipped_surrogate(probability_ratio(logp, old), advantages, clip).mean()
            loss = loss + beta * grpo.kl_estimate(logp, ref, "k2").mean()
            loss.backward()
            sgd.step()
            sgd.zero_grad()
        update += 1
    return table.data


# %% learn_from_groups: prompt by prompt and answer by answer, torch.autograd.grad, no optimiser
def learn_from_groups(logits, sample, reward, updates, epochs, clip, beta, learning_rate):
    reference = torch.log(torch.softmax(logits, -1))
    policy = logits.clone()
    for _ in range(updates):
        answers = sample(policy)
        scores = reward(answers)
        before = torch.log(torch.softmax(policy, -1))
        for _ in range(epochs):
            policy = policy.detach().requires_grad_(True)
            now = torch.log(torch.softmax(policy, -1))
            objective = 0.0
            for p, group in enumerate(answers.tolist()):
                mean = float(scores[p].mean())
                for i, answer in enumerate(group):
                    better = float(scores[p, i]) - mean
                    ratio = torch.exp(now[p, answer] - before[p, answer])
                    if better >= 0:
                        gain = better * ratio.clamp(max=1 + clip)
                    else:
                        gain = better * ratio.clamp(min=1 - clip)
                    away = now[p, answer] - reference[p, answer]
                    objective = objective + gain - beta * away * away / 2
            (gradient,) = torch.autograd.grad(objective / answers.numel(), policy)
            policy = policy.detach() + learning_rate * gradient
    return policy
