"""Weights laid out once for many small matrix products: what writing text consists of.

A product of 8 rows with a matrix of weights spends more time on rearranging the weights for the
CPU's vector units than on multiplying. While text is written the weights stay the same, so that
work can be done once. The two operators are those by which PyTorch's own compiler packs weights
(Inductor, "freezing"); they belong to oneDNN. Where they are missing, nothing is packed.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from course_lib.lm.gpt import SwiGLU


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
    changed = list(layers)
    try:
        copies = {layer: _packed(layer.weight.detach()) for layer in layers}
        for layer, copy in copies.items():
            layer.forward = _linear(copy)
        for network in model.modules():
            if isinstance(network, SwiGLU) and {network.gate, network.up} <= copies.keys():
                network.forward = _swiglu(network, copies[network.gate], copies[network.up])
                changed.append(network)
        yield
    finally:
        for module in changed:
            module.__dict__.pop("forward", None)  # the method of the class shows again


def _packed(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight, None)


def _linear(weight: Tensor) -> Callable[[Tensor], Tensor]:
    product = torch.ops.mkldnn._linear_pointwise.default
    return lambda x: product(x, weight, None, "none", [], "")


def _swiglu(network: SwiGLU, gate: Tensor, up: Tensor) -> Callable[[Tensor], Tensor]:
    """``network`` with its gate opened and multiplied while the products are computed."""
    product = torch.ops.mkldnn._linear_pointwise.default
    product_times = torch.ops.mkldnn._linear_pointwise.binary

    def forward(x: Tensor) -> Tensor:
        opened = product(x, gate, None, "swish", [], "")
        return network.down(product_times(x, opened, up, None, "mul"))

    return forward
