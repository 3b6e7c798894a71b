"""A block of `gpt` with its gradient written out: the same numbers, in less time, for training.

Autograd runs a block as some forty operators, writes down what each of them read, and runs forty
more on the way back. Here all of them are one operator. It works in place wherever nobody reads the
old numbers again, and adds to the stream while it multiplies. Only the arrangement differs:
`gpt.residual_block` says what is computed.

Some kernels are called by the names that PyTorch keeps for its own compiler and autograd; where one
of them is missing, and for other kinds of blocks, `fits` says no and the block takes the plain way.

Symbols as in `gpt`; N = B T positions. ``d_x`` is the gradient of the loss by ``x``.
"""

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
    AVAILABLE = torch.backends.mkldnn.is_available()
except (AttributeError, RuntimeError):
    AVAILABLE = False


def fits(block: nn.Module, x: Tensor) -> bool:
    """Whether ``block`` (a `gpt.Block`) can learn from ``x`` (B, T, C) this way.

    In float32 on a CPU, with as many heads of keys as of queries, all weights learning, no
    adapters.
    """
    if not (AVAILABLE and x.dtype == torch.float32 and x.is_cpu and torch.is_grad_enabled()):
        return False
    heads, kv_heads, _ = block.attention.sizes
    layers = (*block.attention._modules.values(), *block.feed_forward._modules.values())
    return heads == kv_heads and all(
        type(layer) is nn.Linear and layer.weight.requires_grad for layer in layers
    )


def block(block: nn.Module, x: Tensor, turn: Tensor) -> Tensor:
    """What `gpt.residual_block` gives for ``block`` with a causal mask: (B, T, C) to (B, T, C)."""
    attention, network = block.attention, block.feed_forward
    return _Block.apply(
        x,
        turn,
        (attention.sizes[0], block.norm1.eps),
        block.norm1.weight,
        attention.qkv.weight,
        attention.out.weight,
        block.norm2.weight,
        network.gate.weight,
        network.up.weight,
        network.down.weight,
    )


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, turn, settings, norm1, qkv, out, norm2, gate, up, down):
        heads, eps = settings
        stream = x.reshape(-1, x.shape[-1])
        read1, scale1 = _norm(stream, norm1, eps)
        asked = _times(read1, qkv).view(*x.shape[:2], 3, heads, -1)
        _pairs(asked[:, :, :2]).mul_(turn[:, :, None, None])
        q, k, v = asked.transpose(1, 3).unbind(2)  # (B, H, T, D) each
        seen, sums = _attend(q, k, v, 0.0, True)
        found = seen.transpose(1, 2).reshape(len(stream), -1)
        middle = _times(found, out, plus=stream)
        read2, scale2 = _norm(middle, norm2, eps)
        opened, offered = _times(read2, gate), _times(read2, up)
        gates = F.silu(opened)
        thought = gates * offered
        ctx.save_for_backward(
            *(stream, scale1, read1, q, k, v, seen, sums, found),
            *(middle, scale2, read2, opened, gates, offered, thought),
            *(turn, norm1, qkv, out, norm2, gate, up, down),
        )
        return _times(thought, down, plus=middle).view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_y):
        saved = ctx.saved_tensors
        stream, scale1, read1, q, k, v, seen, sums, found = saved[:9]
        middle, scale2, read2, opened, gates, offered, thought = saved[9:16]
        turn, norm1, qkv, out, norm2, gate, up, down = saved[16:]
        d_stream = d_y.reshape(stream.shape)

        d_down = torch.mm(d_stream.t(), thought)
        d_thought = _times(d_stream, down.t())
        d_offered = gates * d_thought
        d_opened = d_thought.mul_(offered)
        _silu_back(d_opened, opened, grad_input=d_opened)
        d_gate, d_up = torch.mm(d_opened.t(), read2), torch.mm(d_offered.t(), read2)
        d_read2 = _times(d_offered, up.t(), plus=_times(d_opened, gate.t()), reuse=True)
        d_middle, d_norm2 = _norm_back(d_read2, middle, scale2, norm2, d_stream)

        d_out = torch.mm(d_middle.t(), found)
        d_seen = _times(d_middle, out.t()).view(*d_y.shape[:2], q.shape[1], -1).transpose(1, 2)
        d_qkv = _attend_back(d_seen, q, k, v, seen, sums, 0.0, True)
        d_asked = torch.stack([part.transpose(1, 2) for part in d_qkv], dim=2)
        _pairs(d_asked[:, :, :2]).mul_(turn.conj_physical()[:, :, None, None])
        d_asked = d_asked.view(len(stream), -1)
        d_qkv = torch.mm(d_asked.t(), read1)
        d_x, d_norm1 = _norm_back(_times(d_asked, qkv.t()), stream, scale1, norm1, d_middle)
        d_x = d_x.view(d_y.shape)
        return d_x, None, None, d_norm1, d_qkv, d_out, d_norm2, d_gate, d_up, d_down


def _times(x: Tensor, weight: Tensor, plus: Tensor | None = None, reuse: bool = False) -> Tensor:
    """``plus + x @ weight.T``: (N, in) and (out, in) to (N, out); ``reuse`` may overwrite plus."""
    if len(x) * weight.numel() >= LARGE:
        if plus is None:
            return _product(x, weight, None, "none", [], "")
        return _product_plus(x, plus, weight, None, "add")
    if plus is None:
        return torch.mm(x, weight.t())
    return plus.addmm_(x, weight.t()) if reuse else torch.addmm(plus, x, weight.t())


def _pairs(x: Tensor) -> Tensor:
    """Neighbouring channels of ``x`` (..., D) as complex numbers (..., D/2) in the same memory."""
    return torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))


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
