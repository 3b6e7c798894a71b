"""The kernel counts the memory of a group of processes; systemd is asked where it owns them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib.classroom.grade import cgroup

LIMIT = 150_000_000
HIDDEN = """
import os, sys
file, held = os.memfd_create("hidden"), 0
while held < int(sys.argv[1]):
    held += os.write(file, b"x" * 1_000_000)
"""


def run(bytes_held: int) -> int:
    command = [sys.executable, "-I", "-c", HIDDEN, str(bytes_held)]
    with cgroup.limited(command, f"course_test_{os.getpid()}", LIMIT) as (limited, _):
        return subprocess.run(limited, check=False, capture_output=True).returncode


@pytest.fixture
def limits():
    """Skip where neither the kernel nor systemd limits a group for this user."""
    group = cgroup.make(f"course_test_{os.getpid()}", LIMIT)
    if group is not None:
        group.rmdir()
    elif not cgroup._scope(LIMIT):
        pytest.skip("no group of processes can be limited here")


def test_memory_that_belongs_to_no_process_counts(limits):
    assert run(50_000_000) == 0
    assert run(400_000_000) < 0  # ended by the kernel


def test_the_group_is_gone_afterwards(limits):
    run(1_000_000)
    left = Path("/sys/fs/cgroup").rglob(f"course_test_{os.getpid()}")
    assert not list(left)


@pytest.mark.parametrize(
    ("memory_max", "asked"), [("150000000", True), ("max", False), ("9999999999", False)]
)
def test_systemd_is_asked_only_where_its_limit_is_seen_to_count(
    tmp_path, monkeypatch, memory_max, asked
):
    group = tmp_path / "fs" / "user.slice" / "run-1.scope"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(memory_max)
    table = tmp_path / "cgroup"
    table.write_text("1:name=systemd:/\n0::/user.slice/run-1.scope\n")
    systemd_run = tmp_path / "systemd-run"
    systemd_run.write_text(
        '#!/bin/sh\n[ "$DBUS_SESSION_BUS_ADDRESS" = unix:x ] || exit 1\n'
        'while [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    )
    systemd_run.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:x")  # the real run is told it, too
    monkeypatch.setattr(cgroup, "TABLE", table)
    monkeypatch.setattr(cgroup, "MOUNT", tmp_path / "fs")
    cgroup._scope.cache_clear()
    try:
        scope = cgroup._scope(LIMIT)
    finally:
        cgroup._scope.cache_clear()
    assert bool(scope) == asked
    if asked:
        assert f"MemoryMax={LIMIT}" in scope
        told = subprocess.run(
            [*scope, "env"], capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
        )
        assert "PATH" in told.stdout
        assert "XDG_RUNTIME_DIR" not in told.stdout and "DBUS" not in told.stdout


def test_nothing_stands_before_the_command_without_groups_and_systemd(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "TABLE", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    cgroup._scope.cache_clear()
    try:
        with cgroup.limited(["true"], "name", LIMIT) as (command, inside):
            assert command == ["true"] and not inside()
    finally:
        cgroup._scope.cache_clear()


def test_a_folder_that_is_no_group_is_left_as_it_is(tmp_path, monkeypatch):
    """On a machine with both versions, "0::/" does not lie at the top."""
    (tmp_path / "fs").mkdir()
    (tmp_path / "cgroup").write_text("0::/\n")
    monkeypatch.setattr(cgroup, "TABLE", tmp_path / "cgroup")
    monkeypatch.setattr(cgroup, "MOUNT", tmp_path / "fs")
    assert cgroup.make("name", LIMIT) is None
    assert not list((tmp_path / "fs").iterdir())
