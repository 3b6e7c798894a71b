"""A fresh clone: the time until `lab` answers, first and second start, and that `test` passes.

The repository's committed state is cloned into a temporary folder, so nothing that was installed
before can help. Needs the network and about 3 GB. With --quick the test suite is left out.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.harness import ROOT, Goal

PATIENCE = 1800  # seconds


def _until_lab_answers(clone: Path, python: str) -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = time.perf_counter()
    command = [python, "-m", "course_lib", "lab", "--no-browser", "--port", str(port)]
    lab = subprocess.Popen(command, cwd=clone, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - start < PATIENCE:
            if lab.poll() is not None:
                raise RuntimeError(f"lab ended by itself with status {lab.returncode}")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
                return time.perf_counter() - start
            time.sleep(0.2)
        raise TimeoutError(f"lab did not answer within {PATIENCE} s")
    finally:
        lab.terminate()
        lab.wait(30)


def measure(quick: bool) -> dict:
    python = getattr(sys, "_base_executable", sys.executable)
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        run: dict = {"first_lab": round(_until_lab_answers(clone, python), 1)}
        run["second_lab"] = round(_until_lab_answers(clone, python), 1)
        if not quick:
            start = time.perf_counter()
            done = subprocess.run(
                [python, "-m", "course_lib", "test"], cwd=clone, capture_output=True, text=True
            )
            run["test"] = round(time.perf_counter() - start, 1)
            run["test_status"] = done.returncode
            run["test_said"] = re.sub(r"=+", "", done.stdout.strip().splitlines()[-1]).strip()
    return {"seeds": [0], "runs": [run]}


def judge(result: dict) -> list[Goal]:
    run = result["runs"][0]
    goals = [
        Goal(
            "`python -m course_lib lab` on a fresh clone answers",
            "with nothing else typed; a second start is quick",
            f"first {run['first_lab']} s, second {run['second_lab']} s",
            run["second_lab"] < run["first_lab"] / 5,
        )
    ]
    if "test" in run:
        said = f"{run['test_said']} ({run['test']:.0f} s with the set-up of its packages)"
        what = "`python -m course_lib test` on a fresh clone"
        goals.append(Goal(what, "passes", said, run["test_status"] == 0))
    return goals
