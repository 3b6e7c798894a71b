"""When the C library hands freed memory back to the system, where that can be told (glibc).

Left alone, glibc may hand larger tensors back after every step of a training loop and ask for them
again in the next, where the system clears each page anew. It stops by itself once a program has
freed a tensor of nearly 32 MiB, and a small model has none.
"""

import contextlib
import ctypes
import gc

# The parameters' numbers in <malloc.h>, and the values at which glibc's own adjustment ends; see
# mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_TRIM_THRESHOLD, _MMAP_THRESHOLD = 64 << 20, 32 << 20


def keep_freed_memory() -> None:
    """Keep freed tensors of up to 32 MiB for the next ones, and up to 64 MiB of unused memory."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # no glibc, or no C library
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        library.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)


def give_back_memory() -> None:
    """Hand all freed memory to the system, as after work that leaves large holes behind."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
