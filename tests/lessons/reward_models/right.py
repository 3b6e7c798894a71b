# ruff: noqa: F811
"""Right answers in other styles than the library's, one per cell; each runs after the imports."""

# %% imports
import math

import numpy as np
import torch
import torch.nn.functional as F


# %% pairwise_nll: the ready-made loss on logits
def pairwise_nll(chosen, rejected, share):
    return F.binary_cross_entropy_with_logits(chosen - rejected, share, reduction="none")


# %% pairwise_nll: softplus, a sum simplified
def pairwise_nll(chosen, rejected, share):
    d = chosen - rejected
    return F.softplus(d) - share * d


# %% pairwise_nll: a softmax over the two replies, float64 inside
def pairwise_nll(chosen, rejected, share):
    both = torch.stack([chosen, rejected], dim=1).double()
    labels = torch.stack([share, 1 - share], dim=1).double()
    return F.cross_entropy(both, labels, reduction="none").float()


# %% pairwise_nll: pair by pair, the larger reward taken out of the logarithm
def log_of_sum(a, b):
    high = torch.maximum(a, b)
    return high + torch.log(torch.exp(a - high) + torch.exp(b - high))


def pairwise_nll(chosen, rejected, share):
    losses = []
    for a, b, s in zip(chosen, rejected, share, strict=True):
        total = log_of_sum(a, b)
        losses.append(s * (total - a) + (1 - s) * (total - b))
    return torch.stack(losses)


# %% pairwise_nll: one branch for each kind of label
def pairwise_nll(chosen, rejected, share):
    win, lose = -F.logsigmoid(chosen - rejected), -F.logsigmoid(rejected - chosen)
    tie = (win + lose) / 2
    return torch.where(share == 1, win, torch.where(share == 0, lose, tie))


# %% last_token: row by row
def last_token(values, valid_mask):
    picked = []
    for row, mask in zip(values, valid_mask, strict=True):
        kept = row[mask]
        picked.append(kept[-1] if len(kept) else torch.zeros(()))
    return torch.stack(picked)


# %% last_token: a scan from left to right
def last_token(values, valid_mask):
    found = torch.zeros(values.shape[0])
    for t in range(values.shape[1]):
        found = torch.where(valid_mask[:, t], values[:, t], found)
    return found


# %% last_token: nothing comes after it, as a weighted sum
def last_token(values, valid_mask):
    mask = valid_mask.float()
    after = mask.flip(1).cumsum(1).flip(1) - mask  # real tokens further right
    return torch.einsum("bt,bt->b", values, mask * (after == 0))


# %% last_token: argmax of the mirrored mask
def last_token(values, valid_mask):
    rows, width = valid_mask.shape
    place = width - 1 - valid_mask.flip(1).int().argmax(1)
    return values[torch.arange(rows), place] * valid_mask.any(1)


# %% last_token: recursion on the width
def last_token(values, valid_mask):
    if values.shape[1] == 0:
        return torch.zeros(len(values))
    before = last_token(values[:, :-1], valid_mask[:, :-1])
    return torch.where(valid_mask[:, -1], values[:, -1], before)


# %% accuracy: a loop with counts, a Python number
def accuracy(chosen, rejected, share):
    right = 0.0
    for a, b, s in zip(chosen.tolist(), rejected.tolist(), share.tolist(), strict=True):
        if a == b or s == 0.5:
            right += 0.5
        elif (a > b) == (s == 1):
            right += 1
    return right / len(chosen)


# %% accuracy: signs multiplied
def accuracy(chosen, rejected, share):
    agree = torch.sign(chosen - rejected) * torch.sign(share - 0.5)  # 1, 0 or -1
    return 0.5 + agree.mean() / 2


# %% accuracy: NumPy and back
def accuracy(chosen, rejected, share):
    a, b, s = (x.numpy() for x in (chosen, rejected, share))
    first = np.select([a > b, a < b], [1.0, 0.0], 0.5)
    return torch.tensor(np.average(np.where(s == 1, first, np.where(s == 0, 1 - first, 0.5))))


# %% accuracy: torch.heaviside
def accuracy(chosen, rejected, share):
    first = torch.heaviside(chosen - rejected, torch.tensor(0.5))
    return torch.lerp(1 - first, first, share).mean()


