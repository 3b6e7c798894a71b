"""Judge an answer: untouched, right, or wrong and why. No display, no state, no notebook.

`check` compares a function with cases of independent ground truth. A wrong answer is also
compared with the mistakes that students are known to make: the one that gives the same output in
every case names the misunderstanding.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import inspect
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from course_lib.classroom import edits, stub
from course_lib.classroom.compare import difference, same, show
from course_lib.classroom.use import StandIn

SECONDS = 5.0  # for all cases of one check; the references take milliseconds


@dataclass(frozen=True)
class Case:
    """One question with its answer: arguments in, expected value out."""

    name: str
    args: tuple
    expected: Any
    rtol: float = 1e-5
    atol: float = 1e-6


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that students are known to give, and the hint that mends it."""

    name: str
    function: Callable
    hint: str


@dataclass(frozen=True)
class Exercise:
    """The library's function, cases of independent ground truth, known mistakes, graded hints.

    `cases` maps a random generator to a list of cases: some worked out by hand, the others
    drawn at random with their answers computed another way than the reference computes them.
    `edits` are mistakes that change a few words of the reference, as text: see `edits`. They come
    before the other `mistakes`.
    """

    reference: Callable
    cases: Callable[[np.random.Generator], list[Case]]
    mistakes: tuple[Mistake, ...] = ()
    hints: tuple[str, ...] = ()
    edits: str = ""

    def __post_init__(self) -> None:
        edited = [
            Mistake(edit.name, edits.apply(self.reference, edit), edit.hint)
            for edit in edits.read(self.edits)
        ]
        object.__setattr__(self, "mistakes", (*edited, *self.mistakes))

    def mistake(self, name: str) -> StandIn:
        """The wrong function of that name, to `use` in a training run and watch what it does."""
        for known in self.mistakes:
            if known.name == name:
                return StandIn(self.reference, known.function)
        raise KeyError(f"no mistake named {name!r}; there are: {[m.name for m in self.mistakes]}")


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check: `status` is "not attempted", "wrong" or "right"."""

    status: str
    reason: str = ""
    mistake: str | None = None
    case: str | None = None
    expected: str | None = None
    got: str | None = None


def check(function: Callable, exercise: Exercise, seed: int = 0) -> Verdict:
    """Judge a function: untouched, right, or wrong with the reason. Never raises for its faults.

    Another `seed` draws other random cases, so that an answer cannot be fitted to the cases seen.
    """
    if stub.is_untouched(function):
        return Verdict("not attempted")
    cases = exercise.cases(np.random.default_rng(seed))
    return judge(exercise, cases, answer(function, cases))


@dataclass(frozen=True)
class Answer:
    """What a function did with one case."""

    value: Any = None
    changed_inputs: bool = False
    error: str | None = None  # a sentence; no value then
    not_implemented: bool = False  # the error was a NotImplementedError: a placeholder
    out_of_time: bool = False
    fits: bool = True  # False: it takes other arguments, as the error says


def answer(function: Callable, cases: list[Case], seconds: float = SECONDS) -> list[Answer]:
    """Ask a function all cases, up to the first error. Never raises for the function's faults."""
    try:
        inspect.signature(function).bind(*cases[0].args)
    except TypeError as error:
        return [Answer(error=str(error), fits=False)]
    answers: list[Answer] = []
    try:
        with _time_limit(seconds):
            for case in cases:
                answers.append(_answer(function, case))
                if answers[-1].error is not None:
                    break
    except _OutOfTime:
        answers.append(Answer(error=f"It did not return within {seconds:g} s.", out_of_time=True))
    return answers


def judge(exercise: Exercise, cases: list[Case], answers: list[Answer]) -> Verdict:
    """Compare answers with what was expected. Runs none of the student's code."""
    last, case = answers[-1], cases[min(len(answers), len(cases)) - 1]
    if not last.fits:
        names = ", ".join(inspect.signature(exercise.reference).parameters)
        return Verdict(
            "wrong", f"It is called with ({names}), but your signature says: {last.error}."
        )
    if last.out_of_time:
        return Verdict("wrong", f"{last.error} Look for a loop that never ends.", case=case.name)
    if last.not_implemented:
        return Verdict("not attempted")
    return _judge(exercise, cases, answers)


