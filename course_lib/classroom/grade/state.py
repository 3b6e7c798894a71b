"""What grading has done so far: one file per submission, so that a run which was stopped goes on.

A submission is graded again only if its file, the seeds or the library changed. What the machine
may have spoilt is not kept: it is graded once more, alone, after all others.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import hashlib
import json
import queue
import secrets
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from course_lib.classroom.answer import WAITED
from course_lib.classroom.grade import worker
from course_lib.classroom.grade.bubblewrap import ROOT
from course_lib.classroom.grade.notebook import UnreadableNotebook
from course_lib.classroom.grade.reports import Student
from course_lib.classroom.grade.submission import (
    MISSING,
    SHOWN_SEED,
    UNTOUCHED,
    Grade,
    grade,
    hidden_seeds,
)
from course_lib.classroom.grade.submissions import Submission

IDLE = (UNTOUCHED, MISSING)


class SeedLost(Exception):
    """Nobody knows any more with which cases the grades came about; the message is a sentence."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make the folder and keep other runs out of it; raises BlockingIOError if one is in there."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:
                pass  # a file system without locks
        yield


def seed(folder: Path, given: int | None) -> int:
    """The seed of the hidden cases: the one given, else the one kept in ``folder``, else drawn."""
    file = folder / "seed"
    if given is None and file.exists():
        with contextlib.suppress(ValueError):
            return int(file.read_text(encoding="utf-8"))
        if any(folder.glob("*.json")):
            raise SeedLost(f"{file} holds no number, but there are grades beside it. Say --seed.")
    drawn = secrets.randbelow(2**32) if given is None else given
    _write(file, f"{drawn}\n")
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

    def work(submission: Submission, alone: bool = False) -> bool:
        slot = slots.get()
        try:
            return _grade_one(submission, folder, secret, slot, confined, alone)
        finally:
            slots.put(slot)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(work, submission): submission for submission in found}
        unsure = []
        try:
            for job in concurrent.futures.as_completed(waiting):
                if job.result():
                    yield
                else:
                    unsure.append(waiting[job])
            for submission in unsure:
                pool.submit(work, submission, alone=True).result()
                yield
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def not_reached(found: Sequence[Submission], folder: Path, secret: int) -> set[str]:
    """Paths of submissions that a run which was stopped did not come to, or not to their end."""
    paths = set()
    for each in found:
        with contextlib.suppress(UnreadableNotebook):
            if _read(_file(each, folder)).get("fingerprint") != _fingerprint(each.data(), secret):
                paths.add(each.path)
    return paths


def students(
    found: Sequence[Submission], folder: Path, not_reached: Collection[str] = ()
) -> list[Student]:
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
        if submission.path in not_reached:
            student.problems.append(
                f"{submission.path}: not graded yet; a grade here is that of an earlier file."
            )
    return list(known.values())


def keep_lessons(students: Sequence[Student], chosen: set[str]) -> None:
    """Let only the ``chosen`` lessons count; without any, those that a fifth of the class sent.

    What one notebook holds beside its lesson would otherwise lower everybody's share: in a class
    of any size it takes two students, if there are two.
    """
    held = [{name.split(".")[0] for name in student.grades} for student in students]
    tried = [
        {name.split(".")[0] for name, grade in student.grades.items() if grade.status not in IDLE}
        for student in students
    ]
    count = Counter(lesson for lessons in tried for lesson in lessons)
    graded = sum(map(bool, held))
    least = max(graded / 5, min(graded, 2))
    usual = {lesson for lesson, number in count.items() if number >= least}
    chosen = chosen or usual or set(count) or set().union(*held)
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
    submission: Submission, folder: Path, secret: int, slot: int, confined: bool, alone: bool
) -> bool:
    """Grade into a file of its own; False if it may be the machine's doing, unless ``alone``."""
    file, sure = _file(submission, folder), True
    record = {"student": submission.student, "path": submission.path, "grades": [], "problem": ""}
    try:
        data = submission.data()
        record["fingerprint"] = _fingerprint(data, secret)
        if _read(file).get("fingerprint") == record["fingerprint"]:
            return True
        seeds = (SHOWN_SEED, *hidden_seeds(secret))
        grades = grade(data, seeds, slot, confined=confined)
        record["grades"] = [asdict(each) for each in grades]
        sure = alone or not any(map(_spoilt, grades))
    except ValueError as error:  # an unreadable notebook, too
        record["problem"] = f"{submission.path}: {error}"
    except Exception as error:  # whatever it is, it costs this one only; the next run tries again
        record["problem"] = f"{submission.path}: It was not graded: {type(error).__name__}: {error}"
        record.pop("fingerprint", None)
        sure = alone
    if not sure:
        record.pop("fingerprint", None)
    _write(file, json.dumps(record, indent=1))
    return sure


def _spoilt(grade: Grade) -> bool:
    """Whether a machine that is busy or short of memory may have done it."""
    late = worker.LATE.partition("{")[0]
    return grade.note.startswith((worker.KILLED, worker.LEFT, late, WAITED))


def _file(submission: Submission, folder: Path) -> Path:
    name = hashlib.sha256(submission.path.encode(errors="surrogatepass")).hexdigest()[:24]
    return folder / f"{name}.json"


def _read(file: Path) -> dict:
    """A record, empty where there is none or where it is not of this version's kind."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        for row in record.get("grades", ()):
            Grade(**row)
        return record
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(file: Path, text: str) -> None:
    """The whole file or nothing."""
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def _fingerprint(data: bytes, secret: int) -> str:
    """Of the submission and of all that judges it."""
    digest = hashlib.sha256(data + f"\n{secret}".encode())
    digest.update(_library())
    return digest.hexdigest()


@functools.cache
def _library() -> bytes:
    """Of every file of the library: the right answers are its own functions."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / "course_lib").rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.digest()
