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
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from course_lib.lm import fused


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a model. Sizes left at None follow from the others."""

    vocab_size: int  # tokens: 60 for letters, 49152 for SmolLM2
    context: int = 256  # positions it was or will be trained on: 64 to 8192
    layers: int = 4  # blocks, one after the other: 2 to 30
    width: int = 128  # channels C between blocks: 64 to 576
    heads: int = 4  # attention heads H: width / 64 to width / 32
    kv_heads: int | None = None  # heads K of keys and values; None: as many as heads
    head_size: int | None = None  # channels D of a head; None: width / heads
    hidden: int | None = None  # channels inside SwiGLU; None: about 8/3 of width
    rope_base: float = 10_000.0  # longest wavelength of the rotary positions, over 2 pi
    norm_eps: float = 1e-5  # added under RMSNorm's root
    tied: bool = True  # the head that reads tokens off is the embedding's matrix

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context", "layers", "width", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.head_size is None and self.width % self.heads:
            raise ValueError(
                f"width must be a multiple of heads, got {self.width} and {self.heads}"
            )
        derived = {
            "kv_heads": self.heads,
            "head_size": self.width // self.heads,
            # As many weights as in the classic 4 * width, in three matrices for two. Products with
            # a multiple of 16 columns are a tenth faster than with the exact number.
            "hidden": 16 * max(1, round(self.width / 6)),
        }
        for name, value in derived.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads must be a multiple of kv_heads, got {self.heads} and {self.kv_heads}"
            )
        if self.head_size % 2:
            raise ValueError(f"head_size must be even for rotary positions, got {self.head_size}")


# --- The parts ---------------------------------------------------------------------------------


def causal_mask(queries: int, keys: int, device: torch.device | str = "cpu") -> Tensor:
    """Who may see whom, (T, S) bool: True where a query may look at a key.

    The queries are the *last* T of the S positions, so query t stands at position S - T + t and
    sees the keys 0 to S - T + t. Without remembered positions T = S: the lower triangle.
    """
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def attention_weights(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
    """How much each query looks at each key, (..., T, S); every row sums to 1.

    ``q`` (..., T, D), ``k`` (..., S, D), ``mask`` (T, S) or (..., T, S), True where a query may
    look. Without the division the scores of random vectors would grow with the root of D, and
    softmax would pick one key and pass no gradient to the others (arXiv 1706.03762, section 3.2.1).
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Each query's mean of the values, weighted by ``attention_weights``, (..., T, D).

    The formula as written. ``fused_attention`` gives the same numbers without ever storing the
    (T, S) weights.
    """
    return attention_weights(q, k, mask) @ v


def fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """``attention`` by PyTorch's fused kernel. ``mask`` may also be what to *add* to the scores.

    None means causal with T = S.
    """
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)


def rotation(positions: Tensor, config: GPTConfig) -> Tensor:
    """The turn that each position gives to each pair of channels: complex, (..., T, D/2).

    Pair i turns by ``position * base ** (-2 i / D)``: the first pairs like the second hand of a
    clock, the last like the hour hand (arXiv 2104.09864, equation 15).
    """
    pair = torch.arange(0, config.head_size, 2, device=positions.device, dtype=torch.float32)
    angle = positions[..., None].float() * config.rope_base ** (-pair / config.head_size)
    return torch.polar(torch.ones_like(angle), angle)


@functools.lru_cache(maxsize=8)
def _turns(length: int, config: GPTConfig, device: torch.device) -> Tensor:
    """``rotation`` of the first positions, (1, length, D/2), computed once."""
    with torch.inference_mode(False):  # a later call may need it for gradients
        return rotation(torch.arange(length, device=device)[None], config)


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn each pair of neighbouring channels of ``x`` (B, T, H, D) by ``turn`` (B or 1, T, D/2).

    The product of a turned query and a turned key depends on the *difference* of their positions.
    """
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turn[:, :, None]).flatten(-2).type_as(x)


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
        if not torch.is_grad_enabled():  # one token at a time, autograd's own work would show
            return _norm(x, self.weight, self.eps)[0]
        return _RMSNorm.apply(x, self.weight, self.eps)


