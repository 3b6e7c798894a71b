"""Give up rights for good: little memory, few processes, another user, no doors of the kernel.

The kernel's filter (seccomp) refuses what computing never needs: memory that no process is charged
for (memfd, shared memory of System V), namespaces of its own, other processes' memory and limits,
sockets that no namespace of the network holds back (a virtual machine's AF_VSOCK).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import sys

LIMITS = {"DATA": 2_000_000_000, "FSIZE": 50_000_000, "CORE": 0, "NOFILE": 256}

# Numbers of system calls: linux/arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h.
X86_64 = {
    **{"memfd_create": 319, "memfd_secret": 447, "shmget": 29, "msgget": 68, "semget": 64},
    **{"unshare": 272, "setns": 308, "mount": 165, "ptrace": 101, "process_vm_readv": 310},
    **{"process_vm_writev": 311, "pidfd_getfd": 438, "userfaultfd": 323, "bpf": 321},
    **{"perf_event_open": 298, "io_uring_setup": 425, "keyctl": 250, "add_key": 248},
}
ARM64 = {
    **{"memfd_create": 279, "memfd_secret": 447, "shmget": 194, "msgget": 186, "semget": 190},
    **{"unshare": 97, "setns": 268, "mount": 40, "ptrace": 117, "process_vm_readv": 270},
    **{"process_vm_writev": 271, "pidfd_getfd": 438, "userfaultfd": 282, "bpf": 280},
    **{"perf_event_open": 241, "io_uring_setup": 425, "keyctl": 219, "add_key": 217},
}
# The only first arguments that these calls may have: AF_UNIX, AF_INET, AF_INET6; this process.
FAMILIES, MYSELF = (1, 2, 10), (0,)
X86_64_FIRST = {41: FAMILIES, 53: FAMILIES, 302: MYSELF}  # socket, socketpair, prlimit64
ARM64_FIRST = {198: FAMILIES, 199: FAMILIES, 261: MYSELF}
# machine: its number for the kernel, refused calls, calls by first argument, the number of clone
MACHINES = {
    "x86_64": (0xC000003E, X86_64, X86_64_FIRST, 56),
    "aarch64": (0xC00000B7, ARM64, ARM64_FIRST, 220),
}
CLONE3, OTHER_ABI = 435, 0x40000000
NAMESPACES = 0x7E020000  # flags of clone that make one of any kind
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2  # of prctl(2)


def give_up(uid: int | None, processes: int) -> None:
    """Become user ``uid`` (None: stay who you are) within limits. There is no way back."""
    for name, limit in LIMITS.items():
        _limit(getattr(resource, f"RLIMIT_{name}"), limit)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _limit(resource.RLIMIT_NPROC, processes)
    if sys.platform == "linux" and platform.machine() in MACHINES:
        _filter_calls(*MACHINES[platform.machine()])


def _limit(kind: int, most: int) -> None:
    """Set a limit for good; one that is lower already stays."""
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def _filter_calls(
    machine: int, refused: dict[str, int], by_first: dict[int, tuple[int, ...]], clone: int
) -> None:
    """Refuse system calls of this process and all that it starts; see seccomp(2)."""
    rules = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, machine), (RETURN, 0, 0, REFUSE | errno.EPERM)]
    rules += [(LOAD, 0, 0, 0)]
    for test, number, error in (
        (AT_LEAST, OTHER_ABI, errno.ENOSYS),
        (EQUAL, CLONE3, errno.ENOSYS),  # its flags cannot be seen; the C library falls back
        *((EQUAL, number, errno.EPERM) for number in refused.values()),
    ):
        rules += [(test, 0, 1, number), (RETURN, 0, 0, REFUSE | error)]
    for call, allowed in by_first.items():
        count = len(allowed)
        rules += [(EQUAL, 0, count + 3, call), (LOAD, 0, 0, 16)]
        rules += [(EQUAL, count - i, 0, value) for i, value in enumerate(allowed)]
        rules += [(RETURN, 0, 0, REFUSE | errno.EPERM), (RETURN, 0, 0, ALLOW)]
    rules += [(EQUAL, 0, 3, clone), (LOAD, 0, 0, 16), (ANY_BIT, 0, 1, NAMESPACES)]
    rules += [(RETURN, 0, 0, REFUSE | errno.EPERM), (RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))

    class Program(ctypes.Structure):
        _fields_ = (("count", ctypes.c_ushort), ("code", ctypes.c_void_p))

    program = Program(len(rules), ctypes.cast(code, ctypes.c_void_p))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    refused = prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)
    if refused and ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS):  # a kernel without
        raise OSError(ctypes.get_errno(), "the kernel takes no filter for system calls")
