"""`python -m course_lib grade SUBMISSIONS --out DIR`: grade a folder or zip of notebooks.

Each finished submission is kept in ``DIR/state``, so that a run that was interrupted goes on where
it stopped. A submission is graded again only if its file, the seeds or the exercises changed.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from course_lib.commands.bootstrap import SetupError, complain, complaint
from course_lib.commands.refresh import parse as notebooks_named

UNCONFINED = "Submissions would have all your rights. {} Grade people you trust with --trusted."
SHOWN = (
    "{} lies in {}, which every submission may read, as Python is there. Put the submissions and "
    "the folder of grades elsewhere."
)
UNCOUNTED = (
    "Nothing here counts the memory of a submission's processes together, so it is looked at ten "
    "times a second; see course_lib/classroom/grade/README.md, What a submission can do."
)


def usual_jobs() -> int:
    """As many as there are processors for this process, and memory for what each may use."""
    import psutil

    from course_lib.classroom.grade.sandbox import MEMORY

    here = getattr(os, "sched_getaffinity", None)  # a container may have been given fewer
    cores = len(here(0)) if here else os.cpu_count() or 1
    return max(1, min(cores, psutil.virtual_memory().available // MEMORY))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command's options."""
    parser = argparse.ArgumentParser(prog="python -m course_lib grade", description=__doc__)
    parser.error = complaint("python -m course_lib grade SUBMISSIONS --out DIR, or --help")
    parser.add_argument("submissions", type=Path, help="a folder, or a zip file")
    parser.add_argument("--out", type=Path, required=True, help="where the reports go")
    parser.add_argument(
        "--lesson", action="append", help="02 or 02_dqn: only this one counts (may be repeated)"
    )
    parser.add_argument("--seed", type=int, help="of the hidden cases (drawn once, then kept)")
    parser.add_argument("--jobs", type=int, help="at once (as many as the machine has room for)")
    parser.add_argument("--trusted", action="store_true", help="go on without confinement")
    table = parser.add_argument_group("fill in a learning system's own table")
    table.add_argument("--roster", type=Path, metavar="CSV", help="as Moodle or Canvas exports it")
    table.add_argument("--match", metavar="COLUMN", help="the one that names the student")
    table.add_argument("--column", metavar="COLUMN", help="the one for the points")
    table.add_argument("--points", type=float, default=100.0, help="for everything right (100)")
    options = parser.parse_args(argv)
    options.lesson = (
        {p.stem[3:] for p in notebooks_named(options.lesson)} if options.lesson else set()
    )
    if options.roster and not (options.match and options.column):
        raise SetupError("--roster needs --match and --column, two columns of that table.")
    if options.roster and not options.roster.is_file():
        raise SetupError(f"There is no file {options.roster}.")
    if not options.submissions.exists():
        raise SetupError(f"There is no folder or zip file {options.submissions}.")
    if options.out.exists() and not options.out.is_dir():
        raise SetupError(f"{options.out} is a file; --out names a folder.")
    for name, least in (("seed", 0), ("jobs", 1)):
        if (value := getattr(options, name)) is not None and value < least:
            raise SetupError(f"--{name} must be at least {least}, got {value}.")
    if not 0 < options.points < float("inf"):  # nor may it be nan
        raise SetupError(f"--points must be a number above 0, such as 100, got {options.points}.")
    return options


def main(argv: Sequence[str]) -> int:
    """Grade everything; 2 if it could not start, 130 if it was stopped."""
    options = parse(argv)
    import course_lib.lessons  # noqa: F401, it hands the classroom its exercises
    from course_lib.classroom.grade import bubblewrap, sandbox, state, submissions

    refused = bubblewrap.refusal()
    if refused and not options.trusted:
        return complain(UNCONFINED.format(refused))
    for path in (options.submissions, options.out):
        if not refused and (folder := bubblewrap.readable(path)):
            return complain(SHOWN.format(path, folder))
    try:
        found = submissions.find(options.submissions)
    except FileNotFoundError as error:
        return complain(str(error))
    if not found:
        return complain(f"There is no notebook in {options.submissions}.")
    for sentence in submissions.doubtful(found):
        print(sentence, file=sys.stderr)
    if problem := sandbox.fault(confined=not refused):
        return complain(problem)
    if not sandbox.counted():
        print(UNCOUNTED, file=sys.stderr)
    try:
        with state.held(options.out / "state"):
            return _grade(options, found, confined=not refused)
    except BlockingIOError:
        return complain(f"Another run grades into {options.out} now: wait for its end.")
    except state.SeedLost as error:
        return complain(str(error))
    except OSError as error:  # a full disk, a folder where a table should be
        return complain(f"{error.filename or options.out} cannot be written: {error.strerror}.")


def _grade(options: argparse.Namespace, found: list, *, confined: bool) -> int:
    """Grade into the folder that this run holds."""
    from course_lib.classroom.grade import reports, state

    folder = options.out / "state"
    secret = state.seed(folder, options.seed)
    jobs = options.jobs or usual_jobs()
    stopped = _interrupted(
        state.grade_all(found, folder, secret, jobs, confined=confined), len(found)
    )
    old = state.not_reached(found, folder, secret) if stopped else ()
    students = state.students(found, folder, old)
    state.keep_lessons(students, options.lesson)
    reports.write(students, options.out)
    print(
        f"{len(students)} students: {options.out / 'grades.csv'} and {options.out / 'summary.html'}"
    )
    if stopped:
        return 130
    return _fill_roster(students, options) if options.roster else 0


def _interrupted(grading: Iterator[None], total: int) -> bool:
    """Grade to the end behind a progress bar; True if the user stopped it."""
    from tqdm import tqdm

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)  # as Ctrl-C, so that nothing stays behind
    with contextlib.closing(grading):
        try:
            for _ in tqdm(grading, total=total, unit="submission", desc="grading"):
                pass
        except KeyboardInterrupt:
            print("Stopped. The same command goes on from here.", file=sys.stderr)
            return True
        finally:
            signal.signal(signal.SIGTERM, before)
    return False


def _fill_roster(students: list, options: argparse.Namespace) -> int:
    """The learning system's table into the folder of reports; 2 if it does not fit."""
    from course_lib.classroom.grade import roster

    exercises = {name for student in students for name in student.grades}
    graded = [student for student in students if student.grades]
    points = {s.name: round(options.points * s.passed / len(exercises), 2) for s in graded}
    numbers = {student.name: student.number for student in students}
    target = options.out / f"filled_{options.roster.name}"
    try:
        missing = roster.fill(
            options.roster, target, points, options.match, options.column, numbers
        )
    except roster.RosterError as error:
        return complain(str(error))
    print(target)
    if missing:
        several = f"Not one row of {options.roster} alone names: {', '.join(missing)}."
        print(several, file=sys.stderr)
    if empty := [student.name for student in students if not student.grades]:
        print(f"No points, for nothing could be graded: {', '.join(empty)}.", file=sys.stderr)
    return 0
