# ruff: noqa: F811
"""Right answers in other styles than the library's, one per cell; each runs after the imports."""

# %% imports
import numpy as np
import torch
import torch.nn.functional as F


# %% token_logp: token by token
def token_logp(logits, tokens, response_mask):
    rows = []
    for row, numbers, mask in zip(logits, tokens, response_mask, strict=True):
        found = [torch.zeros(())]
        for t in range(1, len(numbers)):
            if mask[t]:
                found.append(row[t - 1, numbers[t]] - torch.logsumexp(row[t - 1], 0))
            else:
                found.append(torch.zeros(()))
        rows.append(torch.stack(found))
    return torch.stack(rows)


# %% token_logp: cross-entropy without its mean
def token_logp(logits, tokens, response_mask):
    surprise = F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
    return F.pad(-surprise, (1, 0)) * response_mask


# %% token_logp: one-hot tokens and einsum, float64 inside
def token_logp(logits, tokens, response_mask):
    logp = logits.double().log_softmax(-1)
    chosen = F.one_hot(tokens, logits.shape[-1]).double()
    shifted = torch.einsum("btv,btv->bt", logp[:, :-1], chosen[:, 1:])
    zeros = torch.zeros(len(tokens), 1, dtype=shifted.dtype)
    return torch.where(response_mask, torch.cat([zeros, shifted], 1), 0.0).float()


# %% token_logp: everything rolled by one column
def token_logp(logits, tokens, response_mask):
    before = logits.roll(1, dims=1)  # what stands in column 0 is masked
    picked = torch.take_along_dim(before, tokens.unsqueeze(-1), -1).squeeze(-1)
    return (picked - before.logsumexp(-1)).masked_fill(~response_mask, 0)


# %% token_logp: only the places that count
def token_logp(logits, tokens, response_mask):
    result = torch.zeros(tokens.shape)
    row, column = response_mask.nonzero(as_tuple=True)
    spread = torch.log_softmax(logits[row, column - 1], dim=-1)
    result[row, column] = spread[torch.arange(len(row)), tokens[row, column]]
    return result


# %% terminal_rewards: a loop over rows
def terminal_rewards(scores, response_mask):
    rewards = torch.zeros(response_mask.shape)
    for i, row in enumerate(response_mask):
        places = row.nonzero()
        if len(places) > 0:
            rewards[i, places[-1]] = scores[i]
    return rewards


# %% terminal_rewards: real, and nothing real behind it
def terminal_rewards(scores, response_mask):
    mask = response_mask.int()
    behind = mask.flip(1).cumsum(1).flip(1)  # tokens here and further right
    return scores.unsqueeze(1) * (mask * (behind == 1))


# %% terminal_rewards: NumPy and back
def terminal_rewards(scores, response_mask):
    keep = response_mask.numpy()
    rewards = np.zeros(keep.shape, dtype=np.float32)
    last = keep.shape[1] - 1 - np.argmax(keep[:, ::-1], axis=1)
    rows = np.flatnonzero(keep.any(axis=1))
    rewards[rows, last[rows]] = scores.numpy()[rows]
    return torch.from_numpy(rewards)


# %% terminal_rewards: the mask against itself, one column further
def terminal_rewards(scores, response_mask):
    following = F.pad(response_mask[:, 1:], (0, 1), value=False)
    return torch.einsum("b,bt->bt", scores, (response_mask & ~following).float())


# %% terminal_rewards: scatter
def terminal_rewards(scores, response_mask):
    steps = torch.arange(1, response_mask.shape[1] + 1)
    last = (response_mask * steps).argmax(1, keepdim=True)
    paid = torch.where(response_mask.any(1), scores, torch.zeros_like(scores))
    return torch.zeros(response_mask.shape).scatter(1, last, paid[:, None])


# %% kl_shaped_rewards: a product with the mask
def kl_shaped_rewards(rewards, logp, ref_logp, response_mask, beta):
    mask = response_mask.float()
    return rewards * mask + beta * mask * (ref_logp - logp)


