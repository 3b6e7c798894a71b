"""Memory of a group of processes, counted and limited by the kernel, where it lets us.

Everything is counted once, shared and hidden pages too. Two ways lead there. Where this process may
make a group below its own, it does: root on version 1 of control groups, or in a container that
was given some. Elsewhere systemd, which owns the groups of version 2, is asked for a scope: a user
needs a session of their own for that (`loginctl enable-linger` where there is none).
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

TABLE = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")
LIMITS = ("memory.limit_in_bytes", "memory.max")  # of version 1 and of version 2
SWAP = ("memory.memsw.limit_in_bytes", "memory.swap.max")


@contextlib.contextmanager
def limited(
    command: list[str], name: str, memory: int
) -> Iterator[tuple[list[str], Callable[[], bool]]]:
    """The command, begun inside a group that may use ``memory`` bytes; as it is where none can be.

    What the command starts belongs to the group, too. The group is removed at the end. Beside the
    command comes a function that says whether it is in a group now.
    """
    group = make(name, memory)
    if group is None:
        scope = _scope(memory)
        yield [*scope, *command], lambda: bool(scope)
        return
    # Where the kernel lets nobody in, the command runs outside.
    enter = 'echo $$ > "$0"; exec "$@"'
    inside = group / "cgroup.procs"
    try:
        yield ["/bin/sh", "-c", enter, str(inside), *command], lambda: bool(inside.read_text())
    finally:
        _remove(group)


def make(name: str, memory: int) -> Path | None:
    """A group below this process's own that may use ``memory`` bytes; None where there is none."""
    for line in TABLE.read_text().splitlines() if TABLE.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        own = MOUNT / controllers / path.lstrip("/")
        if not (own / "cgroup.procs").exists():  # a plain folder: version 2 lies elsewhere
            continue
        with contextlib.suppress(OSError):
            (own / name).mkdir(exist_ok=True)
        with contextlib.suppress(OSError):  # version 2 counts where the parent says so
            (own / "cgroup.subtree_control").write_text("+memory")
        with contextlib.suppress(OSError):
            for file in filter(Path.exists, (own / name / limit for limit in LIMITS)):
                file.write_text(str(memory))
                for swap in filter(Path.exists, (own / name / each for each in SWAP)):
                    swap.write_text("0" if swap.name == SWAP[1] else str(memory))
                return own / name
            (own / name).rmdir()  # no memory is counted in it
    return None


@functools.cache
def _scope(memory: int) -> tuple[str, ...]:
    """What has to stand before a command so that systemd limits it; nothing where it does not."""
    if not (systemd_run := shutil.which("systemd-run")):
        return ()
    # Where systemd is found, for the command's own environment is empty; nothing of it goes inside.
    bus = {"XDG_RUNTIME_DIR": f"/run/user/{os.geteuid()}", "DBUS_SESSION_BUS_ADDRESS": ""}
    bus = {name: os.environ.get(name, usual) for name, usual in bus.items()}
    scope = (
        *("env", *(f"{name}={value}" for name, value in bus.items() if value)),
        *(systemd_run, "--scope", "--quiet", "--collect", *(("--user",) if os.geteuid() else ())),
        *("-p", f"MemoryMax={memory}", "-p", "MemorySwapMax=0", "--"),
        *("env", *(word for name in (*bus, "INVOCATION_ID") for word in ("-u", name))),
    )
    tell = f'cat "{MOUNT}$(sed -n s/^0:://p {TABLE})/memory.max"'
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        trial = subprocess.run(
            [*scope, "sh", "-c", tell],
            capture_output=True,
            timeout=10,
            check=True,
            env={"PATH": "/usr/bin:/bin"},  # as the real run, which has nobody's environment
        )
        if int(trial.stdout) <= memory:  # whole pages of it
            return scope
    return ()


def _remove(folder: Path, seconds: float = 5.0) -> None:
    """Remove the group once its processes are gone."""
    deadline = time.monotonic() + seconds
    while folder.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.02)
