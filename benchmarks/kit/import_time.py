"""`import course_lib`: its time beyond Python's own start, and that torch stays out.

Each run starts two fresh interpreters in turns, one that imports and one that does nothing. The
difference of the medians is what the import costs.
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

from benchmarks.harness import ROOT, Goal

IMPORT = "import course_lib, sys; sys.exit('torch' in sys.modules)"


def _seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    return time.perf_counter() - start


def measure(quick: bool) -> dict:
    """Fails if torch is imported: the child then exits with status 1."""
    seeds = list(range(10 if quick else 40))
    runs = [
        {"run": i, "import": round(_seconds(IMPORT), 4), "nothing": round(_seconds("pass"), 4)}
        for i in seeds
    ]
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    cost = np.median([r["import"] for r in result["runs"]])
    cost -= np.median([r["nothing"] for r in result["runs"]])
    what = "`import course_lib`, torch not imported"
    return [Goal(what, "< 0.1 s", f"{1000 * max(cost, 0):.1f} ms", bool(cost < 0.1))]
