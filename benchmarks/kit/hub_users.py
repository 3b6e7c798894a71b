"""JupyterHub on loopback: a class runs a lesson at the same time, each user in their own server.

The hub, its proxy, the users' servers and their kernels are real, and all are on this machine.
Memory: the peak of each kernel, and the most that all of them together took (shared pages counted
once). The users take turns on this machine's cores, so the seconds say little about a larger one.
With --quick, two users.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.harness import Goal
from benchmarks.kit import hub
from course_lib.commands.refresh import peak_memory

LESSON, USERS, FEW = "01_q_learning", 10, 2
EVERY = 2.0  # seconds between two looks at the memory of all


def measure(quick: bool) -> dict:
    if absent := hub.missing():
        raise SystemExit(absent)
    import psutil

    names = [f"user{i:02}" for i in range(FEW if quick else USERS)]
    together, runs = _hold_class(LESSON, names)
    memory = round(psutil.virtual_memory().total / 1e6)
    return {"seeds": [0], "machine_mb": memory, "together": together, "runs": runs}


def _hold_class(lesson: str, names: list[str]) -> tuple[dict, list[dict]]:
    """Let everybody run the lesson at once; what it took together, and each user's share."""
    with tempfile.TemporaryDirectory() as folder, hub.started(names, Path(folder)) as running:
        start = time.perf_counter()
        with _memory_of_all(running.pid) as memory, ThreadPoolExecutor(len(names)) as room:
            runs = list(room.map(lambda name: _attend(running, name, lesson), names))
        seconds = round(time.perf_counter() - start)
    together = {"lesson": lesson, "users": len(names), "seconds": seconds}
    return together | {"peak_mb": round(max(memory) / 1e6)}, runs


def _attend(running: hub.Hub, name: str, lesson: str) -> dict:
    """One user: log in, start a server, open the lesson, run it to the end."""
    import psutil

    run: dict = {"lesson": lesson, "user": name, "cells": 0, "errors": [], "killed": False}
    start = time.perf_counter()
    user = hub.User(running, name)
    run["server_seconds"] = round(time.perf_counter() - start, 1)
    session = user.open(f"notebooks/{lesson}.ipynb")
    try:
        run["errors"] = session.run()
    except (OSError, hub.Killed) as error:
        run["errors"] = [f"{type(error).__name__}: {error}"]
    code = [cell for cell in session.notebook.cells if cell.cell_type == "code"]
    run["cells"] = sum(cell.execution_count is not None for cell in code)
    run["of_cells"] = len(code)
    run["seconds"] = round(time.perf_counter() - start, 1)
    run["killed"] = not session.alive()
    run["kernel_peak_mb"] = round(peak_memory(session.pid) / 1e6)
    with contextlib.suppress(psutil.Error):
        run["server_peak_mb"] = round(peak_memory(psutil.Process(session.pid).ppid()) / 1e6)
    return run


@contextlib.contextmanager
def _memory_of_all(pid: int):
    """Bytes of the hub and everything below it, looked at again and again in the background."""
    seen, over = [_memory(pid)], threading.Event()

    def look() -> None:
        while not over.wait(EVERY):
            seen.append(_memory(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _memory(pid: int) -> int:
    import psutil

    total = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            info = process.memory_full_info()
            total += getattr(info, "pss", info.uss)  # pss: a shared page counts once in all
    return total


def judge(result: dict) -> list[Goal]:
    runs, together = result["runs"], result["together"]
    count = together["users"]
    whole = sum(not run["errors"] and run["cells"] == run["of_cells"] for run in runs)
    killed = sum(run["killed"] for run in runs)
    kernel = max(run["kernel_peak_mb"] for run in runs)
    server = max(run["server_peak_mb"] for run in runs)
    return [
        Goal(
            f"JupyterHub on loopback, {count} users run lesson {LESSON[:2]} at once to the end",
            f"{count} of {count}, no kernel killed",
            f"{whole} of {count}, {killed} killed, {together['seconds']} s with the servers' start",
            whole == count and killed == 0,
        ),
        Goal(
            f"memory of the hub and {count} users of lesson {LESSON[:2]}, peak",
            "within this machine's memory",
            f"{together['peak_mb'] / 1000:.1f} GB of {result['machine_mb'] / 1000:.1f} GB; a user: "
            f"kernel {kernel} MB, server {server} MB at most",
            together["peak_mb"] < result["machine_mb"],
        ),
    ]
