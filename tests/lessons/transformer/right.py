# ruff: noqa: F811
# %% imports
import math

import numpy as np
import torch
import torch.nn.functional as F


# %% attention: einsum
def attention(q, k, v, mask):
    scores = torch.einsum("...td,...sd->...ts", q, k) * q.shape[-1] ** -0.5
    scores = torch.where(mask, scores, torch.tensor(-math.inf))
    return torch.einsum("...ts,...sd->...td", F.softmax(scores, dim=-1), v)


# %% attention: the kernel of torch
def attention(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


# %% attention: the mask as something to add
def attention(q, k, v, mask):
    hidden = torch.zeros(mask.shape)
    hidden[~mask] = float("-inf")
    scaled = q / math.sqrt(k.size(-1))
    return torch.softmax(torch.matmul(scaled, k.mT) + hidden, -1).matmul(v)


# %% attention: softmax by hand, in double precision
def attention(q, k, v, mask):
    q, k, v = q.double(), k.double(), v.double()
    strength = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).exp() * mask
    return ((strength @ v) / strength.sum(-1, keepdim=True)).float()


# %% attention: one query at a time
def attention(q, k, v, mask):
    if q.dim() > 2:
        mask = mask.expand(*q.shape[:-1], k.shape[-2])
        return torch.stack([attention(*each) for each in zip(q, k, v, mask, strict=True)])
    rows = []
    for query, visible in zip(q, mask.expand(len(q), len(k)), strict=True):
        keys, values = k[visible], v[visible]
        weights = torch.softmax(keys @ query / math.sqrt(len(query)), dim=0)
        rows.append(weights @ values)
    return torch.stack(rows)


# %% causal_mask: positions compared
def causal_mask(queries, keys):
    key = torch.arange(keys)
    query = torch.arange(keys - queries, keys).unsqueeze(1)
    return key <= query


# %% causal_mask: loops
def causal_mask(queries, keys):
    mask = torch.zeros(queries, keys, dtype=torch.bool)
    for row in range(queries):
        for column in range(keys):
            if column <= row + keys - queries:
                mask[row, column] = True
    return mask


# %% causal_mask: what is hidden, turned around
def causal_mask(queries, keys):
    hidden = torch.triu(torch.ones(queries, keys), diagonal=keys - queries + 1)
    return hidden == 0


# %% causal_mask: the last rows of a square
def causal_mask(queries, keys):
    return torch.ones(keys, keys).tril().bool()[keys - queries :]


# %% causal_mask: NumPy
def causal_mask(queries, keys):
    return torch.from_numpy(np.tri(queries, keys, keys - queries, dtype=bool))


# %% causal_mask: remembered ones beside a triangle
def causal_mask(queries, keys):
    past = torch.full((queries, keys - queries), True)
    new = torch.tensor([[j <= i for j in range(queries)] for i in range(queries)])
    return torch.cat([past, new], dim=1)


# %% residual_block: a loop over the branches
def residual_block(x, norm1, attention, norm2, feed_forward):
    for norm, branch in ((norm1, attention), (norm2, feed_forward)):
        x = x + branch(norm(x))
    return x


# %% residual_block: one name for each step
def residual_block(x, norm1, attention, norm2, feed_forward):
    found = attention(norm1(x))
    middle = torch.add(x, found)
    thought = feed_forward(norm2(middle))
    return x + found + thought


# %% residual_block: a helper
def with_residual(x, norm, branch):
    return branch(norm(x)) + x


def residual_block(x, norm1, attention, norm2, feed_forward):
    return with_residual(with_residual(x, norm1, attention), norm2, feed_forward)


# %% residual_block: in place, on a copy
def residual_block(x, norm1, attention, norm2, feed_forward):
    stream = x.clone()
    stream += attention(norm1(x))
    stream = stream.add(feed_forward(norm2(stream)))
    return stream


# %% next_token_nll: log_softmax and gather
def next_token_nll(logits, tokens):
    logp = logits.log_softmax(-1)[:, :-1]
    return -logp.gather(2, tokens[:, 1:].unsqueeze(2)).squeeze(2)


# %% next_token_nll: cross_entropy with the classes second
def next_token_nll(logits, tokens):
    return F.cross_entropy(logits.mT[:, :, :-1], tokens[:, 1:], reduction="none")


# %% next_token_nll: loops over texts and positions
def next_token_nll(logits, tokens):
    texts = []
    for b in range(tokens.shape[0]):
        surprises = []
        for t in range(tokens.shape[1] - 1):
            row = logits[b, t]
            surprises.append(torch.logsumexp(row, dim=0) - row[tokens[b, t + 1]])
        texts.append(torch.stack(surprises))
    return torch.stack(texts)


# %% next_token_nll: one-hot
def next_token_nll(logits, tokens):
    came = F.one_hot(tokens[:, 1:], logits.shape[-1]).to(logits.dtype)
    guess = logits[:, : tokens.shape[1] - 1]
    return guess.logsumexp(-1) - (guess * came).sum(-1)


# %% next_token_nll: torch.distributions
def next_token_nll(logits, tokens):
    T = tokens.shape[1]
    return -torch.distributions.Categorical(logits=logits[:, : T - 1]).log_prob(tokens[:, 1:])