# %% kl_shaped_rewards: token by token
def kl_shaped_rewards(rewards, logp, ref_logp, response_mask, beta):
    shaped = torch.zeros_like(rewards)
    for i in range(rewards.shape[0]):
        for t in range(rewards.shape[1]):
            if response_mask[i, t]:
                shaped[i, t] = rewards[i, t] - beta * (logp[i, t] - ref_logp[i, t])
    return shaped


# %% kl_shaped_rewards: the logarithm of a ratio, NumPy and back
def kl_shaped_rewards(rewards, logp, ref_logp, response_mask, beta):
    ratio = np.exp(logp.detach().double().numpy()) / np.exp(ref_logp.double().numpy())
    charged = rewards.double().numpy() - beta * np.log(ratio)
    return torch.tensor(np.where(response_mask.numpy(), charged, 0.0), dtype=torch.float32)


# %% kl_shaped_rewards: torch.where and addcmul, constants to the policy
@torch.no_grad()
def kl_shaped_rewards(rewards, logp, ref_logp, response_mask, beta):
    full = torch.addcmul(rewards, logp - ref_logp, torch.ones_like(logp), value=-beta)
    return torch.where(response_mask, full, torch.zeros_like(full))


# %% whiten_advantages: a flat list of what counts, put back
def whiten_advantages(advantages, response_mask):
    kept = advantages[response_mask]
    result = torch.zeros_like(advantages)
    result[response_mask] = (kept - kept.mean()) / (kept.std(correction=0) + 1e-8)
    return result


# %% whiten_advantages: sums with the mask, the square of the mean taken away, float64 inside
def whiten_advantages(advantages, response_mask):
    a, m = advantages.double(), response_mask.double()
    n = m.sum()
    mean = (a * m).sum() / n
    variance = (a * a * m).sum() / n - mean**2
    return ((a - mean) / (variance.clamp(min=0).sqrt() + 1e-8) * m).float()


# %% whiten_advantages: NumPy and back
def whiten_advantages(advantages, response_mask):
    a = np.ma.masked_array(advantages.numpy(), mask=~response_mask.numpy())
    white = (a - a.mean()) / (a.std() + 1e-8)
    return torch.from_numpy(white.filled(0.0).astype(np.float32))


# %% whiten_advantages: the small number under the root
def whiten_advantages(advantages, response_mask):
    variance, mean = torch.var_mean(advantages[response_mask], correction=0)
    white = (advantages - mean) * torch.rsqrt(variance + 1e-8)
    return torch.where(response_mask, white, 0.0)


# %% whiten_advantages: plain Python
def whiten_advantages(advantages, response_mask):
    numbers, keep = advantages.tolist(), response_mask.tolist()
    kept = [
        a for row, ms in zip(numbers, keep, strict=True) for a, m in zip(row, ms, strict=True) if m
    ]
    mean = sum(kept) / len(kept)
    spread = (sum((a - mean) ** 2 for a in kept) / len(kept)) ** 0.5 + 1e-8
    return torch.tensor(
        [
            [(a - mean) / spread if m else 0.0 for a, m in zip(row, ms, strict=True)]
            for row, ms in zip(numbers, keep, strict=True)
        ]
    )


