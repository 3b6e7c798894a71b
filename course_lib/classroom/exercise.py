"""Exercises that say what went wrong: `@exercise("dqn.td_target")` above a student's function.

The checks run at once, in the student's own kernel. An untouched stub gets a calm note and the
library's version, so that *Run All* always works. A wrong answer gets the hint for the mistake it
matches. A right answer is used from there on.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.classroom import cards, course_map, record
from course_lib.classroom.check import Exercise, Verdict, check


@dataclass
class Checked:
    """What the decorated name is bound to: call it like the function; ask it for help."""

    name: str
    function: Callable
    exercise: Exercise
    verdict: Verdict
    attempts: int = 0
    hints_shown: int = 0

    def __post_init__(self) -> None:
        self.__wrapped__ = self.function
        self.__doc__ = self.exercise.reference.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    @property
    def status(self) -> str:
        return self.verdict.status

    @property
    def reference(self) -> Callable:
        """The library's function, whose place this one takes in `use`."""
        return self.exercise.reference

    def hint(self, number: int | None = None) -> None:
        """Show the next hint, or hint `number` (counted from 1); each says more than the last."""
        total = len(self.exercise.hints)
        if number is None:
            number = min(self.hints_shown + 1, total)
        if not 1 <= number <= total:
            raise ValueError(f"{self.name} has hints 1 to {total}, got {number}")
        self.hints_shown = max(self.hints_shown, number)
        cards.show_hint(self.name, number, total, self.exercise.hints[number - 1])

    def solution(self) -> None:
        """Show the library's own source for this exercise, and where it stands."""
        source = inspect.unwrap(self.exercise.reference)
        file = Path(inspect.getsourcefile(source))
        place = file.relative_to(Path(__file__).parents[2]).as_posix()
        cards.show_source(source.__name__, place, inspect.getsource(source))


_look_up: Callable[[str], dict[str, Exercise]] | None = None  # handed over by `course_lib.lessons`
_seen: dict[str, Checked] = {}  # what this kernel has run; the student's standing, nothing else


def exercise(name: str, *, keep_mine: bool = False) -> Callable[[Callable], Checked]:
    """Check the function below at once and bind its name to a version that works.

    `name` is `lesson.exercise`, such as "dqn.td_target". The name is bound to the student's
    function if it is right, else to the library's; `keep_mine=True` binds the student's function
    even if it is wrong, to watch what it does.
    """
    task = find(name)

    def decorate(function: Callable) -> Checked:
        if not callable(function):
            raise TypeError(f"@exercise stands above a function, got {function!r}")
        with _bound(function):
            verdict = check(function, task)
        attempted = verdict.status != "not attempted"
        mine = verdict.status == "right" or (keep_mine and attempted)
        before = _seen.get(name)
        checked = Checked(
            name,
            function if mine else task.reference,
            task,
            verdict,
            attempts=(before.attempts if before else 0) + attempted,
            hints_shown=before.hints_shown if before else 0,
        )
        _seen[name] = checked
        right = verdict.status == "right"
        cards.show_verdict(
            name,
            verdict,
            uses_own=mine,
            solved="" if right else record.solved().get(name, ""),
            note=record.keep(name) if right else "",
        )
        return checked

    return decorate


@contextlib.contextmanager
def _bound(function: Callable) -> Iterator[None]:
    """While a function is checked its own name already means it, so that it may call itself."""
    inner = inspect.unwrap(function)
    names = getattr(inner, "__globals__", None) if inspect.isfunction(inner) else None
    if names is None:
        yield
        return
    missing = object()
    before = names.get(inner.__name__, missing)
    names[inner.__name__] = function
    try:
        yield
    finally:
        if before is missing:
            del names[inner.__name__]
        else:
            names[inner.__name__] = before


def progress(lesson: str | None = None) -> None:
    """List the exercises of this notebook (or of one lesson) and where you stand with each.

    Once something is solved, the map of the whole course follows: see `record`.
    """
    solved = record.solved()
    lessons = [lesson] if lesson else list(dict.fromkeys(name.split(".")[0] for name in _seen))
    rows = []
    for name in (f"{each}.{short}" for each in lessons for short in exercises_of(each)):
        seen = _seen.get(name)
        status = seen.status if seen else "not reached"
        if name in solved and status != "right":
            status = "wrong now, solved earlier" if status == "wrong" else "solved earlier"
        rows.append((name, status, *((seen.attempts, seen.hints_shown) if seen else (0, 0))))
    course = course_map.course(record.folder(), solved) if solved and not lesson else []
    if rows or not course:
        cards.show_progress(rows)
    if course:
        cards.show_course(course, solved)


def set_look_up(look_up: Callable[[str], dict[str, Exercise]]) -> None:
    """Say where exercises are found: a function from the name of a lesson to its exercises."""
    global _look_up
    _look_up = look_up


def exercises_of(lesson: str) -> dict[str, Exercise]:
    """The exercises of a lesson, in order. Raises KeyError where there is no such lesson."""
    if _look_up is None:
        raise LookupError("no lessons are known yet: `import course_lib.lessons` comes first")
    return _look_up(lesson)


def where_lessons_are() -> str:
    """The module that handed over the look-up; another process imports it to know the same."""
    if _look_up is None:
        raise LookupError("no lessons are known yet: `import course_lib.lessons` comes first")
    return _look_up.__module__


def find(name: str) -> Exercise:
    """The exercise called `lesson.exercise`; a misspelt name gets the nearest ones."""
    lesson, _, short = name.partition(".")
    known = exercises_of(lesson)
    if short not in known:
        near = difflib.get_close_matches(short, known, n=1) or list(known)
        raise KeyError(f"no exercise named {name!r}; did you mean {f'{lesson}.{near[0]}'!r}?")
    return known[short]
