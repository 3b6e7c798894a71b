"""Inside the confined process: for each exercise a child without rights runs the student's code.

Started by `sandbox`. The job comes in on standard input. This process runs nothing of a student's:
it imports the library, starts a child for one exercise after the other, and hands on the lines that
the child sends, until it has sent them all, has ended, or its time is over: computing counts, so
that a neighbour who keeps the machine busy changes no grade. Whatever is left of it is killed
before the next begins. A child knows the arguments of its cases, and nothing of what is
expected: no result, no seed.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import importlib
import json
import linecache
import os
import pickle
import select
import signal
import sys
import threading
import time
from collections.abc import Callable

ANSWERS = 64_000_000  # bytes of one exercise
LEFT = "Its process ended by itself: it left, or took too much memory."
# The machine may have done these: it was short of memory, or busy.
KILLED = "Its process was killed: it took too much memory, or killed itself."
LATE = "It did not return within {:g} s and was stopped."
_NOT_DUMPABLE = 4, 0  # prctl(2): no process of the same user may read or change this one


def main() -> None:
    """Run the job."""
    job = json.load(sys.stdin)
    report = os.fdopen(job["pipe"], "wb", buffering=0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(*_NOT_DUMPABLE)

    import torch

    import course_lib.classroom.answer
    import course_lib.classroom.grade.codec
    import course_lib.classroom.grade.rights
    from course_lib.classroom.exercise import find

    torch.set_num_threads(1)
    importlib.import_module(job["lessons"])
    for task in job["tasks"]:
        find(task["name"])
    if not can_give_up(job):
        sys.exit("a process cannot give up its rights here")  # before "ready": nobody's fault
    report.write(b"ready " + os.fsencode(course_lib.__file__) + b"\n")
    for task in job["tasks"]:
        problem = run(task, job, report)
        report.write(b"end " + problem.encode() + b"\n")
    report.write(b"done\n")


def can_give_up(job: dict) -> bool:
    """Whether a child can do what each child of an exercise does before it runs anything."""
    from course_lib.classroom.grade import rights

    child = os.fork()
    if child == 0:
        with contextlib.suppress(Exception):
            rights.give_up(job["uid"], job["processes"])
            threading.Thread(target=int).start()  # as the limit of time does
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def run(task: dict, job: dict, report) -> str:
    """Hand on the answers of one exercise; returns why they ended early, as a sentence, or ""."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(read_end)
        report.close()
        answer_all(task, job, write_end)
        os._exit(0)
    os.close(write_end)
    deadline, rest, taken, missing = time.monotonic() + job["patience"], b"", 0, len(task["cases"])
    problem = ""
    looked = time.monotonic()
    while missing and not problem:
        ready = select.select([read_end], [], [], 0.5)[0]
        if not ready or time.monotonic() > looked + 0.5:  # also where a byte comes now and then
            looked = time.monotonic()
            if computed(child, job["confined"]) > job["seconds"]:
                problem = f"It computed for more than {job['seconds']:g} s and was stopped."
            elif looked > deadline:
                problem = LATE.format(job["patience"])
        if problem or not ready:
            continue
        chunk = os.read(read_end, 1 << 20)
        taken += len(chunk)
        if not chunk:
            problem = LEFT
        elif taken > ANSWERS:
            problem = f"It returned more than {ANSWERS // 1_000_000} MB and was stopped."
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines[:missing]:
            report.write(b"answer " + line + b"\n")
            missing -= 1
    os.close(read_end)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    if job["confined"]:  # all other processes in here are the child's, whatever their session
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    killed = problem == LEFT and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return KILLED if killed else problem


def computed(child: int, confined: bool) -> float:
    """Seconds that an exercise's processes have computed, with those that they waited for."""
    import psutil

    # Confined, all are the child's but this one and the first, whatever their parents say.
    pids = {*psutil.pids()} - {1, os.getpid()} if confined else {child}
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(psutil.Process(pid).cpu_times()[:4])
    return total


def answer_all(task: dict, job: dict, pipe: int) -> None:
    """In the child: give up rights, run the student's function, send one line for each list."""
    from course_lib.classroom.answer import Case, answer
    from course_lib.classroom.grade import codec, rights

    cases = [
        [Case("", args, None) for args in pickle.loads(base64.b64decode(each))]
        for each in task["cases"]
    ]
    rights.give_up(job["uid"], job["processes"])
    stream = os.fdopen(pipe, "wb", buffering=0)
    try:
        function = load(task["program"], task["function"], task["name"])
    except BaseException as error:  # SystemExit, too
        stream.write(codec.dumps([codec.failed(error)]) * len(cases))
        return
    for each in cases:
        stream.write(codec.dumps(answer(function, each, task["differentiated"], task["seconds"])))


def load(program: str, function: str, name: str) -> Callable:
    """Execute a program of `notebook` and return the student's function of it.

    In the notebook a name under another exercise's decorator is bound to an answer that works:
    here, to the library's, or by `exercise.own` to the student's.
    """
    from course_lib.classroom.exercise import find

    reached = []  # functions under this exercise's decorator

    def exercise(other: str, **_: object) -> Callable:
        return own(other) if other == name else lambda _: find(other).reference

    def own(other: str, **_: object) -> Callable:
        def keep(mine: Callable) -> Callable:
            reached.extend([mine] if other == name else ())
            return mine

        return keep

    exercise.own = own

    file = f"<{name}>"
    linecache.cache[file] = (len(program), None, program.splitlines(True), file)
    namespace = {"__name__": "submission", "exercise": exercise}
    exec(compile(program, file, "exec"), namespace)
    if function not in namespace and not reached:
        raise NameError(f'no function under @exercise("{name}") was reached')
    return namespace.get(function, reached[-1] if reached else None)


if __name__ == "__main__":
    main()
