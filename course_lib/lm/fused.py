"""The blocks of `gpt` with their gradient written out, for training: the same numbers in less time.

Autograd runs a block as some forty operators, writes down what each of them read, and runs forty
more on the way back. Here all blocks are one operator, which takes its own notes. It works in place
wherever nobody reads the old numbers again: what has just been read lies in the processor's cache,
and new memory does not. Only the arrangement differs: `gpt.residual_block` says what is computed.

Some kernels are called by the names that PyTorch keeps for its own compiler and autograd; where one
of them is missing, and for other kinds of blocks, `fits` says no and the blocks take the plain way.

Symbols as in `gpt`; N = B T positions. ``d_x`` is the gradient of the loss by ``x``.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGE = 50_000_000  # multiplications from which oneDNN's product is faster than MKL's: by a tenth
try:
    _aten = torch.ops.aten
    _attend = _aten._scaled_dot_product_flash_attention_for_cpu.default
    _attend_back = _aten._scaled_dot_product_flash_attention_for_cpu_backward.default
    _layer_norm_back = _aten.native_layer_norm_backward.default
    _silu_back = _aten.silu_backward.grad_input
    _product = torch.ops.mkldnn._linear_pointwise.default
    _product_plus = torch.ops.mkldnn._linear_pointwise.binary
    _below_autograd = torch._C._AutoDispatchBelowAutograd  # no operator asks whether to take notes
    _retain_graph = torch._C._autograd._get_current_graph_task_keep_graph
    AVAILABLE = torch.backends.mkldnn.is_available()
except (AttributeError, RuntimeError):
    AVAILABLE = False


def fits(blocks: Sequence[nn.Module], x: Tensor, kinds: tuple[type, ...]) -> bool:
    """Whether all ``blocks`` (of `gpt.Block`) can learn from ``x`` (B, T, C) this way.

    In float32 on a CPU, with as many heads of keys as of queries, all weights learning, and nobody
    who has put in other parts, adapters or hooks: ``kinds`` are the classes of a block and its four
    parts as `gpt` builds them.
    """
    if not (AVAILABLE and x.dtype == torch.float32 and x.is_cpu and torch.is_grad_enabled()):
        return False
    for block in blocks:
        parts = (block, *block._modules.values())
        if tuple(type(part) for part in parts) != kinds:
            return False
        _, _, attention, _, network = parts
        layers = (*attention._modules.values(), *network._modules.values())
        heads, kv_heads, _ = attention.sizes
        if heads != kv_heads or len(layers) != 5 or not all(_learns(layer) for layer in layers):
            return False
        if any(_is_watched(part) for part in (*parts, *layers)):
            return False
    return True


def _learns(layer: nn.Module) -> bool:
    """A matrix without a bias, and not a frozen one."""
    return (
        type(layer) is nn.Linear
        and layer._parameters["bias"] is None
        and layer._parameters["weight"].requires_grad
    )


def _is_watched(part: nn.Module) -> bool:
    """Whether somebody waits for what ``part`` reads or returns, or has changed it alone."""
    return bool(
        part._forward_hooks
        or part._forward_pre_hooks
        or part._backward_hooks
        or part._backward_pre_hooks
        or "forward" in part.__dict__
    )


def run(blocks: Sequence[nn.Module], x: Tensor, turn: Tensor) -> Tensor:
    """What ``blocks`` with a causal mask make of ``x``, one after the other: both (B, T, C).

    ``turn`` (1, T, D/2) holds the rotary positions of `gpt.rotation`.
    """
    heads, eps, weights = blocks[0].attention.sizes[0], blocks[0].norm1.eps, []
    for block in blocks:
        norm1, attention, norm2, network = block._modules.values()
        parts = (norm1, *attention._modules.values(), norm2, *network._modules.values())
        weights += [part._parameters["weight"] for part in parts]  # past nn.Module's slow search
    return _Blocks.apply(x, turn, heads, eps, *weights)


PER_BLOCK = 7  # weights: norm1, qkv, out, norm2, gate, up, down


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, turn, heads, eps, *weights):
        with _below_autograd():
            ctx.save_for_backward(x, turn, *weights)
            ctx.shape, ctx.notes = (*x.shape[:2], 3, heads, -1), []
            turn = turn.repeat(1, 1, 2 * heads)  # one row for all queries and keys of a position
            stream = x.reshape(-1, x.shape[-1])
            for i in range(0, len(weights), PER_BLOCK):
                own = weights[i : i + PER_BLOCK]
                stream, notes = _forward(stream, turn, ctx.shape, eps, *own)
                ctx.notes.append(notes)
            return stream.view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_y):
        with _below_autograd():
            _, turn, *weights = ctx.saved_tensors  # which complains where one was changed
            turn = turn.conj_physical().repeat(1, 1, 2 * ctx.shape[3])
            d_stream, d_weights, again = d_y.reshape(-1, d_y.shape[-1]), [], _retain_graph()
            for i in reversed(range(0, len(weights), PER_BLOCK)):
                own = weights[i : i + PER_BLOCK]
                notes = ctx.notes[i // PER_BLOCK] if again else ctx.notes.pop()
                notes = [x.clone() for x in notes] if again else notes  # they get written over
                d_stream, *d_own = _backward(d_stream, turn, ctx.shape, *own, notes)
                d_weights = d_own + d_weights
            return d_stream.view(d_y.shape), None, None, None, *d_weights


def _forward(stream, turn, shape, eps, norm1, qkv, out, norm2, gate, up, down):
    """One block: ``stream`` (N, C) as it leaves, and what the way back will read."""
    read1, scale1 = _norm(stream, norm1, eps)
    asked = _times(read1, qkv.t())
    _queries_and_keys(asked, turn).mul_(turn)
    q, k, v = asked.view(shape).transpose(1, 3).unbind(2)  # (B, H, T, D) each
    seen, sums = _attend(q, k, v, 0.0, True)
    found = seen.transpose(1, 2).reshape(len(stream), -1)
    middle = _times(found, out.t(), plus=stream)
    read2, scale2 = _norm(middle, norm2, eps)
    opened = _times(read2, gate.t())
    gates = F.silu(opened)
    offered = _times(read2, up.t())
    thought = gates * offered
    notes = (stream, scale1, asked, seen, sums, middle, scale2, opened, gates, offered)
    return _times(thought, down.t(), plus=middle), notes


def _backward(d_stream, turn, shape, norm1, qkv, out, norm2, gate, up, down, notes):
    """One block: the gradient by ``stream`` as it came in, (N, C), and those by the weights.

    Writes over the notes. They lack what one or two multiplications give again (``thought``,
    ``read1``, ``read2``): that is cheaper than fetching it from memory.
    """
    stream, scale1, asked, seen, sums, middle, scale2, opened, gates, offered = notes

    thought = gates * offered
    d_down = torch.mm(d_stream.t(), thought)
    d_thought = _times(d_stream, down, over=thought)
    d_offered = gates.mul_(d_thought)
    d_opened = d_thought.mul_(offered)
    _silu_back(d_opened, opened, grad_input=d_opened)
    read2 = torch.mul(middle, scale2).mul_(norm2)
    d_gate, d_up = torch.mm(d_opened.t(), read2), torch.mm(d_offered.t(), read2)
    d_read2 = _times(d_opened, gate, over=read2)
    d_read2 = _times(d_offered, up, plus=d_read2, over=d_read2)
    d_middle, d_norm2 = _norm_back(d_read2, middle, scale2, norm2, d_stream)

    found = seen.transpose(1, 2).reshape(len(stream), -1)
    d_out = torch.mm(d_middle.t(), found)
    d_seen = _times(d_middle, out).view(*shape[:2], *shape[3:]).transpose(1, 2)
    parts = asked.view(shape).transpose(1, 3).unbind(2)  # q, k, v in the memory of `asked`
    d_parts = _attend_back(d_seen, *parts, seen, sums, 0.0, True)
    for part, d_part in zip(parts, d_parts, strict=True):
        part.copy_(d_part)
    d_asked = asked
    _queries_and_keys(d_asked, turn).mul_(turn)
    read1 = torch.mul(stream, scale1).mul_(norm1)
    d_qkv = torch.mm(d_asked.t(), read1)
    d_read1 = _times(d_asked, qkv, over=read1)
    d_stream, d_norm1 = _norm_back(d_read1, stream, scale1, norm1, d_middle)
    return d_stream, d_norm1, d_qkv, d_out, d_norm2, d_gate, d_up, d_down


def _times(
    x: Tensor, weight: Tensor, plus: Tensor | None = None, over: Tensor | None = None
) -> Tensor:
    """``plus + x @ weight``: (N, in) and (in, out) to (N, out), which may be written ``over``."""
    if len(x) * weight.numel() >= LARGE:
        if plus is None:
            return _product(x, weight.t(), None, "none", [], "")
        return _product_plus(x, plus, weight.t(), None, "add")
    if plus is None:
        return torch.mm(x, weight, out=over)
    return torch.addmm(plus, x, weight, out=over)


def _queries_and_keys(asked: Tensor, turn: Tensor) -> Tensor:
    """Of queries, keys and values (N, 3 H D) the first two: pairs of channels as complex numbers.

    (B, T, H D), in the same memory.
    """
    pairs = torch.view_as_complex(asked.view(-1, turn.shape[1], asked.shape[1] // 2, 2))
    return pairs.narrow(2, 0, turn.shape[2])


def _norm(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """RMSNorm of ``x`` (N, C), and one over each row's root-mean-square, (N, 1)."""
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    scale = length.square_().div_(x.shape[1]).add_(eps).rsqrt_()
    return torch.mul(x, scale).mul_(weight), scale


def _norm_back(
    d_y: Tensor, x: Tensor, scale: Tensor, weight: Tensor, d_stream: Tensor
) -> tuple[Tensor, Tensor]:
    """``d_stream`` + the gradient by ``x``, (N, C), and that by ``weight``, (C,).

    It is LayerNorm's with a mean of 0, but for what LayerNorm loses by subtracting the mean.
    """
    d_x, d_weight, _ = _layer_norm_back(
        d_y, x, weight.shape, torch.zeros_like(scale), scale, weight, None, (True, True, False)
    )
    lost = torch.mv(d_y, weight / x.shape[1])[:, None].mul_(scale)
    return d_x.add_(lost).add_(d_stream), d_weight
