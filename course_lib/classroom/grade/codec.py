"""Values on their way out of a confined process: JSON and raw numbers, nothing that can run.

`pickle` would execute what a stranger's process sends. Here a value is a tree of plain kinds;
anything else arrives as `Opaque`, a name and a picture, which equals no expected value.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

from course_lib.classroom.answer import Answer, tell
from course_lib.classroom.compare import Opaque

NUMBERS = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
DEEPEST = 20  # levels of nesting
LARGEST = 16_000_000  # bytes of one message
KEYS = 300  # of one dictionary: they may be made to hash alike, which takes a time of KEYS squared
MOST = 500_000  # lists and values in it, an array counted as a handful; each takes memory


def dumps(answers: list[Answer]) -> bytes:
    """One line of JSON."""
    rows = [vars(a) | {"value": pack(a.value), "gradients": pack(a.gradients)} for a in answers]
    line = json.dumps(rows).encode()
    if len(line) > LARGEST or _parts(line) > MOST:
        limit = f"{LARGEST // 1_000_000} MB, or more than {MOST:,} lists and values"
        return dumps([Answer(error=f"It returned more than {limit}.")])
    return line + b"\n"


def _parts(line: bytes) -> int:
    return line.count(b"[") + line.count(b",")


def loads(line: bytes) -> list[Answer]:
    """Read what `dumps` wrote; raises ValueError for anything else."""
    try:
        if len(line) > LARGEST or _parts(line) > MOST:
            raise ValueError("more than is read")
        rows = json.loads(line)
        if not isinstance(rows, list) or not rows:
            raise ValueError("no list")
        return [_answer(row) for row in rows]
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError) as error:
        raise ValueError(f"not a list of answers: {error}") from error


def _answer(row: dict) -> Answer:
    """An answer whose parts are of the kinds that they should be, none of them long."""
    answer = Answer(**(row | {part: unpack(row[part]) for part in ("value", "gradients")}))
    texts, flags = (answer.error, answer.gradient_error), (answer.changed_inputs, answer.fits)
    if not all(text is None or (isinstance(text, str) and len(text) <= 2000) for text in texts):
        raise ValueError("an error that is no sentence")
    if not all(isinstance(flag, bool) for flag in (*flags, answer.out_of_time)):
        raise ValueError("a flag that is neither true nor false")
    if not isinstance(answer.gradients, tuple):
        raise ValueError("gradients that are no tuple")
    return answer


def pack(value: Any, depth: int = 0) -> list:
    """A value as a tree of lists, strings and numbers."""
    import torch

    if depth > DEEPEST:
        return ["opaque", "nested value"]
    if value is None:
        return ["none"]
    if type(value) in (bool, int, float, str):
        return [type(value).__name__, repr(value) if isinstance(value, int | float) else value]
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        if value.dtype == torch.bfloat16:
            return ["bfloat16", *_raw(value.float().numpy())]
        return ["tensor", *_raw(value.numpy())]
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.name in NUMBERS:
            return ["array" if isinstance(value, np.ndarray) else "scalar", *_raw(array)]
    if isinstance(value, tuple | list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return [kind, [pack(each, depth + 1) for each in value]]
    if isinstance(value, dict):
        items = [[pack(k, depth + 1), pack(v, depth + 1)] for k, v in value.items()]
        return ["dict", items]
    return ["opaque", value.kind if isinstance(value, Opaque) else type(value).__name__]


def unpack(tree: list) -> Any:
    """The value behind a tree that `pack` made."""
    import torch

    kind, *rest = tree
    if kind == "none":
        return None
    if kind in ("bool", "int", "float"):
        text = str(rest[0])
        if kind == "bool":
            return text == "True"
        if kind == "int" and len(text) > 4000:
            return Opaque("number of thousands of digits")
        return int(text) if kind == "int" else float(text)
    if kind == "str":
        return str(rest[0])
    if kind in ("tuple", "list"):
        values = [unpack(each) for each in rest[0]]
        return tuple(values) if kind == "tuple" else values
    if kind == "dict":
        if len(rest[0]) > KEYS:
            return Opaque(f"dictionary of more than {KEYS} keys")
        return {unpack(key): unpack(value) for key, value in rest[0]}
    if kind in ("tensor", "bfloat16", "array", "scalar"):
        array = _from_raw(*rest)
        if kind == "array":
            return array
        if kind == "scalar":
            return array[()]
        tensor = torch.from_numpy(array)
        return tensor.bfloat16() if kind == "bfloat16" else tensor
    return Opaque(str(rest[0])[:80])


def _raw(array: np.ndarray) -> list:
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return [array.dtype.name, list(array.shape), data]


def _from_raw(dtype: str, shape: list[int], data: str) -> np.ndarray:
    if dtype not in NUMBERS:
        raise ValueError(f"numbers of the kind {dtype!r}")
    flat = np.frombuffer(base64.b64decode(data, validate=True), dtype=dtype)
    return flat.reshape([int(n) for n in shape]).copy()


def failed(error: BaseException) -> Answer:
    """What is sent where the code around a function did not even run."""
    return Answer(
        error=f"The code before it raised {type(error).__name__}: {tell(error)}".rstrip(": ")
    )
