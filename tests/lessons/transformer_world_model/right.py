# ruff: noqa: F811, B905
"""Right answers of lesson 12 in other styles."""

# %% imports
import math

import numpy as np
import torch
import torch.nn.functional as F


# %% block_causal_mask: pair by pair
def block_causal_mask(ended, places):
    B, T = ended.shape
    mask = torch.zeros(B, T * places, T * places, dtype=torch.bool)
    for b in range(B):
        for t in range(T):
            for s in range(t, -1, -1):
                if s < t and ended[b, s]:
                    break
                mask[b, t * places : (t + 1) * places, s * places : (s + 1) * places] = True
    return mask


# %% block_causal_mask: kron of a block of ones
def block_causal_mask(ended, places):
    before = F.pad(ended.float(), (1, 0))[:, :-1].cumsum(1)
    same = before.unsqueeze(2) == before.unsqueeze(1)
    return torch.stack([torch.kron(m.tril(), torch.ones(places, places)) for m in same.float()]) > 0


# %% block_causal_mask: each place has a step and an episode
def block_causal_mask(ended, places):
    place = torch.arange(ended.shape[1] * places)
    step = place // places
    ends = ended.int()
    episode = (ends.cumsum(1) - ends)[:, step]
    return (step[None, :, None] >= step[None, None, :]) & (
        episode[:, :, None] - episode[:, None, :] == 0
    )


# %% block_causal_mask: NumPy, windows cut into pieces
def block_causal_mask(ended, places):
    masks = []
    for row in ended.numpy():
        T = len(row)
        steps = np.zeros((T, T), bool)
        start = 0
        for stop in [*np.flatnonzero(row), T - 1]:
            steps[start : stop + 1, start : stop + 1] = True
            start = stop + 1
        masks.append(np.repeat(np.repeat(np.tril(steps), places, 0), places, 1))
    return torch.tensor(np.stack(masks))


# %% event_nll: reshaped to steps and places
def event_nll(reward_logits, end_logits, rewards, terminated, valid):
    B, T = rewards.shape
    scores = reward_logits.reshape(B, T, -1, reward_logits.shape[-1])[:, :, -1]
    end = end_logits.reshape(B, T, -1)[..., -1]
    log_p = torch.log_softmax(scores, -1).gather(-1, rewards[..., None])[..., 0]
    log_end = torch.where(terminated, F.logsigmoid(end), F.logsigmoid(-end))
    return -(log_p + log_end)[valid].mean()


# %% event_nll: the valid steps alone, two library losses
def event_nll(reward_logits, end_logits, rewards, terminated, valid):
    K = reward_logits.shape[1] // rewards.shape[1]
    keep = valid.bool()
    reward = F.cross_entropy(reward_logits[:, K - 1 :: K][keep], rewards[keep])
    target = terminated[keep].float()
    return reward + F.binary_cross_entropy_with_logits(end_logits[:, K - 1 :: K][keep], target)


# %% event_nll: one by one
def event_nll(reward_logits, end_logits, rewards, terminated, valid):
    places = end_logits.shape[1] // valid.shape[1]
    total, count = 0.0, 0
    for b in range(valid.shape[0]):
        for t in range(valid.shape[1]):
            if not valid[b, t]:
                continue
            at = places * (t + 1) - 1
            p = reward_logits[b, at].softmax(0)[rewards[b, t]]
            end = end_logits[b, at].sigmoid()
            total = total - p.log() - (end if terminated[b, t] else 1 - end).log()
            count += 1
    return total / count


