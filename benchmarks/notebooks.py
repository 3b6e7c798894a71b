"""Notebooks: run time on one core, peak memory of the kernel, with the network cut.

Each notebook is copied and run from top to bottom in a fresh kernel. On Linux the run happens in
a network namespace with loopback alone and on one core; elsewhere `network` says why not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import ROOT, Goal

LONGEST, LARGEST = 180, 1500  # seconds, MB
CHILD = """
import json, sys
from pathlib import Path
from course_lib.commands.refresh import execute
from course_lib.commands.test import cut_network
network = cut_network()
print(json.dumps({"network": network, **execute(Path(sys.argv[1]))}))
"""


def measure(quick: bool) -> dict:
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = ROOT / "notebooks" / "checkpoints"
        shutil.copytree(checkpoints, Path(folder) / checkpoints.name)
        for path in paths[:2] if quick else paths:
            copy = Path(folder) / path.name
            copy.write_bytes(path.read_bytes())
            done = subprocess.run(
                [sys.executable, "-c", CHILD, str(copy)],
                cwd=ROOT,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            runs.append({"notebook": path.stem, **json.loads(done.stdout.splitlines()[-1])})
    return {"seeds": [0], "runs": runs}


def judge(result: dict) -> list[Goal]:
    runs = result["runs"]
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
            f"{len(runs)} of {len(runs)}",
            f"{len(cut)} of {len(runs)}",
            len(cut) == len(runs),
        ),
    ]
