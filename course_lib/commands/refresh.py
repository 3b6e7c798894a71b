"""`python -m course_lib refresh [NAMES]`: run notebooks again, store outputs and measurements.

Each notebook runs from top to bottom in a fresh kernel on one core. Its run time and the peak
resident memory of its kernel go to `benchmarks/measured.json`, and from there into the README's
table and into the first cell of each notebook, between `<!-- measured -->` markers.
"""

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from course_lib.commands.bootstrap import ROOT, SetupError

NOTEBOOKS = ROOT / "notebooks"
MEASURED = ROOT / "benchmarks" / "measured.json"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
MINE = ".mine-"  # in the names of the files that `restore` moves aside: no lessons


def lessons() -> list[Path]:
    """The notebooks of the course, in order."""
    return [path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")) if MINE not in path.name]


def parse(argv: Sequence[str]) -> list[Path]:
    """Return the notebooks named (`2`, `02` or `02_dqn`), all of them without names."""
    known = lessons()
    chosen = []
    for name in argv:
        stem = re.sub(r"^\d$", r"0\g<0>", Path(name).stem)
        found = [path for path in known if stem and path.stem.startswith(stem)]
        if not found:
            names = ", ".join(path.stem for path in known)
            raise SetupError(f"There is no notebook `{name}`; there are: {names}.")
        chosen += found
    return chosen or known


def main(argv: Sequence[str]) -> int:
    """Run notebooks and store what they show; 1 if a cell of one raises an error."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    measured = read_measured()
    for path in parse(argv):
        try:
            measured[path.stem] = execute(path)
        except Exception as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return 1
        print(f"{path.name}: {describe(measured[path.stem])}", flush=True)
        MEASURED.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n", "utf-8")
        write_figures(measured)
    return 0


def read_measured() -> dict[str, dict[str, float]]:
    """What each notebook took: {name: {"seconds": ..., "peak_mb": ...}}."""
    return json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}


def execute(path: Path) -> dict[str, float]:
    """Run a notebook in place on one core; return its seconds and its kernel's peak in MB."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)  # the state of the last run
    peak = 0

    def look(**_: object) -> None:
        nonlocal peak
        peak = max(peak, peak_memory(client.km.provisioner.pid))

    client = NotebookClient(
        notebook,
        timeout=1200,
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,  # time stamps would make every run a change
        on_cell_executed=look,
    )
    with _one_core():
        start = time.perf_counter()
        # What somebody solved here is no part of a lesson.
        client.execute(env={**os.environ, "COURSE_PROGRESS": "off"})
        seconds = time.perf_counter() - start
    nbformat.write(notebook, path)
    return {"seconds": round(seconds), "peak_mb": round(peak / 1e6)}


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Keep this process, and the kernels it starts, on one core where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def peak_memory(pid: int) -> int:
    """Largest resident memory of a process so far, in bytes; 0 once it is gone.

    Linux and Windows keep the peak. Elsewhere it is the memory of this moment, so a caller
    that asks after every cell gets the largest of those.
    """
    status = Path(f"/proc/{pid}/status")
    try:
        if status.exists():
            return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
        import psutil

        memory = psutil.Process(pid).memory_info()
    except Exception:  # the kernel ended between two looks
        return 0
    return getattr(memory, "peak_wset", memory.rss)


def describe(one: dict[str, float]) -> str:
    """A notebook's measurement as a phrase."""
    return f"{_duration(one['seconds'])} on one core, {one['peak_mb'] / 1000:.1f} GB of memory"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def write_figures(measured: dict[str, dict[str, float]]) -> None:
    """Put the measurements between the markers of the README and of each notebook."""
    rows = ["| notebook | run time on one core | peak memory |", "|---|---|---|"]
    for name, one in sorted(measured.items()):
        row = f"| {name} | {_duration(one['seconds'])} | {one['peak_mb'] / 1000:.1f} GB |"
        rows.append(row)
        path = NOTEBOOKS / f"{name}.ipynb"
        if path.exists():
            _replace_in_notebook(path, f"Measured: {describe(one)}.")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(between_markers(text, "\n".join(rows)), encoding="utf-8")


def between_markers(text: str, content: str) -> str:
    """Replace what stands between the first pair of markers; unchanged where there is none."""
    pattern = re.compile(f"{BEGIN}.*?{END}", re.DOTALL)
    return pattern.sub(lambda _: f"{BEGIN}\n{content}\n{END}", text, count=1)


def _replace_in_notebook(path: Path, content: str) -> None:
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    first = notebook.cells[0]
    updated = between_markers(first.source, content)
    if updated != first.source:
        first.source = updated
        nbformat.write(notebook, path)
