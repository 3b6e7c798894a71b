"""How notebooks run in the suite, and what it reports: the network cut, what they took."""

import contextlib
import io
import os
import tempfile

import pytest

from course_lib.commands import assign
from course_lib.commands.refresh import NOTEBOOKS, peak_memory
from course_lib.commands.test import NETWORK

PEAK_MB = 1500  # the budget of a notebook's kernel; Binder ends a session at 2 GB
SECONDS = 180  # the budget of its run time; only reported, since machines differ

_measured: dict[str, dict[str, float]] = {}


def pytest_report_header() -> str:
    return f"network: {os.environ.get(NETWORK, 'as it is (python -m course_lib test cuts it)')}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: a typo should not cost ten minutes."""

    def slowness(item: pytest.Item) -> int:
        if item.path.suffix == ".ipynb":
            return 2
        return 1 if {"browser", "slides"} & set(item.path.parts) else 0

    items.sort(key=slowness)


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a lesson's first cell: go where a student works, with what `assign` copies."""
    if item.path.parent != NOTEBOOKS or hasattr(item.parent, "student"):
        return
    item.parent.student = tempfile.TemporaryDirectory()
    with contextlib.redirect_stdout(io.StringIO()):
        assign.main([item.path.stem, "--out", item.parent.student.name])
    kernel = item.parent.kernel
    kernel.await_reply(kernel.execute_cell_input(f"%cd -q {item.parent.student.name}"), timeout=60)


def _kernel_pid(item: pytest.Item) -> int | None:
    kernel = getattr(item.parent, "kernel", None)
    manager = getattr(kernel, "km", None)
    return manager.provisioner.pid if manager and manager.provisioner else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    if item.path.suffix == ".ipynb" and call.when == "call":
        pid = _kernel_pid(item)
        peak_mb = peak_memory(pid) / 1e6 if pid else 0.0
        # Travels with the report, since a worker process may have run the cell.
        report.user_properties.append(("notebook", (item.path.stem, call.duration, peak_mb)))
        _add(item.path.stem, call.duration, peak_mb)
    return report


def _add(name: str, seconds: float, peak_mb: float) -> None:
    entry = _measured.setdefault(name, {"seconds": 0.0, "peak_mb": 0.0})
    entry["seconds"] += seconds
    entry["peak_mb"] = max(entry["peak_mb"], peak_mb)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In the process that hands out the tests: collect what the workers measured."""
    if getattr(report, "node", None) is None:  # no worker: `makereport` has counted it
        return
    for key, value in report.user_properties:
        if key == "notebook":
            _add(*value)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After a notebook's last cell: its kernel must have kept within the memory budget."""
    last = nextitem is None or nextitem.parent is not item.parent
    if item.path.suffix == ".ipynb" and last:
        peak = _measured.get(item.path.stem, {}).get("peak_mb", 0)
        assert peak <= PEAK_MB, f"{item.path.name}: kernel peaked at {peak:.0f} MB > {PEAK_MB} MB"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _measured:
        return
    terminalreporter.section("notebooks: run time and peak memory of the kernel")
    for name, entry in sorted(_measured.items()):
        late = f"  (over {SECONDS} s on this machine)" if entry["seconds"] > SECONDS else ""
        terminalreporter.write_line(
            f"{name:24} {entry['seconds']:6.1f} s {entry['peak_mb']:7.0f} MB{late}"
        )
