"""Writing text: draw a token, append it, ask again.

``generate`` continues a batch of prompts, ``stream`` one prompt, token by token. Both read each
token once and remember its keys and values (``cache.Cache``). Temperature as in Ackley, Hinton and
Sejnowski (1985); top-k as in Fan et al., arXiv 1805.04833; top-p ("nucleus") as in Holtzman et
al., 1904.09751. Left out: beam search, repetition penalties, speculative decoding.

Prompts of different lengths are padded on the *left*, so that all continue at the same column.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib import limits
from course_lib.lm.cache import Cache
from course_lib.lm.gpt import GPT


@dataclass(frozen=True)
class Sampling:
    """How to continue a text."""

    max_new_tokens: int = 64  # stop here at the latest: 1 to 1024
    temperature: float = 1.0  # 0 takes the most probable token, 1 samples from the model: 0 to 1.5
    top_k: int | None = None  # draw among the k most probable tokens; None: among all
    top_p: float | None = None  # draw among the fewest tokens of so much probability: 0.8 to 1
    stop_tokens: tuple[int, ...] = ()  # any of these ends a sequence, and is part of it

    def __post_init__(self) -> None:
        limits.check(
            self,
            at_least_1="max_new_tokens top_k",
            not_negative="temperature",
            share="top_p",
            optional="top_k top_p",
        )


class Generated(NamedTuple):
    """Prompts with their continuations, side by side: P columns of prompt, up to N new ones."""

    tokens: Tensor  # (B, P + N); after the end of a sequence its first stop token is repeated
    valid_mask: Tensor  # (B, P + N) bool: prompts and continuations, without any padding
    response_mask: Tensor  # (B, P + N) bool: the new tokens, the stop token among them
    logp: Tensor  # (B, P + N) of each new token under the tempered model before top-k and top-p


def left_pad(rows: Sequence[Sequence[int]], pad: int = 0) -> tuple[Tensor, Tensor]:
    """Token lists of different lengths as one tensor (B, T), and its ``valid_mask`` (B, T)."""
    if not rows or not all(len(row) for row in rows):
        raise ValueError("every prompt needs at least one token, got an empty one")
    width = max(len(row) for row in rows)
    tokens = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return tokens, torch.arange(width) >= width - lengths[:, None]


def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """``logits`` (..., V) with all but the k largest of each row at minus infinity."""
    smallest = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < smallest, -torch.inf)


def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """``logits`` (..., V) with only the fewest tokens kept whose probability together reaches p.

    The rest is at minus infinity. The token that crosses p is kept, so at least one remains.
    """
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities  # of all tokens more probable than this
    ordered = ordered.masked_fill(before >= p - 1e-6, -torch.inf)  # sums are rounded
    return torch.empty_like(logits).scatter(-1, order, ordered)


def pick(logits: Tensor, sampling: Sampling, generator: torch.Generator | None) -> Tensor:
    """One token for each row of ``logits`` (B, V), already divided by the temperature: (B,)."""
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    if sampling.top_k is not None:
        logits = top_k_filter(logits, sampling.top_k)
    if sampling.top_p is not None and sampling.top_p < 1:
        logits = top_p_filter(logits, sampling.top_p)
    # One random number per row: the token where the running sum of probabilities passes it.
    # torch.multinomial draws one per token, which for 49,152 of them costs as much as the model.
    reached = logits.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    drawn = torch.rand(len(logits), 1, dtype=torch.float64, generator=generator)
    token = torch.searchsorted(reached, drawn.to(reached) * reached[:, -1:], right=True)[:, 0]
    return token.clamp(max=logits.shape[-1] - 1)


def _choose(
    logits: Tensor, sampling: Sampling, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """One token for each row of ``logits`` (B, V), (B,), and its log-probability, (B,).

    A few rows at a time: 32 of them with 49,152 tokens each are 6 MB in float32, too much for the
    processor's cache, and each copy is memory that the system has to find and clear.
    """
    chosen = []
    for rows in logits.split(max(1, 65_536 // logits.shape[1])):
        rows = rows.float()
        if sampling.temperature not in (0, 1):
            rows = rows / sampling.temperature
        token = pick(rows, sampling, generator)
        # In one pass; subtracting the logsumexp of a row would be five.
        chosen.append((token, rows.log_softmax(dim=-1).gather(1, token[:, None])[:, 0]))
    tokens, logps = zip(*chosen, strict=True)
    return torch.cat(tokens), torch.cat(logps)


def _read_prompts(
    model: GPT, tokens: Tensor, valid_mask: Tensor, cache: Cache, at_once: int = 8
) -> Tensor:
    """Fill an empty ``cache`` with ``tokens`` (B, P); return what their last ones know, (B, C).

    A prompt that stands in several rows is read once. Eight prompts of similar length at a time,
    without the padding that they share: nothing is computed for it, and the activations of a large
    batch never exist at once.
    """
    rows_of: dict[tuple[int, ...], list[int]] = {}
    for row, prompt in enumerate(tokens.masked_fill(~valid_mask, -1).tolist()):
        rows_of.setdefault(tuple(prompt), []).append(row)
    lengths = valid_mask.sum(dim=1).tolist()
    prompts = sorted(rows_of.values(), key=lambda rows: lengths[rows[0]])
    last = model.embedding.weight.new_empty(len(tokens), model.config.width)
    for start in range(0, len(prompts), at_once):
        group = prompts[start : start + at_once]
        firsts = [rows[0] for rows in group]
        new = slice(tokens.shape[1] - lengths[firsts[-1]], tokens.shape[1])
        part = model.new_cache(len(group), new.stop - new.start)
        known = model.hidden(tokens[firsts, new], valid_mask[firsts, new], part)[:, -1]
        for i, rows in enumerate(group):
            last[rows] = known[i]
            cache.keys[:, rows, :, new] = part.keys[:, i : i + 1]
            cache.values[:, rows, :, new] = part.values[:, i : i + 1]
    cache.length = tokens.shape[1]
    cache.valid_mask = None if bool(valid_mask.all()) else valid_mask
    return last


def _steps(
    model: GPT,
    tokens: Tensor,
    valid_mask: Tensor | None,
    sampling: Sampling,
    generator: torch.Generator | None,
    cache: Cache | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One new token per row, (B,), and its log-probability, (B,), again and again."""
    if tokens.shape[1] == 0:
        raise ValueError("a prompt needs at least one token, got none")
    context, ours = model.config.context, cache is None
    text = tokens
    valid = torch.ones_like(tokens).bool() if valid_mask is None else valid_mask.bool()
    wrong = ~valid[:, -1] | (valid[:, :-1] & ~valid[:, 1:]).any(dim=1)
    if wrong.any():
        raise ValueError(f"row {int(wrong.nonzero()[0])} is right-padded or empty: use `left_pad`")
    for left in reversed(range(sampling.max_new_tokens)):
        if ours and (cache is None or cache.length == context):
            # Positions beyond those of its training mean nothing to the model. Where they are used
            # up it goes on from the later half of the text. The last new token is never read.
            kept = text.shape[1] if text.shape[1] <= context else max(1, context // 2)
            text, valid = text[:, -kept:], valid[:, -kept:]
            cache = model.new_cache(len(text), min(kept + left, context))
            last = _read_prompts(model, text, valid, cache)
        elif text is tokens:
            # [:, -1] is not contiguous: a matrix product would copy the head once per row.
            last = model.hidden(tokens, valid_mask, cache)[:, -1].contiguous()
        else:
            last = model.hidden(text[:, -1:], cache=cache)[:, 0]
        token, logp = _choose(model.head(last), sampling, generator)
        yield token, logp
        text = torch.cat([text, token[:, None]], dim=1)
        valid = F.pad(valid, (0, 1), value=True)


@torch.no_grad()
def generate(
    model: GPT,
    tokens: Tensor,
    valid_mask: Tensor | None = None,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
    cache: Cache | None = None,
) -> Generated:
    """Continue each row of ``tokens`` (B, P), padded on the left where ``valid_mask`` is 0.

    Ends when every row has written a stop token, or after ``max_new_tokens``. A text that outgrows
    the model's context goes on from the later half of what fits. ``cache`` may hold
    what stands before ``tokens``, read once for all rows; it needs room for
    P + ``max_new_tokens`` - 1 more positions. Memory beyond the model: two vectors per layer and
    token.
    """
    sampling = sampling or Sampling()
    stops = torch.tensor(sampling.stop_tokens, dtype=tokens.dtype, device=tokens.device)
    alive = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
    new, masks, logps = [], [], []
    for token, logp in _steps(model, tokens, valid_mask, sampling, generator, cache):
        # Rows do not see each other: what a finished row goes on to write is dropped here.
        new.append(torch.where(alive, token, new[-1] if new else token))
        masks.append(alive)
        logps.append(torch.where(alive, logp, 0.0))
        alive = alive & ~torch.isin(token, stops)
        if not alive.any():
            break
    if valid_mask is None:
        valid_mask = torch.ones_like(tokens, dtype=torch.bool)
    mask = torch.stack(masks, dim=1)
    return Generated(
        torch.cat([tokens, torch.stack(new, dim=1)], dim=1),
        torch.cat([valid_mask.bool(), mask], dim=1),
        torch.cat([torch.zeros_like(valid_mask, dtype=torch.bool), mask], dim=1),
        torch.cat([torch.zeros(tokens.shape, device=tokens.device), torch.stack(logps, dim=1)], 1),
    )


def stream(
    model: GPT,
    tokens: Tensor,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """Continue one prompt, ``tokens`` (P,), and yield each new token as soon as it is drawn."""
    sampling = sampling or Sampling()
    steps = _steps(model, tokens[None], None, sampling, generator)
    while True:
        with torch.no_grad():  # not around the yield: the caller's own code may need gradients
            drawn = next(steps, None)
        if drawn is None:
            return
        token = int(drawn[0])
        yield token
        if token in sampling.stop_tokens:
            return
