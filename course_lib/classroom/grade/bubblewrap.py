"""The command that confines another: of the disk only Python and the library, no network.

Bubblewrap is a package of every Linux distribution.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SCRATCH = 64_000_000  # bytes of files


def refusal() -> str:
    """Why bubblewrap confines nothing here, as a sentence; empty where it does."""
    if sys.platform != "linux":
        return "Only Linux can confine them."
    if not (bwrap := shutil.which("bwrap")):
        return "The program bwrap is missing: install the package bubblewrap."
    trial = [bwrap, "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "/bin/sh", "-c", ":"]
    run = subprocess.run(trial, capture_output=True, check=False, text=True)
    if not run.returncode:
        return ""
    return (
        f"{bwrap} may not make namespaces here. It says: {run.stderr.strip()[-300:]}. "
        "On Ubuntu 24.04 or later AppArmor forbids it until an administrator allows it in a "
        "profile; in a container, whoever starts that has to allow it."
    )


def shown() -> list[Path]:
    """What of the disk a submission may read."""
    system = [
        Path(part)
        for part in ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives")
        if Path(part).exists()
    ]
    # Python and its packages, wherever they are; of the kit only the library.
    library = Path(__file__).parents[2]
    python = {Path(sys.prefix), Path(sys.base_prefix), library, ROOT / "pyproject.toml"}
    # Under their real names and under those with links, by which they may be started.
    return system + sorted({p.resolve() for p in python} | {p.absolute() for p in python})


def readable(path: Path) -> Path | None:
    """The folder by which submissions could read ``path``; None where they cannot."""
    above = {path.resolve(), *path.resolve().parents}
    return next((each for each in shown() if each.resolve() in above), None)


def command() -> list[str]:
    """The command that confines what comes after it."""
    paths = shown()
    binds = [word for path in paths for word in ("--ro-bind", str(path), str(path))]
    # Directories that bubblewrap makes by itself could be entered by root alone.
    parents = {parent for path in paths for parent in path.parents if parent != Path("/")}
    folders = [w for path in sorted(parents) for w in ("--perms", "0755", "--dir", str(path))]
    # Root needs no user namespace, and could not become somebody else inside one.
    spaces = ("ipc", "pid", "net", "uts", "cgroup-try", *(("user",) if os.geteuid() else ()))
    # The worker starts each exercise as a nobody, and has to be able to end it.
    rights = ("CAP_SETUID", "CAP_SETGID", "CAP_KILL")
    become = [word for right in rights for word in ("--cap-add", right)]
    return [
        *(shutil.which("bwrap"), "--die-with-parent", "--new-session"),
        *(f"--unshare-{space}" for space in spaces),
        *(() if os.geteuid() else become),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--perms", "1777", "--size", str(SCRATCH), "--tmpfs", "/tmp"),
        *folders,
        *binds,
        *("--remount-ro", "/dev", "--remount-ro", "/"),  # both lie in memory that nothing limits
        *("--chdir", "/tmp", "--"),
    ]
