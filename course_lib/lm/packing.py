"""Weights laid out once for many small matrix products: what writing text consists of.

A product of 8 rows with a matrix of weights spends more time on rearranging the weights for the
CPU's vector units than on multiplying. While text is written the weights stay the same, so that
work can be done once. The operators are those by which PyTorch's own compiler packs weights
(Inductor, "freezing"); they belong to oneDNN. Where they are missing, nothing is packed.

Between the products a block adds, scales and turns a few numbers, one token per row. There the
time goes into starting operators. `_block` therefore reads one new token with as few of them as it
can; `gpt.Block` says what is computed.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.lm.gpt import Block, SwiGLU, fused_attention, rotate

Memory = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def can_pack(weight: Tensor) -> bool:
    """Whether this PyTorch on this CPU packs weights of ``weight``'s kind."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if weight.dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return weight.dtype == torch.float32


@contextlib.contextmanager
def packed(model: nn.Module, max_bytes: float = math.inf) -> Iterator[None]:
    """Inside this context the linear layers of ``model`` multiply with a packed copy.

    Without gradients, and for weights that do not change meanwhile. The copy takes as much memory
    as the weights it is made of: the largest are packed first, as long as ``max_bytes`` last.
    """
    layers = [m for m in model.modules() if type(m) is nn.Linear and m.bias is None]
    layers = [m for m in layers if can_pack(m.weight) and "forward" not in m.__dict__]
    layers.sort(key=lambda layer: -layer.weight.nbytes)
    taken = itertools.accumulate(layer.weight.nbytes for layer in layers)
    layers = [layer for layer, total in zip(layers, taken, strict=True) if total <= max_bytes]
    changed: list[nn.Module] = []

    def replace(module: nn.Module, forward: Callable) -> None:
        module.forward = forward
        changed.append(module)

    try:
        copies = {layer: _packed(layer.weight.detach()) for layer in layers}
        for layer, copy in copies.items():
            replace(layer, _linear(copy))
        for module in model.modules():
            if isinstance(module, SwiGLU) and {module.gate, module.up} <= copies.keys():
                replace(module, _swiglu(module, copies[module.gate], copies[module.up]))
            elif isinstance(module, Block) and set(_linears(module)) <= copies.keys():
                replace(module, _block(module, copies))
        yield
    finally:
        for module in changed:
            module.__dict__.pop("forward", None)  # the method of the class shows again


def _packed(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight, None)


def _linear(weight: Tensor) -> Callable[[Tensor], Tensor]:
    product = torch.ops.mkldnn._linear_pointwise.default
    return lambda x: product(x, weight, None, "none", [], "")


def _opened(gate: Tensor, up: Tensor) -> Callable[[Tensor], Tensor]:
    """SwiGLU before its last matrix: the gate opens and multiplies inside the two products."""
    product = torch.ops.mkldnn._linear_pointwise.default
    product_times = torch.ops.mkldnn._linear_pointwise.binary

    def forward(x: Tensor) -> Tensor:
        return product_times(x, product(x, gate, None, "swish", [], ""), up, None, "mul")

    return forward


def _swiglu(network: SwiGLU, gate: Tensor, up: Tensor) -> Callable[[Tensor], Tensor]:
    opened = _opened(gate, up)
    return lambda x: network.down(opened(x))


def _linears(block: Block) -> tuple[nn.Module, ...]:
    attention, network = block.attention, block.feed_forward
    return attention.qkv, attention.out, network.gate, network.up, network.down


def _block(block: Block, copies: dict[nn.Module, Tensor]) -> Callable[..., Tensor]:
    """``block`` for one new token per row; for all else its own method."""
    product_plus = torch.ops.mkldnn._linear_pointwise.binary
    qkv, out, gate, up, down = (copies[layer] for layer in _linears(block))
    ask, opened = _linear(qkv), _opened(gate, up)
    weight1, weight2, eps = block.norm1.weight, block.norm2.weight, block.norm1.eps
    heads, kv_heads, _ = block.attention.sizes
    size = block.attention.head_size

    def forward(
        x: Tensor,
        turn: Tensor,
        mask: Tensor | None,
        attend: Callable[..., Tensor] = fused_attention,
        remember: Memory | None = None,
    ) -> Tensor:
        if x.shape[1] > 1 or remember is None or attend is not fused_attention:
            return Block.forward(block, x, turn, mask, attend, remember)
        batch, width = len(x), weight1.shape
        read = F.rms_norm(x, width, weight1, eps)
        asked = ask(read).view(batch, 1, -1, size)
        turned = rotate(asked[:, :, : heads + kv_heads], turn)
        k, v = remember(
            turned[:, :, heads:].transpose(1, 2), asked[:, :, heads + kv_heads :].transpose(1, 2)
        )
        # The queries that share a key stand side by side, as if they were in time.
        q = turned[:, 0, :heads].reshape(batch, kv_heads, -1, size)
        found = attend(q, k, v, mask).reshape(batch, 1, -1)
        x = product_plus(found, x, out, None, "add")
        read = F.rms_norm(x, width, weight2, eps)
        return product_plus(opened(read), x, down, None, "add")

    return forward