# %% next_token_nll: the largest logit taken away by hand, plain indexing
def next_token_nll(logits, tokens):
    B, T, _ = logits.shape
    shifted = logits - logits.max(dim=-1, keepdim=True).values
    probability = shifted.exp() / shifted.exp().sum(dim=-1, keepdim=True)
    rows, columns = torch.arange(B)[:, None], torch.arange(T - 1)[None]
    return -probability[rows, columns, tokens[:, 1:]].log()


# %% top_p_filter: the sum of all that are more probable
def top_p_filter(logits, p):
    chance = logits.softmax(-1)
    greater = chance[..., None, :] > chance[..., :, None]
    before = (greater * chance[..., None, :]).sum(-1)
    return torch.where(before < p, logits, torch.tensor(-torch.inf))


# %% top_p_filter: from the bottom, as in transformers
def top_p_filter(logits, p):
    ascending, order = torch.sort(logits, descending=False)
    remove = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    remove[..., -1] = False
    return logits.masked_fill(remove.scatter(-1, order, remove), -float("inf"))


# %% top_p_filter: the mask shifted by one
def top_p_filter(logits, p):
    order = logits.argsort(dim=-1, descending=True)
    sums = logits.softmax(-1).gather(-1, order).cumsum(-1)
    remove = sums >= p
    remove = torch.cat([torch.zeros_like(remove[..., :1]), remove[..., :-1]], dim=-1)
    filtered = logits.clone()
    filtered[torch.zeros_like(remove).scatter(-1, order, remove)] = -torch.inf
    return filtered


# %% top_p_filter: token by token
def fewest(row, p):
    chances = torch.softmax(row.double(), 0).tolist()
    kept, total = [], 0.0
    for token in sorted(range(len(chances)), key=lambda i: -chances[i]):
        kept.append(token)
        total += chances[token]
        if total >= p:
            break
    result = torch.full_like(row, -math.inf)
    result[kept] = row[kept]
    return result


def top_p_filter(logits, p):
    rows = logits.reshape(-1, logits.shape[-1])
    return torch.stack([fewest(row, p) for row in rows]).reshape(logits.shape)


# %% top_p_filter: NumPy and back
def top_p_filter(logits, p):
    x = logits.numpy()
    e = np.exp(x - x.max(-1, keepdims=True))
    chance = e / e.sum(-1, keepdims=True)
    order = np.argsort(-chance, axis=-1)
    ordered = np.take_along_axis(chance, order, axis=-1)
    before = np.cumsum(ordered, axis=-1) - ordered
    out = np.full_like(x, -np.inf)
    np.put_along_axis(
        out, order, np.where(before < p, np.take_along_axis(x, order, -1), -np.inf), -1
    )
    return torch.tensor(out)


# %% top_p_filter: the least probability that is kept
def top_p_filter(logits, p):
    chance = torch.softmax(logits, -1)
    ordered = torch.sort(chance, dim=-1, descending=True)[0]
    count = ((ordered.cumsum(-1) - ordered) < p).sum(-1, keepdim=True)
    return torch.where(chance >= ordered.gather(-1, count - 1), logits, -torch.inf)


# %% learn_merges: texts with blanks, joined by a regular expression
def learn_merges(words, number):
    import re

    texts = {" ".join(word): often for word, often in words.items()}
    found = []
    for _ in range(number):
        counts = {}
        for text, often in texts.items():
            symbols = text.split()
            for i in range(len(symbols) - 1):
                pair = (symbols[i], symbols[i + 1])
                counts[pair] = counts.get(pair, 0) + often
        if len(counts) == 0:
            return found
        best = max(counts, key=lambda pair: counts[pair])
        found += [best]
        pattern = re.compile(r"(?<!\S)" + re.escape(" ".join(best)) + r"(?!\S)")
        texts = {pattern.sub("".join(best), text): often for text, often in texts.items()}
    return found


# %% learn_merges: recursion over words that are tuples
def learn_merges(words, number):
    def join(parts, pair):
        if len(parts) < 2:
            return parts
        if parts[:2] == pair:
            return (parts[0] + parts[1], *join(parts[2:], pair))
        return (parts[0], *join(parts[1:], pair))

    def go_on(split, left):
        pairs = [(parts[i : i + 2], n) for parts, n in split for i in range(len(parts) - 1)]
        if left == 0 or not pairs:
            return []
        totals = {}
        for pair, often in pairs:
            totals[pair] = totals.get(pair, 0) + often
        top = sorted(totals.items(), key=lambda item: -item[1])[0][0]
        return [top, *go_on([(join(parts, top), often) for parts, often in split], left - 1)]

    return go_on([(tuple(word), often) for word, often in words.items()], number)


# %% learn_merges: a while loop with two indices, counts in a Counter
def learn_merges(words, number):
    from collections import Counter

    corpus = [[list(word), often] for word, often in words.items()]
    merges = []
    while len(merges) < number:
        pairs = Counter()
        for symbols, often in corpus:
            for left, right in ((symbols[i], symbols[i + 1]) for i in range(len(symbols) - 1)):
                pairs.update({(left, right): often})
        if not pairs:
            break
        (a, b), _ = pairs.most_common(1)[0]
        for entry in corpus:
            old, new, i = entry[0], [], 0
            while i < len(old):
                if i + 1 < len(old) and old[i] == a and old[i + 1] == b:
                    new.append(a + b)
                    i += 2
                else:
                    new.append(old[i])
                    i += 1
            entry[0] = new
        merges.append((a, b))
    return merges
