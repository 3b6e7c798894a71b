"""Notebooks: run time on one core, peak memory, without a network and under Binder's limit.

Each notebook is copied and run from top to bottom in a fresh kernel. On Linux the run happens in
a network namespace with loopback alone, on one core, and in a control group of 2 GB, beyond which
the system kills it; elsewhere `network` and `limited` say so. Two more runs under the same limit:
importing everything that the notebooks import, and unpacking the language model at set-up.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import ROOT, Goal
from benchmarks.kit.memory_limit import limited

LONGEST, LARGEST = 180, 1500  # seconds, MB
LIMIT = 2_000_000_000  # bytes; where Binder ends a session
NOTEBOOK = """
from course_lib.commands.refresh import execute
result = execute(Path(argument))
"""
IMPORT = """
import pkgutil, importlib
import course_lib
skipped = ("course_lib.__main__", "course_lib.classroom.grade.worker")
for module in pkgutil.walk_packages(course_lib.__path__, "course_lib."):
    if module.name not in skipped:
        importlib.import_module(module.name)
result = {}
"""
SET_UP = """
from course_lib.worlds import pretrained
pretrained.prepare(Path(argument))
result = {}
"""
CHILD = """
import json, os, sys
from pathlib import Path
argument, enter = sys.argv[1:]
if enter:
    Path(enter).write_text(str(os.getpid()))
from course_lib.commands.test import cut_network
network = cut_network()
{}
print(json.dumps({{"network": network, **result}}))
"""


def measure(quick: bool) -> dict:
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        copy_companions(Path(folder))
        for path in paths[:2] if quick else paths:
            copy = Path(folder) / path.name
            copy.write_bytes(path.read_bytes())
            runs.append({"notebook": path.stem, **confined(NOTEBOOK, copy)})
            print(runs[-1], flush=True)
        others = {
            "importing everything": confined(IMPORT, Path()),
            "unpacking the language model": confined(SET_UP, Path(folder) / "model"),
        }
    return {"seeds": [0], "limit_mb": LIMIT // 10**6, "runs": runs, "others": others}


def copy_companions(folder: Path) -> None:
    """Put into ``folder`` what notebooks read beside themselves."""
    for name in ("checkpoints", "labels"):
        shutil.copytree(ROOT / "notebooks" / name, folder / name)


def confined(work: str, argument: Path) -> dict:
    """Run ``work`` without a network and under the limit; what it said, and how it ended."""
    with limited(LIMIT) as group:
        done = subprocess.run(
            [sys.executable, "-c", CHILD.format(work), argument, group.enter if group else ""],
            cwd=ROOT,
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = done.stdout.splitlines()
        said = json.loads(lines[-1]) if done.returncode == 0 else {"ended": done.returncode}
        return {**said, "limited": bool(group), "group_peak_mb": group.peak_mb() if group else 0}


def judge(result: dict) -> list[Goal]:
    runs, others = result["runs"], result["others"]
    everything = {**{run["notebook"]: run for run in runs}, **others}
    killed = [name for name, run in everything.items() if "ended" in run]
    under = [name for name, run in everything.items() if run["limited"]]
    runs = [run for run in runs if "ended" not in run]
    seconds = {run["notebook"]: run["seconds"] for run in runs}
    memory = {run["notebook"]: run["peak_mb"] for run in runs}
    cut = [run["notebook"] for run in runs if run["network"] == "cut"]
    return [
        Goal(
            "run time of each notebook, one core",
            f"<= {LONGEST} s",
            ", ".join(f"{name} {value} s" for name, value in seconds.items()),
            max(seconds.values()) <= LONGEST,
        ),
        Goal(
            "peak memory of each notebook's kernel",
            f"<= {LARGEST} MB",
            ", ".join(f"{name} {value} MB" for name, value in memory.items()),
            max(memory.values()) <= LARGEST,
        ),
        Goal(
            "notebooks that ran without a network",
            f"{len(result['runs'])} of {len(result['runs'])}",
            f"{len(cut)} of {len(result['runs'])}",
            len(cut) == len(result["runs"]),
        ),
        Goal(
            f"notebooks, import and set-up under an enforced limit of {result['limit_mb']} MB",
            "all end by themselves",
            f"{len(under) - len(killed)} of {len(everything)}"
            + (f"; ended by the system: {', '.join(killed)}" if killed else ""),
            not killed and len(under) == len(everything),
        ),
    ]