def _norm(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """``x`` at root-mean-square 1 times ``weight``; then without it; then what it was scaled by."""
    wide = x.float()
    # The norm of a vector is one fused pass over it; square, mean and root would be three.
    length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    scale = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
    unit = wide * scale
    return unit.type_as(x) * weight, unit, scale


class _RMSNorm(torch.autograd.Function):
    """x / rms(x) * weight with the gradient written out: less than half of autograd's time.

    Computed in float32, as half precision would lose the small entries.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        y, unit, scale = _norm(x, weight, eps)
        ctx.save_for_backward(unit, scale, weight)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        unit, scale, weight = ctx.saved_tensors
        along = grad * unit
        # What would only make the vector longer changes nothing: the norm takes it away again.
        longer = (along @ weight.type_as(along))[..., None] / unit.shape[-1]
        into = torch.addcmul(grad * weight, unit, longer, value=-1) * scale
        return into.type_as(grad), along.flatten(0, -2).sum(0).type_as(weight), None


class Attention(nn.Module):
    """Positions exchange information: each asks (q), offers a label (k) and a content (v)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.sizes = (config.heads, config.kv_heads, config.kv_heads)
        self.head_size = config.head_size
        self.qkv = nn.Linear(config.width, sum(self.sizes) * config.head_size, bias=False)
        self.out = nn.Linear(config.heads * config.head_size, config.width, bias=False)

    def forward(
        self,
        x: Tensor,
        turn: Tensor,
        mask: Tensor | None,
        attend: Callable[..., Tensor] = fused_attention,
        remember: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        """``x`` (B, T, C) to (B, T, C); ``remember`` adds earlier keys and values."""
        batch, new = x.shape[:2]
        qkv = self.qkv(x).view(batch, new, -1, self.head_size)
        heads, kv_heads, _ = self.sizes
        qk, v = qkv.split([heads + kv_heads, kv_heads], dim=2)
        q, k = rotate(qk, turn).split([heads, kv_heads], dim=2)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        if remember is not None:
            k, v = remember(k, v)
        if heads == kv_heads:
            y = attend(q, k, v, mask)
        elif new == 1:  # the queries that share a key stand side by side, as if they were in time
            grouped = q.reshape(batch, kv_heads, heads // kv_heads, self.head_size)
            y = attend(grouped, k, v, mask).view(batch, heads, 1, self.head_size)
        else:
            k, v = (part.repeat_interleave(heads // kv_heads, dim=1) for part in (k, v))
            y = attend(q, k, v, mask)
        return self.out(y.transpose(1, 2).reshape(batch, new, -1))


class SwiGLU(nn.Module):
    """Each position thinks for itself: a gate, between 0 and open, times a linear map."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.gate = nn.Linear(config.width, config.hidden, bias=False)
        self.up = nn.Linear(config.width, config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """Attention, then SwiGLU, each with its norm before it and a residual around it."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.norm1 = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.norm2 = RMSNorm(config.width, config.norm_eps)
        self.feed_forward = SwiGLU(config)

    def forward(
        self,
        x: Tensor,
        turn: Tensor,
        mask: Tensor | None,
        attend: Callable[..., Tensor] = fused_attention,
        remember: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        """``x`` (B, T, C) to (B, T, C); the rest is handed to the attention."""
        context = (turn, mask, attend, remember)
        return residual_block(
            x, self.norm1, lambda y: self.attention(y, *context), self.norm2, self.feed_forward
        )


# --- The whole ---------------------------------------------------------------------------------


class Cache:
    """Keys and values of the positions read so far, so that each token is read only once."""

    def __init__(self, config: GPTConfig, batch: int, room: int, like: Tensor):
        """Room for ``room`` positions of ``batch`` sequences, of ``like``'s dtype and device."""
        shape = (config.layers, batch, config.kv_heads, room, config.head_size)
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)
        self.valid_mask: Tensor | None = None  # (B, S); None while there is no padding
        self.length = 0  # S

    def remember(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store ``k`` and ``v`` (B, K, T, D) of new positions; return all, (B, K, S, D)."""
        start, end = self.length, self.length + k.shape[2]
        if end > self.keys.shape[3]:
            raise ValueError(
                f"the cache has room for {self.keys.shape[3]} positions, got {end}: ask for more"
            )
        self.keys[layer, :, :, start:end] = k
        self.values[layer, :, :, start:end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Transformer(nn.Module):
    """The blocks and the last norm: (B, T, C) to (B, T, C)."""

    def __init__(self, config: GPTConfig, attend: Callable[..., Tensor] = fused_attention):
        """``attend(q, k, v, mask)`` may be your own; it is then always given a mask."""
        super().__init__()
        self.config, self.attend = config, attend
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
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
        valid = _all_valid(valid_mask, cache, batch, new, x.device)
        if valid is None:
            rounded = 64 * -(-(past + new) // 64)  # so that one more token needs no new ones
            turn = _turns(rounded, self.config, x.device)[:, past : past + new]
        else:
            positions = (valid.cumsum(1) - 1).clamp(min=0)[:, past : past + new]
            turn = rotation(positions, self.config)
        mask = self._mask(new, past + new, valid, mask, x)
        kinds = (Block, RMSNorm, Attention, RMSNorm, SwiGLU)
        if mask is None and cache is None and fused.fits(self.blocks, x, kinds):
            return self.norm(fused.run(self.blocks, x, turn))  # the same, for training
        for layer, block in enumerate(self.blocks):
            remember = None
            if cache is not None:
                remember = lambda k, v, layer=layer: cache.remember(layer, k, v)  # noqa: E731
            x = block(x, turn, mask, self.attend, remember)
        if cache is not None:
            cache.length, cache.valid_mask = past + new, valid
        return self.norm(x)

    def _mask(
        self, new: int, total: int, valid: Tensor | None, mask: Tensor | None, like: Tensor
    ) -> Tensor | None:
        """(1 or B, 1, T, S), or None where the fused kernel needs none to be causal."""
        dtype, device = like.dtype, like.device
        if mask is None and valid is None and self.attend is fused_attention and new == total:
            return None
        allowed = causal_mask(new, total, device) if mask is None else mask.bool()
        allowed = allowed.view(-1, 1, new, total)
        if valid is not None:
            # A query on padding sees at least itself: softmax over nothing would be nan.
            itself = torch.eye(total, dtype=torch.bool, device=device)[-new:]
            allowed = allowed & valid[:, None, None, :] | itself
        if self.attend is fused_attention:  # which would turn it into numbers in every layer
            return torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill_(
                ~allowed, -torch.inf
            )
        return allowed


def _all_valid(
    valid_mask: Tensor | None, cache: Cache | None, batch: int, new: int, device: torch.device
) -> Tensor | None:
    """The mask over remembered and new positions, (B, S) bool; None where nothing is padding."""
    before = cache.valid_mask if cache is not None else None
    if before is None and (valid_mask is None or bool(valid_mask.all())):
        return None
    past = cache.length if cache is not None else 0
    if before is None:
        before = torch.ones(batch, past, dtype=torch.bool, device=device)
    if valid_mask is None:
        valid_mask = torch.ones(batch, new, dtype=torch.bool, device=device)
    return torch.cat([before, valid_mask.bool()], dim=1)


class GPT(nn.Module):
    """Token numbers in, a score for every possible next token out."""

    def __init__(self, config: GPTConfig, attend: Callable[..., Tensor] = fused_attention):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.transformer = Transformer(config, attend)
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
    maps: list[Tensor] = []

    def watching(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        maps.append(attention_weights(q, k, mask))
        return maps[-1] @ v

    usual, model.transformer.attend = model.transformer.attend, watching
    try:
        model(tokens)
    finally:
        model.transformer.attend = usual
    return torch.stack(maps)


def save(model: GPT, path: Path | str) -> None:
    """Write weights and shape of ``model`` to one safetensors file."""
    weights = {k: v.contiguous() for k, v in model.state_dict().items()}
    if model.config.tied:
        del weights["head.weight"]
    save_file(weights, path, metadata={"config": json.dumps(asdict(model.config))})


def load(path: Path | str, dtype: torch.dtype | None = None) -> GPT:
    """Read a model that ``save`` wrote, tensor by tensor; ``dtype`` None keeps the stored one."""
    try:
        with safe_open(path, framework="pt") as file:
            config = GPTConfig(**json.loads(file.metadata()["config"]))
            weights = {name: file.get_tensor(name).to(dtype) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not hold a model written by `gpt.save`: {error}") from error
    if config.tied:
        weights["head.weight"] = weights["embedding.weight"]
    with torch.device("meta"):  # no time and memory for weights that are replaced at once
        model = GPT(config)
    model.load_state_dict(weights, assign=True)
    if config.tied:
        model.head.weight = model.embedding.weight
    return model
