"""Freed memory is kept or given back as told, by the count of pages that the system hands out."""

import platform
import subprocess
import sys

import pytest

from course_lib import allocator

AGAIN = """
import resource
from course_lib import allocator

def pages_for_a_piece():
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * (24 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start

{before}
pages_for_a_piece()
{between}
print(pages_for_a_piece())
"""


def page_faults(before: str = "", between: str = "") -> int:
    """Pages that the system hands out for a piece of 24 MiB, right after another was freed."""
    code = AGAIN.format(before=before, between=between)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_stays_until_it_is_given_back():
    kept = page_faults(before="allocator.keep_freed_memory()")
    left_alone = page_faults()
    given_back = page_faults(
        before="allocator.keep_freed_memory()", between="allocator.give_back_memory()"
    )
    assert kept < left_alone / 4
    assert kept < given_back / 4


@pytest.mark.parametrize("library", ["none", "without these functions"])
def test_elsewhere_nothing_happens(monkeypatch, library):
    class Library:
        def __init__(self, _name):
            if library == "none":
                raise OSError("no C library")

    monkeypatch.setattr(allocator.ctypes, "CDLL", Library)
    allocator.keep_freed_memory()
    allocator.give_back_memory()
