"""`python -m course_lib test`: the whole suite, notebooks included, without a network.

On Linux the run happens in a network namespace of its own that holds loopback alone, so that
nothing can depend on the network unnoticed. All arguments go to pytest. Without any, two processes
share the work, a file at a time: a notebook's cells belong together.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence

from course_lib.commands.bootstrap import ROOT, call

NETWORK = "COURSE_KIT_NETWORK"  # tells conftest.py what happened: "cut", or why not
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def main(argv: Sequence[str]) -> int:
    """Run pytest over the repository; return its exit code."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ[NETWORK] = cut_network()
    os.chdir(ROOT)
    return call([sys.executable, "-m", "pytest", *(argv or parallel())])


def parallel() -> list[str]:
    """Options that share the whole suite among two processes, in the order of conftest.py."""
    if (os.cpu_count() or 1) < 2:
        return []
    return ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]


def cut_network() -> str:
    """Move this process into a namespace with loopback only; return "cut" or why it cannot."""
    if sys.platform != "linux":
        return "not cut (only Linux can)"
    # Try in a child first: where the rights run out half-way, loopback would be lost as well.
    code = "from course_lib.commands.test import _enter_namespace as f; f()"
    trial = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if trial.returncode:
        return f"not cut ({trial.stderr.strip().splitlines()[-1]})"
    _enter_namespace()
    return "cut"


def _enter_namespace() -> None:
    """Unshare the network and bring loopback up (`os.unshare` exists from Python 3.12 on)."""
    import fcntl
    import socket
    import struct

    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWNET if uid == 0 else CLONE_NEWNET | CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare is not permitted")
    if uid:  # the same user inside as outside
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(handle, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))
