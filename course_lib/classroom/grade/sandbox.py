"""Start a process that can do nothing but compute, and end it with all that it started.

Bubblewrap (the package `bubblewrap` of every Linux distribution) gives the process namespaces of
its own: no network, no other processes, of the disk only Python and this library, read-only, and a
small scratch directory in memory. Inside, `rights` limits memory, processes, files and what may be
asked of the kernel; `cgroup` limits the memory of all together where there is one. Started by root
it also becomes another user. The process inherits no environment variables.

Without bubblewrap only the limits remain, which stop accidents but not intent: `grade` then asks
for `--trusted`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_lib.classroom.exercise import where_lessons_are
from course_lib.classroom.grade import bubblewrap, cgroup, worker
from course_lib.classroom.grade.bubblewrap import ROOT
from course_lib.classroom.grade.notebook import UnreadableNotebook
from course_lib.classroom.grade.reader import NotStarted, read_apart

MEMORY = 2_500_000_000  # bytes of all processes of one submission together
NOBODY = 61_000  # user numbers from here on, one for each submission, so that they share no limit
PROCESSES = 48


class Ended(Exception):
    """The process ended before its job did; the message is a sentence."""


@dataclass(frozen=True)
class Limits:
    """Seconds that a process may take."""

    start: float = 120.0  # until it has imported everything; on a busy machine that takes a while
    exercise: float = 45.0  # computing for all cases of one exercise; each check has 5 s of its own
    patience: float = 60.0  # of the clock for the same, as the machine may be busy with others


@dataclass(frozen=True)
class Sent:
    """What came back for one exercise."""

    lines: tuple[bytes, ...]  # one for each list of cases
    problem: str = ""  # why there are fewer, as a sentence


def available() -> bool:
    """Whether bubblewrap is here and allowed to make namespaces."""
    return not bubblewrap.refusal()


def fault(*, confined: bool) -> str | None:
    """Why no submission could be run here, as a sentence: a trial, before grading begins."""
    with tempfile.TemporaryFile() as errors:
        try:
            for _ in answers([], 0, confined=confined, errors=errors.fileno()):
                pass
            read_apart(b'{"cells": []}')
            return None
        except (Ended, NotStarted, UnreadableNotebook, OSError) as ended:
            errors.seek(0)
            said = errors.read()[-300:].decode(errors="replace").strip()
            sentence = f"The grader's own process does not work on this machine. {ended}"
            return f"{sentence} It said: {said}" if said else sentence


def counted() -> bool:
    """Whether the kernel counts the memory of a submission's processes together."""
    with cgroup.limited(["cat"], f"course_grade_{os.getpid()}_trial", MEMORY) as (command, inside):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, env=_environment(), bufsize=0, **pipes) as trial:
            trial.stdin.write(b"x")
            trial.stdout.read(1)  # it runs
            return inside()


@contextlib.contextmanager
def _user() -> Iterator[int]:
    """The number of a user who runs nothing else now, whichever `grade` asks: a lock says so."""
    number = NOBODY
    with socket.socket(socket.AF_UNIX) as lock:  # with a name of the kernel's, so no file is left
        while True:
            try:
                lock.bind(f"\0course_grade_{number}")
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise NotStarted(f"No user of its own can be locked: {error}.") from error
                number += 1
        yield number


def answers(
    tasks: Sequence[dict],
    slot: int,
    *,
    confined: bool = True,
    limits: Limits | None = None,
    errors: int = subprocess.DEVNULL,
) -> Iterator[Sent]:
    """Run tasks for `worker` and yield what came back for each; raises `Ended`."""
    limits = limits or Limits()
    with _user() if os.geteuid() == 0 and confined else contextlib.nullcontext() as uid:
        yield from _answers(tasks, slot, uid, confined, limits, errors)


def _answers(
    tasks: Sequence[dict], slot: int, uid: int | None, confined: bool, limits: Limits, errors: int
) -> Iterator[Sent]:
    """The same as user ``uid`` (None: as who we are)."""
    read_end, write_end = os.pipe()
    job = {
        "tasks": list(tasks),
        "lessons": where_lessons_are(),
        "pipe": write_end,
        "uid": uid,
        "processes": PROCESSES + (_own_processes() if uid is None else 0),
        "seconds": limits.exercise,
        "patience": limits.patience,
        "confined": confined,
    }
    command = [sys.executable, "-I", "-m", "course_lib.classroom.grade.worker"]
    command = [*(bubblewrap.command() if confined else []), *command]
    name = f"course_grade_{os.getpid()}_{slot}"
    with cgroup.limited(command, name, MEMORY) as (command, inside):
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=(write_end,),
            env=_environment(),
            cwd="/" if confined else None,
            start_new_session=True,
        )
        os.close(write_end)
        try:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(json.dumps(job).encode())
                child.stdin.close()
            yield from _sent(_lines(read_end, child, limits, inside))
        finally:
            os.close(read_end)
            _end(child)


def _sent(lines: Iterator[bytes]) -> Iterator[Sent]:
    """What `worker` reports, by exercise."""
    collected: list[bytes] = []
    for line in lines:
        kind, _, text = line.partition(b" ")
        if kind == b"ready":
            where = Path(os.fsdecode(text)).resolve().parent
            if where != ROOT / "course_lib":
                raise NotStarted(
                    f"{sys.executable} runs the library of another copy of the course, {where}: "
                    f"set up this one, with `python -m course_lib doctor` in {ROOT}."
                )
        elif kind == b"answer":
            collected.append(text)
        elif kind == b"end":
            yield Sent(tuple(collected), text.decode(errors="replace"))
            collected = []


def _lines(
    read_end: int, child: subprocess.Popen, limits: Limits, inside: Callable[[], bool]
) -> Iterator[bytes]:
    """Lines from the pipe until "done"; ``inside``: whether the kernel counts the memory."""
    rest, allowed, end = b"", limits.start, NotStarted
    deadline = time.monotonic() + allowed
    with selectors.DefaultSelector() as selector:
        selector.register(read_end, selectors.EVENT_READ)
        while True:
            if not inside() and _memory(child.pid) > MEMORY:
                raise end(f"It took more than {MEMORY / 1e9:.1f} GB of memory and was stopped.")
            if not selector.select(timeout=0.1):  # what is there is read, however late it is
                if time.monotonic() > deadline:
                    raise end(worker.LATE.format(allowed))
                continue
            chunk = os.read(read_end, 1 << 20)
            if not chunk:
                raise end(worker.KILLED)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line == b"done":
                    return
                if line.startswith((b"ready", b"end")):
                    end, allowed = Ended, limits.patience + 15  # the worker stops it before
                    deadline = time.monotonic() + allowed
                yield line


def _end(child: subprocess.Popen) -> None:
    """End the process and all that it started."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(child.pid).children(recursive=True)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()


def _memory(pid: int) -> int:
    """Resident bytes of a process and all its descendants, with the tables of their pages."""
    import psutil

    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, OSError):
                total += each.memory_info().rss
                status = Path(f"/proc/{each.pid}/status").read_text()
                total += 1024 * sum(map(int, re.findall(r"^VmPTE:\s+(\d+)", status, re.MULTILINE)))
    return total


def _own_processes() -> int:
    """Threads that this user runs now: the limit on processes counts those, too."""
    import psutil

    uid, count = os.geteuid(), 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.uids().real == uid:
                count += process.num_threads()
    return count


def _environment() -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
    }
