"""Cases about tensors, written briefly: lists and arrays stand for tensors, pictures for masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.check import Case


def case(name: str, args: tuple, expected: Any, **tolerances: float) -> Case:
    """A case with `tensors` of its arguments and of its expected value."""
    return Case(name, tensors(args), tensors(expected), **tolerances)


def tensors(value: Any) -> Any:
    """Lists and arrays of floats as float32, other arrays as they are, tuples part by part."""
    if isinstance(value, tuple):
        return tuple(map(tensors, value))
    if isinstance(value, np.ndarray) and value.dtype != float:
        return torch.from_numpy(value)
    return floats(value) if isinstance(value, list | np.ndarray) else value


def floats(numbers) -> Tensor:
    """Numbers, nested lists of them or an array, as float32."""
    return torch.as_tensor(np.asarray(numbers), dtype=torch.float32)


def bits(*rows: str) -> Tensor:
    """A mask as a picture: "x" is True."""
    return torch.tensor([[sign == "x" for sign in row] for row in rows])


def import_optimizers() -> None:
    """Import what PyTorch's first optimiser needs: seconds that no answer's time should pay for.

    For exercises whose answers may make an optimiser; call it where the cases are made.
    """
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
