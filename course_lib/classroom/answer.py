"""Ask a function the questions of an exercise: its values, the gradients that it passes back.

Nothing is judged here, and nothing that a student's function does gets out: every error becomes a
sentence, every value plain data, a million prints become a page.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import inspect
import io
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from course_lib.classroom.compare import Opaque, same

SECONDS = 5.0  # of computing for all cases of one check; the references take milliseconds
WAITING = 30.0  # of the clock: a function may wait for ever without computing
WAITED = f"It waited for {WAITING:g} s and did not return."
LONGEST = 300  # characters of a sentence that another program wrote
PRINTED = 4_000  # characters of what a function may print
DEEPEST = 20  # levels of nesting that count as data


@dataclass(frozen=True)
class Case:
    """One question with its answer: arguments in, expected value out.

    A case that `isolates` a mistake, by name, is a probe: a wrong value here comes from it,
    whatever else the answer does. The cases before it have ruled the rest out.
    """

    name: str
    args: tuple
    expected: Any
    rtol: float = 1e-5
    atol: float = 1e-6
    isolates: str = ""


@dataclass(frozen=True)
class Answer:
    """What a function did with one case."""

    value: Any = None
    changed_inputs: bool = False
    error: str | None = None  # a sentence; no value then
    out_of_time: bool = False
    fits: bool = True  # False: it takes other arguments, as the error says
    gradients: tuple = ()  # one per differentiated argument, each of its shape
    gradient_error: str | None = None  # a sentence: values come, but not where a gradient is asked


def answer(
    function: Callable,
    cases: Sequence[Case],
    differentiated: Sequence[int] = (),
    seconds: float = SECONDS,
) -> list[Answer]:
    """Ask a function all cases, up to the first error. Never raises for the function's faults.

    ``differentiated`` are the places of the arguments whose gradients are asked for.
    """
    try:
        inspect.signature(function).bind(*cases[0].args)
    except (TypeError, ValueError) as error:
        return [Answer(error=tell(error), fits=False)]
    answers: list[Answer] = []
    try:
        with _time_limit(seconds) as late, _few_prints():
            for number, case in enumerate(cases):
                answers.append(ask(function, case, differentiated, number))
                if answers[-1].error is not None:
                    break
    except _OutOfTime:
        answers.append(Answer(error=late[0], out_of_time=True))
    return answers


def ask(function: Callable, case: Case, differentiated: Sequence[int], number: int) -> Answer:
    """One question, without limits of time or of prints; ``number`` is that of the case."""
    args = copy.deepcopy(case.args)
    try:
        value = plain(function(*args))
        # A generator is used up by being read: only data can be changed "in place".
        changed = any(
            not same(before, plain(after))
            for before, after in zip(case.args, args, strict=True)
            if not isinstance(plain(before), Opaque)
        )
    except (KeyboardInterrupt, _OutOfTime):
        raise
    except BaseException as error:  # SystemExit too: an exercise must not end the kernel
        return Answer(error=_sentence(error))
    if not differentiated:
        return Answer(value, changed)
    try:
        found = gradients(function, case, differentiated, number)
    except (KeyboardInterrupt, _OutOfTime):
        raise
    except BaseException as error:
        return Answer(value, changed, gradient_error=_sentence(error))
    return Answer(value, changed, gradients=plain(found))


def gradients(function: Callable, case: Case, differentiated: Sequence[int], number: int) -> tuple:
    """The gradients of a random weighted sum of the function's output, one per argument.

    The arguments are moved by a thousandth, away from ties and edges, where a derivative depends
    on how the function was written. ``number`` seeds both draws. Zeros where nothing flows back.
    """
    import torch

    generator = torch.Generator().manual_seed(number)
    args, moved = list(copy.deepcopy(case.args)), []
    for place in differentiated:
        noise = torch.randn(args[place].shape, generator=generator, dtype=torch.float32)
        moved.append((args[place] + 1e-3 * noise.to(args[place].dtype)).requires_grad_())
        args[place] = moved[-1].clone()  # may be changed in place, as an activation may
    with torch.enable_grad():
        outputs = function(*args)
    outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
    flowing = [x for x in outputs if isinstance(x, torch.Tensor) and x.requires_grad]
    if not flowing:
        return tuple(torch.zeros_like(x) for x in moved)
    weights = [torch.randn(x.shape, generator=generator, dtype=torch.float32) for x in flowing]
    total = sum((x * w).sum() for x, w in zip(flowing, weights, strict=True))
    found = torch.autograd.grad(total, moved, allow_unused=True)
    return tuple(torch.zeros_like(x) if g is None else g for x, g in zip(moved, found, strict=True))


def plain(value: Any, depth: int = 0) -> Any:
    """A copy of a value as data; what is no data becomes `Opaque`, with a name for it."""
    torch = sys.modules.get("torch")
    if depth > DEEPEST:
        return Opaque("list inside lists, without end")
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value.bit_length() < 10_000 else Opaque("number of thousands of digits")
    if isinstance(value, str):
        return value if len(value) < 100_000 else Opaque("text of more than 100,000 characters")
    if torch is not None and isinstance(value, torch.Tensor):
        odd = value.is_meta or value.is_complex() or value.is_quantized or value.is_nested
        small = value.is_floating_point() and value.itemsize < 2
        if value.layout != torch.strided or odd or small:
            return Opaque(f"tensor of the kind {value.dtype}, {value.layout}, {value.device}")
        return value.detach().cpu().clone()
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "biuf":
            return Opaque(f"NumPy array of the kind {value.dtype}")
        return np.array(value) if isinstance(value, np.ndarray) else value
    if isinstance(value, tuple | list):
        values = [plain(each, depth + 1) for each in value]
        return tuple(values) if isinstance(value, tuple) else values
    if isinstance(value, dict):
        hashable = str | int | float | tuple
        items = [(plain(k), plain(v, depth + 1)) for k, v in value.items()]
        return {k if isinstance(k, hashable) else repr(k): v for k, v in items}
    return Opaque(type(value).__name__)


def tell(error: BaseException) -> str:
    """The first line of an error's own text, also where it cannot print itself."""
    try:
        return str(error).strip().split("\n")[0][:LONGEST]
    except Exception:
        return "(its text cannot be printed)"