# %% noisy_nll: the ready-made loss on probabilities
def noisy_nll(chosen, rejected, share, flip):
    q = flip + (1 - 2 * flip) * torch.sigmoid(chosen - rejected)
    return F.binary_cross_entropy(q, share, reduction="none")


# %% noisy_nll: a table of what was meant and what was written
def noisy_nll(chosen, rejected, share, flip):
    meant = torch.stack([chosen, rejected], dim=1).softmax(dim=1)  # (B, 2)
    written = meant @ torch.tensor([[1 - flip, flip], [flip, 1 - flip]])
    labels = torch.stack([share, 1 - share], dim=1)
    return -torch.einsum("bk,bk->b", labels, written.log())


# %% noisy_nll: sums of logarithms
def noisy_nll(chosen, rejected, share, flip):
    first, second = F.logsigmoid(chosen - rejected), F.logsigmoid(rejected - chosen)
    kept, turned = math.log(1 - flip), math.log(flip)
    log_q = torch.logaddexp(kept + first, turned + second)
    log_rest = torch.logaddexp(kept + second, turned + first)
    return -(share * log_q + (1 - share) * log_rest)


# %% noisy_nll: pair by pair, in double precision
def noisy_nll(chosen, rejected, share, flip):
    losses = []
    for a, b, s in zip(chosen.double(), rejected.double(), share.double(), strict=True):
        p = 1 / (1 + torch.exp(b - a))
        says_first = p * (1 - flip) + (1 - p) * flip
        losses.append(-s * torch.log(says_first) - (1 - s) * torch.log(1 - says_first))
    return torch.stack(losses)


# %% fit_reward_model: an embedding bag and an optimizer
def fit_reward_model(first, second, share, held_out, vocab_size, batches, lr):
    model = torch.nn.EmbeddingBag(vocab_size, 1, mode="sum", padding_idx=0)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)

    def nll(a, b, labels):
        return F.binary_cross_entropy_with_logits(model(a)[:, 0] - model(b)[:, 0], labels)

    states = [(nll(*held_out).item(), model.weight.detach()[:, 0].clone())]
    for rows in batches:
        optimizer.zero_grad()
        nll(first[rows], second[rows], share[rows]).backward()
        optimizer.step()
        states.append((nll(*held_out).item(), model.weight.detach()[:, 0].clone()))
    return min(states, key=lambda state: state[0])[1]


# %% fit_reward_model: counts of words, and p - s by hand in double precision
def fit_reward_model(first, second, share, held_out, vocab_size, batches, lr):
    def counts(text):
        found = F.one_hot(text, vocab_size).sum(1).double()
        found[:, 0] = 0
        return found

    x = counts(first) - counts(second)
    judged, labels = counts(held_out[0]) - counts(held_out[1]), held_out[2].double()
    course = torch.zeros(len(batches) + 1, vocab_size, dtype=torch.float64)
    for step, rows in enumerate(batches):
        w = course[step]
        wrong = torch.sigmoid(x[rows] @ w) - share[rows]
        course[step + 1] = w - lr * wrong @ x[rows] / len(rows)
    d = course @ judged.T
    nll = (F.softplus(d) - labels * d).mean(1)
    return course[nll.argmin()].float()


# %% fit_reward_model: NumPy, pair by pair, a dictionary of prices
def fit_reward_model(first, second, share, held_out, vocab_size, batches, lr):
    prices = {}

    def gap(a, b):
        signed = [(t, 1.0) for t in a.tolist() if t] + [(t, -1.0) for t in b.tolist() if t]
        return sum(sign * prices.get(token, 0.0) for token, sign in signed), signed

    def judge():
        total = 0.0
        for a, b, s in zip(*held_out, strict=True):
            d, _ = gap(a, b)
            total += np.logaddexp(0, d) - s.item() * d
        return total

    best, lowest = {}, judge()
    for rows in batches:
        moves = []
        for i in rows:
            d, signed = gap(first[i], second[i])
            p = math.exp(-np.logaddexp(0, -d))
            moves += [(t, sign * lr * (share[i].item() - p) / len(rows)) for t, sign in signed]
        for token, move in moves:
            prices[token] = prices.get(token, 0.0) + move
        if (now := judge()) < lowest:
            best, lowest = dict(prices), now
    return torch.tensor([best.get(token, 0.0) for token in range(vocab_size)])
