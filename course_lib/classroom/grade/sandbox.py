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
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_lib.classroom.exercise import where_lessons_are
from course_lib.classroom.grade import cgroup
from course_lib.classroom.grade.notebook import UnreadableNotebook
from course_lib.classroom.grade.reader import NotStarted, read_apart

ROOT = Path(__file__).resolve().parents[3]
MEMORY = 2_500_000_000  # bytes of all processes of one submission together
SCRATCH = 64_000_000  # bytes of files
NOBODY = 61_000  # user numbers from here on, one for each slot, so that slots share no limit
PROCESSES = 48


class Ended(Exception):
    """The process ended before its job did; the message is a sentence."""


@dataclass(frozen=True)
class Limits:
    """Seconds that a process may take."""

    start: float = 120.0  # until it has imported everything; on a busy machine that takes a while
    exercise: float = 45.0  # for all cases of one exercise; each check has 5 s of its own


@dataclass(frozen=True)
class Sent:
    """What came back for one exercise."""

    lines: tuple[bytes, ...]  # one for each list of cases
    problem: str = ""  # why there are fewer, as a sentence


def available() -> bool:
    """Whether bubblewrap is here and allowed to make namespaces."""
    if sys.platform != "linux" or not shutil.which("bwrap"):
        return False
    trial = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def fault(*, confined: bool) -> str | None:
    """Why no submission could be run here, as a sentence: a trial, before grading begins."""
    try:
        for _ in answers([], 0, confined=confined):
            pass
        read_apart(b'{"cells": []}')
        return None
    except (Ended, NotStarted, UnreadableNotebook, OSError) as ended:
        return f"The grader's own process does not work on this machine. {ended}"


def answers(
    tasks: Sequence[dict], slot: int, *, confined: bool = True, limits: Limits | None = None
) -> Iterator[Sent]:
    """Run tasks for `worker` and yield what came back for each; raises `Ended`."""
    limits = limits or Limits()
    read_end, write_end = os.pipe()
    as_root = os.geteuid() == 0 and confined
    job = {
        "tasks": list(tasks),
        "lessons": where_lessons_are(),
        "pipe": write_end,
        "uid": NOBODY + slot if as_root else None,
        "processes": PROCESSES if as_root else PROCESSES + _own_processes(),
        "seconds": limits.exercise,
        "confined": confined,
    }
    command = [sys.executable, "-I", "-m", "course_lib.classroom.grade.worker"]
    command = [*(_bubblewrap() if confined else []), *command]
    with cgroup.limited(command, f"course_grade_{os.getpid()}_{slot}", MEMORY) as command:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
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
            yield from _sent(_lines(read_end, child, limits))
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


def _lines(read_end: int, child: subprocess.Popen, limits: Limits) -> Iterator[bytes]:
    """Lines from the pipe until "done"."""
    rest, allowed, end = b"", limits.start, NotStarted
    deadline = time.monotonic() + allowed
    with selectors.DefaultSelector() as selector:
        selector.register(read_end, selectors.EVENT_READ)
        while True:
            if _memory(child.pid) > MEMORY:
                raise end(f"It took more than {MEMORY / 1e9:.1f} GB of memory and was stopped.")
            if not selector.select(timeout=0.1):  # what is there is read, however late it is
                if time.monotonic() > deadline:
                    raise end(f"It did not answer within {allowed:g} s and was stopped.")
                continue
            chunk = os.read(read_end, 1 << 20)
            if not chunk:
                raise end("Its process ended by itself: it left, or took too much memory.")
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line == b"done":
                    return
                if line.startswith((b"ready", b"end")):
                    end, allowed = Ended, limits.exercise + 15  # the worker stops it before
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
    """Resident bytes of a process and all its descendants."""
    import psutil

    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
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


def _bubblewrap() -> list[str]:
    """The command that confines what comes after it."""
    shown = [
        Path(part)
        for part in ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives")
        if Path(part).exists()
    ]
    # Python and its packages, wherever they are; of the kit only the library.
    python = {Path(sys.prefix), Path(sys.base_prefix), ROOT / "course_lib", ROOT / "pyproject.toml"}
    shown += sorted(path.resolve() for path in python)
    binds = [word for path in shown for word in ("--ro-bind", str(path), str(path))]
    # Directories that bubblewrap makes by itself could be entered by root alone.
    parents = {parent for path in shown for parent in path.parents if parent != Path("/")}
    folders = [w for path in sorted(parents) for w in ("--perms", "0755", "--dir", str(path))]
    # Root needs no user namespace, and could not become somebody else inside one.
    spaces = ("ipc", "pid", "net", "uts", "cgroup-try", *(("user",) if os.geteuid() else ()))
    # The worker starts each exercise as a nobody, and has to be able to end it.
    rights = ("CAP_SETUID", "CAP_SETGID", "CAP_KILL")
    become = [word for right in rights for word in ("--cap-add", right)]
    return [
        *("bwrap", "--die-with-parent", "--new-session"),
        *(f"--unshare-{space}" for space in spaces),
        *(() if os.geteuid() else become),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--perms", "1777", "--size", str(SCRATCH), "--tmpfs", "/tmp"),
        *folders,
        *binds,
        *("--remount-ro", "/dev", "--remount-ro", "/"),  # both lie in memory that nothing limits
        *("--chdir", "/tmp", "--"),
    ]
