"""What grading has done so far: one file per submission, so that a run which was stopped goes on.

A submission is graded again only if its file, the seeds or the library changed.
"""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
import json
import queue
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from course_lib.classroom.grade.reports import Student
from course_lib.classroom.grade.sandbox import ROOT
from course_lib.classroom.grade.submission import (
    MISSING,
    SHOWN_SEED,
    UNTOUCHED,
    Grade,
    grade,
    hidden_seeds,
)
from course_lib.classroom.grade.submissions import Submission


def seed(folder: Path, given: int | None) -> int:
    """The seed of the hidden cases: the one given, else the one kept in ``folder``, else drawn."""
    file = folder / "seed"
    if given is None and file.exists():
        return int(file.read_text(encoding="utf-8"))
    drawn = secrets.randbelow(2**32) if given is None else given
    file.write_text(f"{drawn}\n", encoding="utf-8")
    return drawn


def grade_all(
    found: Sequence[Submission], folder: Path, secret: int, jobs: int, *, confined: bool
) -> Iterator[None]:
    """Grade into ``folder`` what is not graded yet, ``jobs`` at once; yields as each is done.

    Closing the iterator lets those that have begun end, and begins no other.
    """
    slots: queue.SimpleQueue[int] = queue.SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)

    def work(submission: Submission) -> None:
        slot = slots.get()
        try:
            _grade_one(submission, folder, secret, slot, confined)
        finally:
            slots.put(slot)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(work, submission) for submission in found]
        try:
            for job in concurrent.futures.as_completed(waiting):
                yield job.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def students(found: Sequence[Submission], folder: Path) -> list[Student]:
    """The grades of all submissions that ``folder`` holds, by student."""
    known: dict[str, Student] = {}
    for submission in found:
        record = _read(_file(submission, folder))
        student = known.setdefault(
            submission.student, Student(submission.student, number=submission.number)
        )
        grades = {row["exercise"]: Grade(**row) for row in record.get("grades", ())}
        if student.grades.keys() & grades.keys():
            student.problems.append(
                f"{submission.path}: another notebook of this student holds the same exercises; "
                "of each, the last answer counts."
            )
        for name, grade_ in grades.items():
            if name not in student.grades or grade_.status not in (UNTOUCHED, MISSING):
                student.grades[name] = grade_
        if record.get("problem"):
            student.problems.append(record["problem"])
    return list(known.values())


def keep_lessons(students: Sequence[Student], chosen: set[str]) -> None:
    """Let only the ``chosen`` lessons count; without any, those that a fifth of the class sent.

    What one notebook holds beside its lesson would otherwise lower everybody's share.
    """
    held = [{name.split(".")[0] for name in student.grades} for student in students]
    count = Counter(lesson for lessons in held for lesson in lessons)
    graded = sum(map(bool, held))
    chosen = chosen or {lesson for lesson, number in count.items() if 5 * number >= graded}
    for student, lessons in zip(students, held, strict=True):
        if other := sorted(lessons - chosen):
            student.grades = {
                name: grade
                for name, grade in student.grades.items()
                if name.split(".")[0] in chosen
            }
            student.problems.append(
                f"Exercises of {' and '.join(other)} do not count; --lesson names those that do."
            )


def _grade_one(
    submission: Submission, folder: Path, secret: int, slot: int, confined: bool
) -> None:
    file = _file(submission, folder)
    record = {"student": submission.student, "path": submission.path, "grades": [], "problem": ""}
    try:
        data = submission.data()
        record["fingerprint"] = _fingerprint(data, secret)
        if _read(file).get("fingerprint") == record["fingerprint"]:
            return
        seeds = (SHOWN_SEED, *hidden_seeds(secret))
        record["grades"] = [asdict(g) for g in grade(data, seeds, slot, confined=confined)]
    except ValueError as error:  # an unreadable notebook, too
        record["problem"] = f"{submission.path}: {error}"
    except Exception as error:  # whatever it is, it costs this one only; the next run tries again
        record["problem"] = f"{submission.path}: It was not graded: {type(error).__name__}: {error}"
        record.pop("fingerprint", None)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1), encoding="utf-8")
    part.replace(file)  # whole or not at all


def _file(submission: Submission, folder: Path) -> Path:
    name = hashlib.sha256(submission.path.encode(errors="surrogatepass")).hexdigest()[:24]
    return folder / f"{name}.json"


def _read(file: Path) -> dict:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _fingerprint(data: bytes, secret: int) -> str:
    """Of the submission and of all that judges it."""
    digest = hashlib.sha256(data + secret.to_bytes(16, "big", signed=True))
    digest.update(_library())
    return digest.hexdigest()


@functools.cache
def _library() -> bytes:
    """Of every file of the library: the right answers are its own functions."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / "course_lib").rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.digest()