def _sentence(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    # The last frame that is not inside a library is the line the student can change.
    own = [f for f in frames if "site-packages" not in f.filename and f.filename != __file__]
    where = f" at `{own[-1].line[:LONGEST]}`" if own and own[-1].line else ""
    text = tell(error)
    return f"It raised {type(error).__name__}{where}" + (f": {text}" if text else ".")


class _FewPrints(io.TextIOBase):
    """Hands on what is printed, up to a page."""

    def __init__(self, stream):
        self.stream, self.left = stream, PRINTED

    def write(self, text: str) -> int:
        if self.left > 0:
            self.stream.write(text[: self.left])
            self.left -= len(text)
            if self.left <= 0:
                self.stream.write(f"\n... (it printed more than {PRINTED:,} characters)\n")
        return len(text)

    def flush(self) -> None:
        self.stream.flush()


@contextlib.contextmanager
def _few_prints() -> Iterator[None]:
    with (
        contextlib.redirect_stdout(_FewPrints(sys.stdout)),
        contextlib.redirect_stderr(_FewPrints(sys.stderr)),
    ):
        yield


class _OutOfTime(BaseException):
    """Raised inside a student's function. Not an `Exception`: `except Exception` lets it by."""


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[list[str]]:
    """Raise `_OutOfTime` in this thread once its time is over, on every platform.

    Yields a list that says then which time it was. Computing counts, so that a busy machine changes
    no verdict. Works between two bytecodes: it ends Python loops, not one endless call into C.
    """
    thread = threading.get_ident()
    over = threading.Event()
    late: list[str] = []
    computed, begun = time.process_time(), time.monotonic()

    def watch() -> None:
        while not over.wait(0.1):  # again and again: a bare `except:` may swallow the first
            if time.process_time() - computed > seconds:
                late.append(f"It computed for {seconds:g} s and did not return.")
            elif time.monotonic() - begun > WAITING:
                late.append(WAITED)
            if late:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread), ctypes.py_object(_OutOfTime)
                )

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield late
    finally:
        over.set()
        watcher.join()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)  # none left over
