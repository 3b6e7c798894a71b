"""One transformer: language model, reward model, world model, policy.

A decoder in the style of Llama (Touvron et al., arXiv 2302.13971): RMSNorm (1910.07467), rotary
positions (2104.09864), grouped-query attention (2305.13245), SwiGLU (2002.05202). The same class
holds a tiny model that learns letters in two minutes and SmolLM2's 135 million parameters.

``Transformer`` maps vectors (B, T, C) to vectors (B, T, C): whatever can be embedded can go in,
and any head can read what comes out. ``GPT`` embeds token numbers and reads tokens off.
Left out: dropout, biases, sliding windows, scaled rotary positions, mixtures of experts.

Symbols: B batch, T new positions, S all positions including remembered ones, C channels
(``width``), H heads, K heads of keys and values, D channels per head, V vocabulary.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import weights
from course_lib.lm.cache import Cache, all_valid, without_padding
from course_lib.lm.config import GPTConfig
from course_lib.lm.rotary import rotate, rotation, turns

# --- The parts ---------------------------------------------------------------------------------


def causal_mask(queries: int, keys: int) -> Tensor:
    """Who may see whom, (T, S) bool: True where a query may look at a key.

    The queries are the *last* T of the S positions, so query t stands at position S - T + t and
    sees the keys 0 to S - T + t. Without remembered positions T = S: the lower triangle.
    """
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)


def computed_by(kernel: Callable[..., Tensor]) -> Callable[[Callable], Callable]:
    """Let PyTorch's ``kernel`` compute the formula below: the same numbers in half the time.

    The formula stays readable, and callable as the function's ``__wrapped__``.
    """

    def decorate(formula: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return functools.wraps(formula)(lambda *tensors: kernel(*tensors))

    return decorate


def attention_weights(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
    """How much each query looks at each key, (..., T, S); every row sums to 1.

    ``q`` (..., T, D), ``k`` (..., S, D), ``mask`` (T, S) or (..., T, S), True where a query may
    look. Without the division the scores of random vectors would grow with the root of D, and
    softmax would pick one key and pass no gradient to the others (arXiv 1706.03762, section 3.2.1).
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)


@computed_by(F.scaled_dot_product_attention)
def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Each query's mean of the values, weighted by how much it looks at each key, (..., T, D).

    ``q`` (..., T, D), ``k`` and ``v`` (..., S, D), ``mask`` (T, S) or (..., T, S), True where a
    query may look: softmax(q k^T / sqrt(D) + mask) v (arXiv 1706.03762, equation 1).
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1) @ v


def residual_block(
    x: Tensor,
    norm1: Callable[[Tensor], Tensor],
    attention: Callable[[Tensor], Tensor],
    norm2: Callable[[Tensor], Tensor],
    feed_forward: Callable[[Tensor], Tensor],
) -> Tensor:
    """Read from the stream ``x`` (B, T, C), add what was found: first attention, then the network.

    Both read a *normalised* copy; the stream itself is only ever added to, so gradients pass it
    unchanged from the last block to the first ("pre-norm", arXiv 2002.04745).
    """
    x = x + attention(norm1(x))
    return x + feed_forward(norm2(x))