def _answer(function: Callable, case: Case) -> Answer:
    args = copy.deepcopy(case.args)
    try:
        value = function(*args)
    except (KeyboardInterrupt, _OutOfTime):
        raise
    except BaseException as error:  # SystemExit too: an exercise must not end the kernel
        absent = isinstance(error, NotImplementedError)
        return Answer(error=_tell_error(error), not_implemented=absent)
    # A generator is used up by being read: only data can be changed "in place".
    changed = any(
        not same(before, after)
        for before, after in zip(case.args, args, strict=True)
        if not isinstance(before, np.random.Generator) and not callable(before)
    )
    return Answer(copy.deepcopy(_plain(value)), changed)


def _plain(value: Any) -> Any:
    """Tensors without their graph, also inside tuples and lists: a graph cannot be copied."""
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(_plain(v) for v in value)
    return value.detach() if hasattr(value, "detach") else value


def _judge(exercise: Exercise, cases: list[Case], answers: list[Answer]) -> Verdict:
    for case, answer in zip(cases, answers, strict=False):
        if answer.error is not None:
            return Verdict("wrong", answer.error, case=_picture(exercise, case))
        found = difference(answer.value, case.expected, case.rtol, case.atol)
        if found is None and not answer.changed_inputs:
            continue
        known = _recognise(exercise, cases, answers)
        if known is not None:
            reason = known.hint
        elif answer.value is None:
            reason = "It returned None. Is a `return` statement missing?"
        elif found is None:
            reason = "The values are right, but it changed its inputs. Work on a copy instead."
        else:
            reason = _REASONS[found.kind] + f" ({found.sentence})."
        return Verdict(
            "wrong",
            reason,
            mistake=known.name if known else None,
            case=_picture(exercise, case),
            expected=show(case.expected),
            got=show(answer.value),
        )
    return Verdict("right")


_REASONS = {
    "type": "It returned another type of value than asked for",
    "shape": "The shape is off",
    "dtype": "The kind of number is off",
    "nan": "It returned NaN: look for 0/0, log(0) or infinity minus infinity",
    "value": "The values are off",
}


def _recognise(exercise: Exercise, cases: list[Case], answers: list[Answer]) -> Mistake | None:
    """The named mistake that gives this very answer in every case, if there is one."""
    for mistake in exercise.mistakes:
        wrong = (_answer(mistake.function, case) for case in cases)
        if all(
            w.error is None and w.changed_inputs == a.changed_inputs and same(w.value, a.value)
            for w, a in zip(wrong, answers, strict=True)
        ):
            return mistake
    return None


def _tell_error(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    # The last frame that is not inside a library is the line the student can change.
    own = [f for f in frames if "site-packages" not in f.filename and f.filename != __file__]
    where = f" at `{own[-1].line}`" if own and own[-1].line else ""
    text = str(error).strip().split("\n")[0]
    return (
        f"It raised {type(error).__name__}{where}: {text}"
        if text
        else (f"It raised {type(error).__name__}{where}.")
    )


def _picture(exercise: Exercise, case: Case) -> str:
    names = inspect.signature(exercise.reference).parameters
    shown = ", ".join(
        f"{name}={show(value)}" for name, value in zip(names, case.args, strict=False)
    )
    return f"{case.name}: {shown}"


class _OutOfTime(BaseException):
    """Raised inside a student's function. Not an `Exception`: `except Exception` lets it by."""


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise `_OutOfTime` in this thread after that many seconds, on every platform.

    Works between two bytecodes: it ends Python loops, not one endless call into C.
    """
    thread = threading.get_ident()
    over = threading.Event()

    def watch() -> None:
        wait = seconds
        while not over.wait(wait):  # again and again: a bare `except:` may swallow the first
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread), ctypes.py_object(_OutOfTime)
            )
            wait = 0.2

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)  # none left over
