"""Read a submission in a process of its own: a stranger's text may fill a parser's memory.

Nothing of the submission runs in it. `notebook` does the reading.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

from course_lib.classroom.grade.notebook import Found, UnreadableNotebook, read

MEMORY = 1_500_000_000  # bytes
SECONDS = 60


class NotStarted(Exception):
    """A process did not come to its work: a fault of the machine, not of the submission."""


def read_apart(data: bytes) -> dict[str, Found]:
    """The exercises of a notebook, by name; raises `UnreadableNotebook`."""
    command = [sys.executable, "-I", "-m", "course_lib.classroom.grade.reader"]
    try:
        run = subprocess.run(
            command, input=data, capture_output=True, timeout=SECONDS, check=True, cwd="/"
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableNotebook(f"Reading it took longer than {SECONDS} s.") from error
    except subprocess.CalledProcessError as error:
        if error.returncode < 0:  # ended by a signal: a parser's stack, too, has an end
            raise UnreadableNotebook("Reading it took too much memory.") from error
        said = error.stderr.decode(errors="replace").strip()[-300:]
        raise NotStarted(f"{sys.executable} cannot read notebooks: {said}") from error
    told = json.loads(run.stdout)
    if isinstance(told, str):
        raise UnreadableNotebook(told)
    return {each["name"]: Found(**each) for each in told}


def main() -> None:
    """Read from standard input, write what was found, or a sentence, as JSON."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    try:
        told = [asdict(each) for each in read(sys.stdin.buffer.read()).values()]
    except UnreadableNotebook as error:
        told = str(error)
    except MemoryError:
        told = f"Reading it took more than {MEMORY / 1e9:g} GB."
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
