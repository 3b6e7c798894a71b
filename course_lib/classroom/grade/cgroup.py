"""Memory of a group of processes, counted and limited by the kernel, where it lets us.

Everything is counted once, shared and hidden pages too. Root has this nearly everywhere; others
where their group of processes has been given to them.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

TABLE = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")
LIMITS = ("memory.limit_in_bytes", "memory.max")  # of version 1 and of version 2
SWAP = ("memory.memsw.limit_in_bytes", "memory.swap.max")


def make(name: str, memory: int) -> Path | None:
    """A group below this process's own that may use ``memory`` bytes; None where there is none."""
    for line in TABLE.read_text().splitlines() if TABLE.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        folder = MOUNT / controllers / path.lstrip("/") / name
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
            for file in filter(Path.exists, (folder / limit for limit in LIMITS)):
                file.write_text(str(memory))
                for swap in filter(Path.exists, (folder / each for each in SWAP)):
                    swap.write_text("0" if swap.name == SWAP[1] else str(memory))
                return folder
            folder.rmdir()  # no memory is counted in it
    return None


def entering(folder: Path | None, command: list[str]) -> list[str]:
    """The command, begun inside the group: also what it starts at once belongs to it then.

    Where the kernel lets nobody in, the command runs outside.
    """
    if folder is None:
        return command
    enter = 'echo $$ > "$0"; exec "$@"'
    return ["/bin/sh", "-c", enter, str(folder / "cgroup.procs"), *command]


def remove(folder: Path | None, seconds: float = 5.0) -> None:
    """Remove the group once its processes are gone."""
    deadline = time.monotonic() + seconds
    while folder is not None and folder.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.02)
