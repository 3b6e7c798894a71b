"""Say how an answer differs from what was expected, in a sentence a student can act on."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Difference:
    """What kind of difference (`type`, `shape`, `dtype`, `nan`, `value`) and a sentence for it."""

    kind: str
    sentence: str


@dataclass(frozen=True)
class Opaque:
    """Something that is no data, such as a generator: it equals no expected value."""

    kind: str

    def __repr__(self) -> str:
        return f"a {self.kind}"


def difference(
    got: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-6
) -> Difference | None:
    """Compare an answer with the expected value; `None` means they agree.

    Strict about shape, about the kind of number (float, integer, boolean) and about sign;
    lenient about Python numbers against zero-dimensional arrays. Tensors must be tensors.
    Values agree where `|got - expected| <= atol + rtol * |expected|`.
    """
    if isinstance(expected, dict):
        return _compare_dicts(got, expected, rtol, atol)
    if isinstance(expected, tuple | list):
        return _compare_sequences(got, expected, rtol, atol)
    if expected is None or isinstance(expected, str):
        if got == expected and type(got) is type(expected):
            return None
        return Difference("value", f"expected {expected!r}, got {show(got)}")
    return _compare_numbers(got, expected, rtol, atol)


def same(a: Any, b: Any) -> bool:
    """True where two answers are indistinguishable, NaN counted equal to NaN."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if not (_is_numeric(a) and _is_numeric(b)):
        return type(a) is type(b) and a == b
    if type(a) in (int, float) and type(b) in (int, float):
        a, b = float(a), float(b)  # `return 0` is a number like `return 0.0`
    x, y = _array(a), _array(b)
    if x.shape != y.shape or _kind(x) != _kind(y) or _is_tensor(a) != _is_tensor(b):
        return False
    return bool(np.allclose(x, y, rtol=1e-5, atol=1e-6, equal_nan=_kind(x) == "float"))


SHOWN = 12  # parts of a list; numbers of an array, where it has many
LONGEST = 2_000  # characters


def show(value: Any) -> str:
    """A short picture of a value: a few of its numbers, four digits, shape where it helps."""
    text = _picture(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _picture(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{" + _inside([f"{k!r}: {_picture(v)}" for k, v in _first(value.items())], value) + "}"
        )
    if isinstance(value, tuple | list) and not all(isinstance(v, int | float) for v in value):
        inside = _inside([_picture(v) for v in _first(value)], value)
        return f"({inside})" if isinstance(value, tuple) else f"[{inside}]"
    if not _is_numeric(value):
        text = repr(value)
        return text if len(text) <= 80 else text[:77] + "..."
    array = _array(value)
    if array.ndim == 0:
        return f"{array.item():.6g}" if _kind(array) == "float" else str(array.item())
    if math.prod(min(n, 7) for n in array.shape) > 200:  # NumPy shortens no axis of up to 6
        text = np.array2string(array.ravel()[:SHOWN], precision=4, suppress_small=True)
        return f"{text[:-1]} ...] of shape {array.shape}"
    text = np.array2string(array, precision=4, threshold=12, edgeitems=3, suppress_small=True)
    return text if array.ndim == 1 else f"{text} of shape {array.shape}"


def _first(parts: Iterable) -> list:
    return list(itertools.islice(parts, SHOWN))


def _inside(shown: list[str], whole: Sized) -> str:
    return ", ".join(shown) + (f", ... ({len(whole):,} in all)" if len(whole) > SHOWN else "")


def _compare_dicts(got: Any, expected: dict, rtol: float, atol: float) -> Difference | None:
    if not isinstance(got, dict):
        return Difference("type", f"expected a dictionary, got {_type_name(got)}")
    if got.keys() != expected.keys():
        return Difference("value", f"expected the keys {list(expected)}, got {list(got)}")
    for key, value in expected.items():
        if found := difference(got[key], value, rtol, atol):
            return Difference(found.kind, f"under the key {key!r}: {found.sentence}")
    return None


def _compare_sequences(got: Any, expected: Any, rtol: float, atol: float) -> Difference | None:
    if not isinstance(got, tuple | list):
        return Difference("type", f"expected {len(expected)} values, got {_type_name(got)}")
    if len(got) != len(expected):
        return Difference("shape", f"expected {len(expected)} values, got {len(got)}")
    for i, (g, e) in enumerate(zip(got, expected, strict=True)):
        if found := difference(g, e, rtol, atol):
            return Difference(found.kind, f"value {i + 1} of {len(expected)}: {found.sentence}")
    return None


def _compare_numbers(got: Any, expected: Any, rtol: float, atol: float) -> Difference | None:
    if not _is_numeric(got):
        return Difference("type", f"expected {_type_name(expected)}, got {_type_name(got)}")
    g, e = _array(got), _array(expected)
    if e.ndim and _is_tensor(expected) != _is_tensor(got):
        return Difference("type", f"expected {_type_name(expected)}, got {_type_name(got)}")
    if g.shape != e.shape:
        return Difference("shape", f"expected the shape {e.shape}, got {g.shape}")
    if not _kinds_agree(g, e):
        return Difference("dtype", f"expected {_kind(e)} values, got {_kind(g)} ({g.dtype})")
    if _kind(g) == "float" and np.isnan(g).any() and not np.isnan(e).any():
        return Difference("nan", f"{int(np.isnan(g).sum())} of {g.size} values are NaN")
    close = np.isclose(g, e, rtol=rtol, atol=atol, equal_nan=True)
    if close.all():
        return None
    if e.ndim == 0:
        return Difference("value", f"expected {show(expected)}, got {show(got)}")
    at = tuple(int(i) for i in np.argwhere(~close)[0])
    where = at[0] if len(at) == 1 else at
    return Difference(
        "value",
        f"{int((~close).sum())} of {e.size} values differ; at index {where} "
        f"expected {show(e[at])}, got {show(g[at])}",
    )


def _kinds_agree(got: np.ndarray, expected: np.ndarray) -> bool:
    if _kind(got) == _kind(expected):
        return True
    # A Python number such as `0` is a fine answer where `0.0` was expected.
    return got.ndim == 0 and _kind(expected) == "float" and _kind(got) == "integer"


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")  # never import torch only to find that it was not used
    return torch is not None and isinstance(value, torch.Tensor)


def _is_numeric(value: Any) -> bool:
    if _is_tensor(value):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf"
    return isinstance(value, bool | int | float | np.generic)


def _array(value: Any) -> np.ndarray:
    if _is_tensor(value):
        value = value.detach().cpu()
        return (
            value.float() if value.is_floating_point() and value.itemsize < 4 else value
        ).numpy()
    return np.asarray(value)


def _kind(array: np.ndarray) -> str:
    return {"b": "boolean", "i": "integer", "u": "integer", "f": "float"}.get(
        array.dtype.kind, str(array.dtype)
    )


def _type_name(value: Any) -> str:
    if value is None:
        return "None"
    if _is_tensor(value):
        return "a torch tensor" if value.ndim else "a number"
    if isinstance(value, np.ndarray):
        return "a NumPy array"
    if isinstance(value, bool | int | float | np.generic):
        return "a number"
    return repr(value) if isinstance(value, Opaque) else f"a {type(value).__name__}"
