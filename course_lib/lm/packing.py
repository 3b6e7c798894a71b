"""Weights laid out once for many small matrix products: what writing text consists of.

A product of 8 rows with a matrix of weights spends more time on rearranging the weights for the
CPU's vector units than on multiplying. While text is written the weights stay the same, so that
work can be done once. The two operators are those by which PyTorch's own compiler packs weights
(Inductor, "freezing"); they belong to oneDNN. Where they are missing, nothing is packed.
"""

import contextlib
import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn


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
    try:
        for layer in layers:
            layer.forward = _packed_forward(layer.weight.detach())
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)  # the method of the class shows again


def _packed_forward(weight: Tensor):
    copy = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, copy, None, "none", [], "")
