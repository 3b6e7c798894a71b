"""One submission from file to grades: read it, run it confined, judge what it sent back."""

from __future__ import annotations

import ast
import base64
import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from course_lib.classroom.check import Case, Verdict, judge
from course_lib.classroom.exercise import exercises_of, find
from course_lib.classroom.grade import codec, notebook, sandbox
from course_lib.classroom.grade.reader import read_apart
from course_lib.classroom.grade.worker import KILLED

PASSED, WRONG, UNTOUCHED, MISSING, ERROR = "passed", "wrong", "not attempted", "missing", "error"
SECONDS = 600  # of one notebook's exercises; those of a lesson take seconds
LONGEST = 2_000  # characters of each text of a grade: a table has to stay readable
SHOWN_SEED = 0  # of the checks in the notebook
BORROWED = "It names the library's own version of the function: look whether it calls it."


@dataclass(frozen=True)
class Grade:
    """One exercise of one submission."""

    exercise: str  # lesson.name
    status: str  # passed, wrong, not attempted, missing, error
    mistake: str = ""  # which of the named ones, if it is one
    note: str = ""  # a sentence: the hint, or what went wrong
    case: str = ""  # where it failed
    expected: str = ""
    got: str = ""


def hidden_seeds(secret: int, count: int = 4) -> tuple[int, ...]:
    """Seeds of cases that the student has not seen, different for each ``secret``."""
    drawn = np.random.SeedSequence((secret, 7)).generate_state(count)
    return tuple(int(seed) for seed in drawn)


def grade(
    data: bytes,
    seeds: Sequence[int],
    slot: int = 0,
    *,
    confined: bool = True,
    limits: sandbox.Limits | None = None,
) -> list[Grade]:
    """Grade all exercises of the lesson or lessons that a notebook belongs to.

    ``data`` is the file. Raises `notebook.UnreadableNotebook` where it is no notebook, and
    ValueError where it holds no exercise of this course.
    """
    found = read_apart(data)
    known = {}
    for lesson in dict.fromkeys(name.split(".")[0] for name in found):
        try:
            known |= {f"{lesson}.{name}": None for name in exercises_of(lesson)}
        except KeyError:
            continue  # a name of the student's own
    if not known:
        raise ValueError("It holds no exercise of this course: no cell begins with @exercise(...).")
    grades = {name: _without_running(name, found.get(name)) for name in known}
    waiting = [found[name] for name, done in grades.items() if done is None]
    grades |= _run(waiting, seeds, slot, confined, limits)
    failed = [each for each in waiting if each.wider and grades[each.name].status == WRONG]
    second = _run([replace(f, program=f.wider) for f in failed], seeds, slot, confined, limits)
    kept = (PASSED, KILLED)  # what killed it may be the machine: then both are tried again
    grades |= {
        name: grade for name, grade in second.items() if {grade.status, grade.note} & {*kept}
    }
    for each in waiting:
        if each.unfinished and grades[each.name].status == WRONG:
            grades[each.name] = Grade(each.name, UNTOUCHED)
        if grades[each.name].status == PASSED and _names_the_library(each):
            grades[each.name] = Grade(each.name, PASSED, note=BORROWED)
    return [grades[name] for name in known]


def _names_the_library(found: notebook.Found) -> bool:
    """Whether a program names the reference, or the library in a text, as an import by name does.

    Whoever hides it well is not seen.
    """
    words = {find(found.name).reference.__name__, "reference"}
    nodes = list(ast.walk(ast.parse(found.program)))
    imports = any(
        isinstance(node, ast.Import) and any(n.name.startswith("course_lib") for n in node.names)
        for node in nodes
    )
    if any(
        isinstance(node, ast.ImportFrom | ast.Import) and _of_the_exercises(node) for node in nodes
    ):
        return True
    for node in nodes:
        match node:
            case ast.ImportFrom(module=str() as module, names=names):
                if module.startswith("course_lib") and (words | {"*"}) & {n.name for n in names}:
                    return True
            case ast.Constant(value=str() as text) if imports and text in words:
                return True
            case ast.Attribute(attr=name) if name in words:
                return True
            case ast.Constant(value=str() as text) if "course_lib" in text:
                return True
    return False