# %% collect_rollout: one text after the other, no padding before the end
def collect_rollout(policy, reference, prompts, reward, end, uniform, temperature, beta):
    P, N = max(map(len, prompts)), uniform.shape[1]
    tokens = torch.zeros(len(prompts), P + N, dtype=torch.long)
    mask = torch.zeros(tokens.shape, dtype=torch.bool)
    logp, rewards = torch.zeros(tokens.shape), torch.zeros(tokens.shape)
    for b, prompt in enumerate(prompts):
        text = torch.tensor(prompt)
        for n in range(N):
            everything = torch.ones(1, len(text), dtype=torch.bool)
            mine = torch.log_softmax(policy(text[None], everything)[0, -1] / temperature, -1)
            other = torch.log_softmax(reference(text[None], everything)[0, -1] / temperature, -1)
            token = torch.searchsorted(mine.exp().cumsum(0), uniform[b, n], right=True)
            text = torch.cat([text, token[None]])
            mask[b, P + n] = True
            logp[b, P + n] = mine[token]
            rewards[b, P + n] = beta * (other[token] - mine[token])
            if token == end:
                break
        tokens[b, P - len(prompt) : P - len(prompt) + len(text)] = text
        rewards[b, P + n] += reward([prompt], [text[len(prompt) :].tolist()])[0]
    return tokens, logp, mask, rewards


# %% collect_rollout: everybody writes on to the last column, what follows an end is cut away
def collect_rollout(policy, reference, prompts, reward, end, uniform, temperature, beta):
    width = max(len(prompt) for prompt in prompts)
    tokens = torch.stack([F.pad(torch.tensor(x), (width - len(x), 0)) for x in prompts])
    valid = F.pad(tokens != 0, (0, uniform.shape[1]), value=True)
    for n in range(uniform.shape[1]):
        logits = policy(tokens, valid[:, : width + n])[:, -1]
        reached = (logits / temperature).softmax(-1).cumsum(-1)
        drawn = (reached > uniform[:, n, None]).int().argmax(-1)
        tokens = torch.cat([tokens, drawn[:, None]], 1)
    new = torch.arange(tokens.shape[1]) >= width
    ends = ((tokens == end) & new).int()
    mask = new & (ends.cumsum(1) - ends == 0)
    tokens = tokens * (mask | (valid & ~new))

    def under(model):
        shifted = (model(tokens, valid) / temperature)[:, :-1].transpose(1, 2)
        return F.pad(-F.cross_entropy(shifted, tokens[:, 1:], reduction="none"), (1, 0)) * mask

    logp = under(policy)
    rewards = beta * (under(reference) - logp)
    responses = [list(map(int, row[row_mask])) for row, row_mask in zip(tokens, mask, strict=True)]
    last = width - 1 + mask.sum(1)
    rewards[torch.arange(len(prompts)), last] += reward(prompts, responses)
    return tokens, logp, mask, rewards


# %% collect_rollout: a rectangle filled in place, numbers kept while writing, an early break
@torch.no_grad()
def collect_rollout(policy, reference, prompts, reward, end, uniform, temperature, beta):
    B, N, P = len(prompts), uniform.shape[1], max(len(prompt) for prompt in prompts)
    tokens = torch.zeros((B, P + N), dtype=torch.int64)
    valid = torch.zeros((B, P + N))
    own, other = torch.zeros((B, P + N)), torch.zeros((B, P + N))
    for b, prompt in enumerate(prompts):
        tokens[b, P - len(prompt) : P] = torch.tensor(prompt)
        valid[b, P - len(prompt) : P] = 1
    responses, open_rows = [[] for _ in prompts], list(range(B))
    for t in range(P, P + N):
        if not open_rows:
            break
        both = [m(tokens, valid)[open_rows, t - 1] / temperature for m in (policy, reference)]
        tables = [torch.log_softmax(x.double(), -1) for x in both]
        still = []
        for i, b in enumerate(open_rows):
            reached = np.cumsum(np.exp(tables[0][i].numpy()))
            token = int(np.searchsorted(reached, float(uniform[b, t - P]), side="right"))
            tokens[b, t], valid[b, t] = token, 1
            own[b, t], other[b, t] = tables[0][i, token], tables[1][i, token]
            responses[b].append(token)
            if token != end:
                still.append(b)
        open_rows = still
    mask = valid.bool()
    mask[:, :P] = False
    rewards = -beta * (own - other)
    scores = reward(prompts, responses)
    for b, response in enumerate(responses):
        rewards[b, P + len(response) - 1] += scores[b]
    return tokens, own, mask, rewards