# %% event_nll: in double precision, one-hot rewards
def event_nll(reward_logits, end_logits, rewards, terminated, valid):
    T = rewards.shape[1]
    last = torch.arange(1, T + 1) * (reward_logits.shape[1] // T) - 1
    scores, end = reward_logits.double()[:, last], end_logits.double()[:, last]
    chosen = (scores * F.one_hot(rewards, scores.shape[-1])).sum(-1)
    surprise = scores.logsumexp(-1) - chosen + F.softplus(end) - end * terminated
    weight = valid / valid.sum()
    return torch.einsum("bt,bt->", surprise, weight.double())


# %% sample_frame: searchsorted
def sample_frame(chance_logits, decode, draws, temperature=1.0):
    if temperature == 0:
        codes = chance_logits.max(-1).indices
    else:
        marks = torch.cumsum(F.softmax(chance_logits / temperature, -1), -1)[:, :-1].contiguous()
        codes = torch.searchsorted(marks, draws[:, None], right=True).squeeze(1)
    return torch.where(decode(codes) > 0, 1, 0).to(torch.uint8)


# %% sample_frame: a wheel of fortune for each row, in double precision
def sample_frame(chance_logits, decode, draws, temperature=1.0):
    codes = []
    for row, draw in zip(chance_logits.double(), draws.tolist()):
        if temperature == 0:
            codes.append(int(row.argmax()))
            continue
        weights = torch.exp((row - row.max()) / temperature).tolist()
        left, code = draw * sum(weights), 0
        while code < len(weights) - 1 and left >= weights[code]:
            left -= weights[code]
            code += 1
        codes.append(code)
    return (decode(torch.tensor(codes)) > 0).byte()


# %% sample_frame: all marks but the last, NumPy
def sample_frame(chance_logits, decode, draws, temperature=1.0):
    if not temperature:
        return decode(chance_logits.argmax(dim=1)).gt(0).to(torch.uint8)
    scores = chance_logits.numpy().astype(np.float64) / temperature
    scores -= np.logaddexp.reduce(scores, axis=1, keepdims=True)
    marks = np.exp(scores).cumsum(1)
    codes = (draws.numpy()[:, None] > marks[:, :-1]).sum(1)
    return (decode(torch.from_numpy(codes)).sigmoid() > 0.5).to(torch.uint8)


# %% sample_frame: the first mark above the draw, the last one set to 1
def sample_frame(chance_logits, decode, draws, temperature=1.0):
    if temperature == 0:
        tokens = torch.argmax(chance_logits, -1)
    else:
        marks = (chance_logits / temperature).softmax(-1).cumsum(-1)
        marks[:, -1] = 1
        tokens = (marks > draws[:, None]).int().argmax(-1)
    frame = torch.zeros_like(decode(tokens), dtype=torch.uint8)
    frame[decode(tokens) > 0] = 1
    return frame


# %% dream_returns: recursion
def dream_returns(rewards, next_values, continues, gamma, lam):
    if len(rewards) == 1:
        return rewards + gamma * continues * next_values
    rest = dream_returns(rewards[1:], next_values[1:], continues[1:], gamma, lam)
    ahead = next_values[:1] + lam * (rest[:1] - next_values[:1])
    return torch.cat([rewards[:1] + gamma * continues[:1] * ahead, rest])


# %% dream_returns: errors that add up, as in GAE
def dream_returns(rewards, next_values, continues, gamma, lam):
    discount = gamma * continues
    one_step = rewards + discount * next_values
    result, extra = [], torch.zeros_like(rewards[0])
    for t in range(rewards.shape[0] - 1, -1, -1):
        total = one_step[t] + extra
        result.insert(0, total)
        if t:
            extra = discount[t - 1] * lam * (total - next_values[t - 1])
    return torch.stack(result)


# %% dream_returns: a system of equations
def dream_returns(rewards, next_values, continues, gamma, lam):
    T, N = rewards.shape
    columns = []
    for i in range(N):
        share = torch.full((T,), 1 - lam, dtype=torch.float64)
        share[-1] = 1
        right = rewards[:, i] + gamma * continues[:, i] * share * next_values[:, i]
        matrix = torch.eye(T, dtype=torch.float64)
        for t in range(T - 1):
            matrix[t, t + 1] = -gamma * lam * continues[t, i]
        columns.append(torch.linalg.solve(matrix, right))
    return torch.stack(columns, 1)


# %% dream_returns: NumPy, a row below the last one
def dream_returns(rewards, next_values, continues, gamma, lam):
    r, v, c = (x.numpy() for x in (rewards, next_values, continues))
    out = np.vstack([np.zeros_like(r), v[-1:]])
    for t in reversed(range(len(r))):
        out[t] = r[t] + gamma * c[t] * ((1 - lam) * v[t] + lam * out[t + 1])
    return torch.from_numpy(out[:-1])


# %% continue_weights: row by row
def continue_weights(continues):
    rows = [torch.ones_like(continues[0])]
    for step in continues[:-1]:
        rows.append(rows[-1] * step)
    return torch.stack(rows)


# %% continue_weights: shifted, then cumprod
def continue_weights(continues):
    return torch.cumprod(F.pad(continues, (0, 0, 1, 0), value=1.0)[:-1], dim=0)


# %% continue_weights: sums of logarithms
def continue_weights(continues):
    log = continues.double().log()
    return torch.exp(torch.cat([torch.zeros(1, continues.shape[1]), log[:-1]]).cumsum(0))


# %% continue_weights: math.prod, entry by entry
def continue_weights(continues):
    T, N = continues.shape
    rows = [[math.prod(continues[:t, i].tolist()) for i in range(N)] for t in range(T)]
    return torch.tensor(rows)