def _of_the_exercises(node: ast.ImportFrom | ast.Import) -> bool:
    """Whether it imports where exercises stand, with what is expected of them."""
    modules = (
        [node.module or ""] if isinstance(node, ast.ImportFrom) else [n.name for n in node.names]
    )
    rooms = (
        "lessons",
        "classroom.exercise",
        "classroom.check",
        "classroom.cases",
        "classroom.grade",
    )
    return any(each.startswith(f"course_lib.{room}") for each in modules for room in rooms)


def _without_running(name: str, found: notebook.Found | None) -> Grade | None:
    if found is None:
        return Grade(name, MISSING, note=f'No function stands under @exercise("{name}").')
    if found.problem:
        return Grade(name, ERROR, note=found.problem)
    return Grade(name, UNTOUCHED) if found.untouched else None


def _run(
    waiting: list[notebook.Found],
    seeds: Sequence[int],
    slot: int,
    confined: bool,
    limits: sandbox.Limits | None,
) -> dict[str, Grade]:
    """Run exercises; where their process ends too early, go on after it in another."""
    grades: dict[str, Grade] = {}
    end = time.monotonic() + SECONDS
    while waiting:
        cases = {each.name: _cases(each.name, seeds) for each in waiting}
        tasks = [_task(each, cases[each.name]) for each in waiting]
        sent = sandbox.answers(tasks, slot, confined=confined, limits=limits)
        for each in waiting:
            if time.monotonic() > end:
                note = f"The exercises before it took {SECONDS // 60} minutes: it was not run."
                grades[each.name] = Grade(each.name, ERROR, note=note)
                continue
            try:
                grades[each.name] = _judge(each.name, cases[each.name], next(sent))
            except (sandbox.Ended, StopIteration) as ended:
                sentence = str(ended) or "Its process ended too early."
                grades[each.name] = Grade(each.name, ERROR, note=sentence)
                break
        sent.close()
        waiting = [each for each in waiting if each.name not in grades]
    return grades


def _cases(name: str, seeds: Sequence[int]) -> list[list[Case]]:
    return [find(name).cases(np.random.default_rng(seed)) for seed in seeds]


def _task(found: notebook.Found, cases: list[list[Case]]) -> dict:
    """What the worker is told: the program and the arguments of the cases, nothing to compare."""
    arguments = [[case.args for case in each] for each in cases]
    return {
        "name": found.name,
        "program": found.program,
        "function": found.function,
        "cases": [base64.b64encode(pickle.dumps(each)).decode() for each in arguments],
        "differentiated": find(found.name).differentiated_places,
        "seconds": find(found.name).seconds,
    }


def _judge(name: str, cases: list[list[Case]], sent: sandbox.Sent) -> Grade:
    """The first wrong verdict over all seeds, else the last."""
    verdict = None
    for line, asked in zip(sent.lines, cases, strict=False):
        try:
            answers = codec.loads(line)
            last = answers[-1]
            early = last.error is not None or last.out_of_time or not last.fits
            if len(answers) > len(asked) + 1 or (len(answers) < len(asked) and not early):
                raise ValueError("another number of answers than cases")
            verdict = judge(find(name), asked, answers)
        except (MemoryError, OSError):  # the grader's own trouble
            raise
        except Exception:  # whatever a stranger's process has written
            return Grade(name, ERROR, note="Its answers were garbled.")
        if verdict.status != "right":
            return _grade(name, verdict)
    if verdict is None or len(sent.lines) < len(cases):
        return Grade(name, ERROR, note=sent.problem or "It sent fewer answers than cases.")
    return _grade(name, verdict)


def _grade(name: str, verdict: Verdict) -> Grade:
    status = {"right": PASSED, "wrong": WRONG, "not attempted": UNTOUCHED}[verdict.status]
    texts = (verdict.mistake, verdict.reason, verdict.case, verdict.expected, verdict.got)
    return Grade(name, status, *((text or "")[:LONGEST] for text in texts))
