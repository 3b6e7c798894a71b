"""`python -m course_lib grade SUBMISSIONS --out DIR`: grade a folder or zip of notebooks.

Each finished submission is kept in ``DIR/state``, so that a run that was interrupted goes on where
it stopped. A submission is graded again only if its file, the seeds or the exercises changed.
"""

import argparse
import concurrent.futures
import functools
import hashlib
import json
import os
import queue
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from course_lib.commands.bootstrap import ROOT, SetupError

UNCONFINED = (
    "Submissions would run with your own rights: the program `bwrap` (package `bubblewrap`) is "
    "missing or not allowed here. Install it, or grade people whom you trust with --trusted."
)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command's options."""
    parser = argparse.ArgumentParser(prog="python -m course_lib grade", description=__doc__)
    parser.add_argument("submissions", type=Path, help="a folder, or a zip file")
    parser.add_argument("--out", type=Path, required=True, help="where the reports go")
    parser.add_argument("--seed", type=int, default=0, help="of the hidden cases (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at once")
    parser.add_argument("--trusted", action="store_true", help="go on without confinement")
    table = parser.add_argument_group("fill in a learning system's own table")
    table.add_argument("--roster", type=Path, metavar="CSV", help="as Moodle or Canvas exports it")
    table.add_argument("--match", metavar="COLUMN", help="the one that names the student")
    table.add_argument("--column", metavar="COLUMN", help="the one for the points")
    table.add_argument("--points", type=float, default=100.0, help="for everything right (100)")
    options = parser.parse_args(argv)
    if options.roster and not (options.match and options.column):
        raise SetupError("--roster needs --match and --column, two columns of that table.")
    if options.roster and not options.roster.is_file():
        raise SetupError(f"There is no file {options.roster}.")
    if not options.submissions.exists():
        raise SetupError(f"There is no folder or zip file {options.submissions}.")
    if options.out.exists() and not options.out.is_dir():
        raise SetupError(f"{options.out} is a file; --out names a folder.")
    if options.jobs < 1:
        raise SetupError(f"--jobs must be at least 1, got {options.jobs}.")
    return options


def main(argv: Sequence[str]) -> int:
    """Grade everything; 2 if it could not start, 130 if it was stopped."""
    options = parse(argv)
    import course_lib.lessons  # noqa: F401, it hands the classroom its exercises
    from course_lib.classroom.grade import sandbox, submissions

    confined = sandbox.available()
    if not confined and not options.trusted:
        print(UNCONFINED, file=sys.stderr)
        return 2
    try:
        found = submissions.find(options.submissions)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    if not found:
        print(f"There is no notebook in {options.submissions}.", file=sys.stderr)
        return 2
    state = options.out / "state"
    state.mkdir(parents=True, exist_ok=True)
    stopped = _grade_all(found, state, options, confined)
    students = _collect(found, state)
    from course_lib.classroom.grade import reports

    reports.write(students, options.out)
    print(
        f"{len(students)} students: {options.out / 'grades.csv'} and {options.out / 'summary.html'}"
    )
    if stopped:
        return 130
    return _fill_roster(students, options) if options.roster else 0


def _fill_roster(students: list, options: argparse.Namespace) -> int:
    """The learning system's table into the folder of reports; 2 if it does not fit."""
    from course_lib.classroom.grade import roster

    exercises = {name for student in students for name in student.grades}
    share = {s.name: s.passed / max(1, len(exercises)) for s in students}
    points = {name: round(options.points * part, 2) for name, part in share.items()}
    target = options.out / f"filled_{options.roster.name}"
    try:
        missing = roster.fill(options.roster, target, points, options.match, options.column)
    except roster.RosterError as error:
        print(error, file=sys.stderr)
        return 2
    print(target)
    if missing:
        print(f"No row of {options.roster} names: {', '.join(missing)}.", file=sys.stderr)
    return 0


def _grade_all(found: list, state: Path, options: argparse.Namespace, confined: bool) -> bool:
    """Grade what is not graded yet, several at once; True if the user stopped it."""
    from tqdm import tqdm

    slots: queue.SimpleQueue[int] = queue.SimpleQueue()
    for slot in range(options.jobs):
        slots.put(slot)

    def work(submission) -> None:
        slot = slots.get()
        try:
            _grade_one(submission, state, options.seed, slot, confined)
        finally:
            slots.put(slot)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(work, submission) for submission in found]
        try:
            finished = concurrent.futures.as_completed(jobs)
            for job in tqdm(finished, total=len(jobs), unit="submission", desc="grading"):
                job.result()
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)
            print("Stopped. The same command goes on from here.", file=sys.stderr)
            return True
    return False


def _grade_one(submission, state: Path, secret: int, slot: int, confined: bool) -> None:
    from course_lib.classroom.grade.notebook import UnreadableNotebook
    from course_lib.classroom.grade.submission import SHOWN_SEED, grade, hidden_seeds

    file = _state_file(submission, state)
    record = {"student": submission.student, "path": submission.path, "grades": [], "problem": ""}
    try:
        data = submission.data()
        record["fingerprint"] = _fingerprint(data, secret)
        if _read(file).get("fingerprint") == record["fingerprint"]:
            return
        seeds = (SHOWN_SEED, *hidden_seeds(secret))
        record["grades"] = [asdict(g) for g in grade(data, seeds, slot, confined=confined)]
    except (UnreadableNotebook, ValueError) as error:
        record["problem"] = f"{submission.path}: {error}"
    part = file.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1), encoding="utf-8")
    part.replace(file)  # whole or not at all


def _state_file(submission, state: Path) -> Path:
    name = hashlib.sha256(submission.path.encode()).hexdigest()[:24]
    return state / f"{name}.json"


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


def _collect(found: list, state: Path) -> list:
    """The records of all submissions, by student."""
    from course_lib.classroom.grade.reports import Student
    from course_lib.classroom.grade.submission import Grade

    students: dict[str, Student] = {}
    for submission in found:
        record = _read(_state_file(submission, state))
        student = students.setdefault(submission.student, Student(submission.student))
        grades = {row["exercise"]: Grade(**row) for row in record.get("grades", ())}
        if student.grades.keys() & grades.keys():
            student.problems.append(
                f"{submission.path}: another notebook of this student holds the same exercises; "
                "this one counts."
            )
        student.grades |= grades
        if record.get("problem"):
            student.problems.append(record["problem"])
    return list(students.values())
