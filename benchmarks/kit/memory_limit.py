"""A memory limit that the operating system enforces, as Binder does: a control group of Linux.

A process that enters the group, and all that it starts, may together hold so many bytes. Whoever
asks for more is killed at once. Making a group needs root.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

TOP = Path("/sys/fs/cgroup")


class Group:
    """A limit in force. Write a process's number to ``enter`` to put it under the limit."""

    def __init__(self, folder: Path, limit: int):
        self.folder, self.enter = folder, folder / "cgroup.procs"
        second = (folder / "memory.max").exists()  # version 2 of control groups
        self._peak = folder / ("memory.peak" if second else "memory.max_usage_in_bytes")
        (folder / ("memory.max" if second else "memory.limit_in_bytes")).write_text(str(limit))
        if second:
            (folder / "memory.swap.max").write_text("0")

    def peak_mb(self) -> int:
        """The most that the group ever held, in MB; files that the system keeps at hand count."""
        return round(int(self._peak.read_text()) / 1e6)


@contextlib.contextmanager
def limited(limit: int) -> Iterator[Group | None]:
    """A group with so many bytes; None where none can be made (see the module)."""
    parent = TOP if (TOP / "cgroup.controllers").exists() else TOP / "memory"
    folder = parent / f"course-kit-{os.getpid()}"
    try:
        folder.mkdir()
        group = Group(folder, limit)
    except OSError:
        group = None
    try:
        yield group
    finally:
        for _ in range(50):  # a process that has just ended still counts for a moment
            with contextlib.suppress(OSError):
                folder.rmdir()
            if not folder.exists():
                break
            time.sleep(0.1)
