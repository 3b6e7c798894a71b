"""A copy of the weights laid out for many small matrix products: what writing text consists of.

`nn.Linear` keeps a matrix (out, in) and multiplies with its transpose. For the few rows of a batch
that writes one token at a time, going through the matrix the wrong way costs more than the
arithmetic. While text is written the weights stay as they are, so it pays to turn them round once:

    with packed(model):
        generate(model, tokens, valid_mask, sampling)
"""

import contextlib
import functools
import itertools
import math
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def packed(model: nn.Module, max_bytes: float = math.inf) -> Iterator[None]:
    """Inside this context the linear layers of ``model`` multiply with a transposed copy.

    Without gradients, and for weights that do not change meanwhile. The copy takes as much memory
    as the weights it is made of: the largest come first, as long as ``max_bytes`` last.
    """
    layers = [m for m in model.modules() if type(m) is nn.Linear and m.bias is None]
    layers = [m for m in layers if "forward" not in m.__dict__]
    layers.sort(key=lambda layer: -layer.weight.nbytes)
    taken = itertools.accumulate(layer.weight.nbytes for layer in layers)
    layers = [layer for layer, total in zip(layers, taken, strict=True) if total <= max_bytes]
    try:
        for layer in layers:
            copy = layer.weight.detach().t().contiguous()  # (in, out)
            layer.forward = functools.partial(torch.matmul, other=copy)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)  # the method of the class shows again