class RMSNorm(nn.Module):
    """Scale each vector to root-mean-square 1, then each channel by a learned weight."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., C) to (..., C): x / sqrt(mean(x^2) + eps) * weight."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """Positions exchange information: each has a query, a key and a value in every head."""

    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        self.heads, self.kv_heads, self.head_size = config.heads, config.kv_heads, config.head_size
        self.layer = layer  # whose keys and values these are in a cache
        self.qkv = nn.Linear(config.width, (self.heads + 2 * self.kv_heads) * self.head_size, False)
        self.out = nn.Linear(self.heads * self.head_size, config.width, bias=False)

    def forward(self, x: Tensor, turn: Tensor, mask: Tensor, cache: Cache | None = None) -> Tensor:
        """``x`` (B, T, C) to (B, T, C). ``turn`` is the ``rotation`` of the T positions.

        ``mask`` (T, S) or (B, 1, T, S), True where a query may look; ``cache`` holds the keys and
        values of earlier positions and gets these.
        """
        q, k, v = self.project(x, turn)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
        batch, heads, new, _ = q.shape
        if new == 1:  # queries that share a key stand side by side, as if they were in time
            q = q.reshape(batch, self.kv_heads, -1, self.head_size)
        else:
            k, v = self.for_each_head(k), self.for_each_head(v)
        y = attention(q, k, v, mask).reshape(batch, heads, new, self.head_size)
        return self.out(y.transpose(1, 2).flatten(2))

    def project(self, x: Tensor, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of ``x`` (B, T, C) the queries (B, H, T, D), keys and values (B, K, T, D)."""
        qkv = self.qkv(x).view(*x.shape[:2], -1, self.head_size)
        qk, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], dim=2)
        q, k = rotate(qk, turn).split([self.heads, self.kv_heads], dim=2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def for_each_head(self, x: Tensor) -> Tensor:
        """Keys or values (B, K, S, D) once for each query's head that shares them, (B, H, S, D)."""
        share = self.heads // self.kv_heads
        return x if share == 1 else x.repeat_interleave(share, dim=1)


class SwiGLU(nn.Module):
    """The same network at each position: a gate, between 0 and open, times a linear map."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.gate = nn.Linear(config.width, config.hidden, bias=False)
        self.up = nn.Linear(config.width, config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., C) to (..., C)."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """Attention, then SwiGLU, each with its norm before it and a residual around it."""

    def __init__(self, config: GPTConfig, layer: int = 0):
        super().__init__()
        self.norm1 = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config, layer)
        self.norm2 = RMSNorm(config.width, config.norm_eps)
        self.feed_forward = SwiGLU(config)

    def forward(self, x: Tensor, turn: Tensor, mask: Tensor, cache: Cache | None = None) -> Tensor:
        """``x`` (B, T, C) to (B, T, C); the rest is handed to the attention."""
        look = functools.partial(self.attention, turn=turn, mask=mask, cache=cache)
        return residual_block(x, self.norm1, look, self.norm2, self.feed_forward)


# --- The whole ---------------------------------------------------------------------------------


class Transformer(nn.Module):
    """The blocks and the last norm: (B, T, C) to (B, T, C)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # Two branches per block add to the stream: keep its variance independent of depth.
                into_stream = name.endswith(("out.weight", "down.weight"))
                scale = 0.02 / math.sqrt(2 * config.layers) if into_stream else 0.02
                nn.init.normal_(parameter, std=scale)

    def forward(
        self,
        x: Tensor,
        valid_mask: Tensor | None = None,
        cache: Cache | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """What each position knows after all blocks, (B, T, C).

        ``valid_mask`` (B, T) is 1 at tokens and 0 at padding, on the left or on the right: padding
        is seen by nobody and takes no position. ``cache`` holds earlier positions and is extended
        by these. ``mask`` (T, S) or (B, T, S), True where a query may look, stands in for the
        causal mask.
        """
        batch, new = x.shape[:2]
        past = cache.length if cache is not None else 0
        total = past + new
        allowed = causal_mask(new, total).to(x.device) if mask is None else mask.bool()
        allowed = allowed.view(-1, 1, new, total)
        valid = all_valid(valid_mask, cache, batch, new, x.device)
        if valid is not None:
            allowed = without_padding(allowed, valid)
        turn = turns(new, total, valid, self.config, x.device)
        for block in self.blocks:
            x = block(x, turn, allowed, cache)
        if cache is not None:
            cache.length, cache.valid_mask = total, valid
        return self.norm(x)


class GPT(nn.Module):
    """Token numbers in, a score for every possible next token out."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.transformer = Transformer(config)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.head.weight, std=0.02)
        if config.tied:
            self.head.weight = self.embedding.weight

    def hidden(
        self,
        tokens: Tensor,
        valid_mask: Tensor | None = None,
        cache: Cache | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """What the model knows at each of ``tokens`` (B, T), before any head: (B, T, C)."""
        return self.transformer(self.embedding(tokens), valid_mask, cache, mask)

    def forward(
        self, tokens: Tensor, valid_mask: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Scores (logits) of the token that follows each of ``tokens`` (B, T): (B, T, V)."""
        return self.head(self.hidden(tokens, valid_mask, cache))

    def new_cache(self, batch: int, room: int) -> Cache:
        """An empty memory for ``batch`` sequences of up to ``room`` tokens."""
        return Cache(self.config, batch, room, self.embedding.weight.detach())

    def num_parameters(self) -> int:
        """How many numbers the model has learned; a tied head counts once."""
        return sum(parameter.numel() for parameter in self.parameters())


@torch.no_grad()
def attention_maps(model: GPT, tokens: Tensor) -> Tensor:
    """Who looks at whom while the model reads ``tokens`` (B, T): (layers, B, H, T, T)."""
    x, new = model.embedding(tokens), tokens.shape[1]
    turn = rotation(torch.arange(new, device=tokens.device)[None], model.config)
    mask, maps = causal_mask(new, new).to(tokens.device), []
    for block in model.transformer.blocks:
        q, k, _ = block.attention.project(block.norm1(x), turn)
        maps.append(attention_weights(q, block.attention.for_each_head(k), mask))
        x = block(x, turn, mask)
    return torch.stack(maps)


def save(model: GPT, path: Path | str) -> None:
    """Write weights and shape of ``model`` to one safetensors file."""
    tensors = model.state_dict()
    if model.config.tied:
        del tensors["head.weight"]
    weights.save(path, tensors, "config", asdict(model.config))


def load(path: Path | str, dtype: torch.dtype | None = None) -> GPT:
    """Read a model that ``save`` wrote, tensor by tensor; ``dtype`` None keeps the stored one."""
    tensors, shape = weights.load(path, "config", dtype)
    config = GPTConfig(**shape)
    if config.tied:
        tensors["head.weight"] = tensors["embedding.weight"]
    with torch.device("meta"):  # no time and memory for weights that are replaced at once
        model = GPT(config)
    model.load_state_dict(tensors, assign=True)
    if config.tied:
        model.head.weight = model.embedding.weight
    return model
