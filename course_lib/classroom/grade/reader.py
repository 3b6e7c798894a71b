"""Read a submission in a process of its own: a stranger's text may fill a parser's memory.

Nothing of the submission runs in it. `notebook` does the reading.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import asdict

from course_lib.classroom.grade.notebook import Found, UnreadableNotebook, read

MEMORY = 1_500_000_000  # bytes
SECONDS = 60  # of computing, which a busy machine does not make longer
PATIENCE = 600  # seconds of the clock
# How a process ends that a text asked too much of. Every other signal comes from elsewhere: Ctrl-C,
# a kernel that is short of memory, an administrator.
OWN_FAULT = (-signal.SIGSEGV, -signal.SIGABRT, -getattr(signal, "SIGBUS", signal.SIGSEGV))
OUT_OF_TIME = -getattr(signal, "SIGXCPU", 0)


class NotStarted(Exception):
    """A process did not come to its work: a fault of the machine, not of the submission."""


def read_apart(data: bytes) -> dict[str, Found]:
    """The exercises of a notebook, by name; raises `UnreadableNotebook`."""
    command = [sys.executable, "-I", "-m", "course_lib.classroom.grade.reader"]
    try:
        run = subprocess.run(
            command,
            input=data,
            capture_output=True,
            timeout=PATIENCE,
            cwd="/",
            start_new_session=True,  # the terminal's Ctrl-C is for the grader alone
        )
    except subprocess.TimeoutExpired as error:
        raise NotStarted(f"Reading did not end within {PATIENCE} s.") from error
    if run.returncode in OWN_FAULT:  # a parser's stack, too, has an end
        raise UnreadableNotebook("Reading it took too much memory.")
    if run.returncode and run.returncode == OUT_OF_TIME:
        raise UnreadableNotebook(f"Reading it took longer than {SECONDS} s.")
    if run.returncode:
        said = run.stderr.decode(errors="replace").strip()[-300:] or f"code {run.returncode}"
        raise NotStarted(f"{sys.executable} cannot read notebooks: {said}")
    told = json.loads(run.stdout)
    if isinstance(told, str):
        raise UnreadableNotebook(told)
    return {each["name"]: Found(**each) for each in told}


def main() -> None:
    """Read from standard input, write what was found, or a sentence, as JSON."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        told = [asdict(each) for each in read(sys.stdin.buffer.read()).values()]
    except UnreadableNotebook as error:
        told = str(error)
    except MemoryError:
        told = f"Reading it took more than {MEMORY / 1e9:g} GB."
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
