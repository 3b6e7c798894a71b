"""What every benchmark shares: goals, a clock, the record of versions and machine, result files."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

SHARE = (0.0, 1.0)  # between which a share lies
ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
VERSIONED = (
    *("numpy", "torch", "gymnasium", "mujoco", "minatar", "minigrid"),
    *("stable-baselines3", "transformers", "peft", "trl"),
)


@dataclass(frozen=True)
class Goal:
    """One promise: what is measured, what was promised, what came out, and whether it was met."""

    what: str
    goal: str
    measured: str
    met: bool


def at_least(what: str, limit: float, value: float, measured: str = "", form: str = "g") -> Goal:
    """The goal that ``value`` is at least ``limit``; ``measured`` says more than the number."""
    return Goal(what, f">= {limit:{form}}", measured or f"{value:{form}}", bool(value >= limit))


def at_most(what: str, limit: float, value: float, measured: str = "", form: str = "g") -> Goal:
    """The goal that ``value`` is at most ``limit``; ``measured`` says more than the number."""
    return Goal(what, f"<= {limit:{form}}", measured or f"{value:{form}}", bool(value <= limit))


def reported(what: str, measured: str) -> Goal:
    """A number that promises nothing: it is there to be seen."""
    return Goal(what, "reported", measured, True)


def iqm_over_seeds(values: Sequence[float], form: str = ".2f") -> str:
    """The interquartile mean over seeds and its 95 % bootstrap interval: "5.29 [4.82, 6.04]"."""
    from course_lib.evaluation import bootstrap_interval, iqm

    low, high = bootstrap_interval(values, iqm)
    return f"{iqm(values):{form}} [{low:{form}}, {high:{form}}]"


def mean_over_seeds(
    values: Sequence[float], form: str = ".2f", within: tuple[float, float] = (-np.inf, np.inf)
) -> str:
    """``evaluation.over_seeds`` with two decimals."""
    from course_lib.evaluation import over_seeds

    return over_seeds(values, form, within)


def by(runs: Sequence[dict], *keys: str) -> dict:
    """Runs sorted into lists by the value of one key, or by the tuple of several, in order."""
    groups: dict = {}
    for run in runs:
        name = run[keys[0]] if len(keys) == 1 else tuple(run[key] for key in keys)
        groups.setdefault(name, []).append(run)
    return groups


def fresh_seeds(count: int) -> list[int]:
    """Seeds that no setting was chosen on: the recipes were tuned on seeds below 200."""
    return list(range(200, 200 + count))


@dataclass
class Clock:
    """Seconds of wall clock and of this process's CPU time, summed over `with` blocks."""

    wall: float = 0.0
    cpu: float = 0.0

    def __enter__(self) -> Clock:
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *exc: object) -> None:
        self.wall += time.perf_counter() - self._start[0]
        self.cpu += time.process_time() - self._start[1]


def one_thread() -> None:
    """Use one CPU thread everywhere: comparisons on a shared machine mean little otherwise."""
    import torch

    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def run(
    name: str, measure: Callable[[bool], dict], judge: Callable[[dict], list[Goal]], quick: bool
) -> bool:
    """Measure, print goal against measured, store the result unless quick; True if all was met."""
    one_thread()
    with Clock() as clock:
        result = measure(quick)
    goals = judge(result)
    for goal in goals:
        print(f"{'met   ' if goal.met else 'MISSED'}  {goal.what}")
        print(f"        goal {goal.goal} | measured {goal.measured}")
    print(f"{name}: {clock.wall:.0f} s{' (quick: nothing written)' if quick else ''}")
    if not quick:
        record = {"benchmark": name, **provenance(), "seconds": round(clock.wall, 1)}
        record["goals"] = [asdict(goal) for goal in goals]
        path = write(name, record | result)
        update_readme()
        print(
            f"wrote {path.relative_to(ROOT)} and the tables in benchmarks/README.md and README.md"
        )
    return all(goal.met for goal in goals)


def provenance() -> dict[str, Any]:
    """When, with what and on what a result was measured."""
    versions = {"python": platform.python_version()}
    for package in VERSIONED:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "versions": versions,
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, one thread",
    }


def write(name: str, record: dict) -> Path:
    """Store a result, one run per line so that a diff shows which run changed."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    runs = record.pop("runs", [])
    head = json.dumps(record, indent=1, ensure_ascii=False, default=_plain)[:-2]
    lines = ",\n  ".join(json.dumps(run, default=_plain) for run in runs)
    path.write_text(f'{head},\n "runs": [\n  {lines}\n ]\n}}\n', encoding="utf-8")
    return path


def _plain(value: Any) -> Any:
    """NumPy's numbers and booleans as Python's: a long run must not be lost to its last line."""
    return value.item()


def summary() -> str:
    """All committed goals against what was measured, as a Markdown table."""
    return _table(_committed())


def shortfalls() -> str:
    """How many promises are kept, and a table of those that are not."""
    goals = [(n, goal) for n, goal in _committed() if not goal["goal"].startswith("reported")]
    missed = [(name, goal) for name, goal in goals if not goal["met"]]
    line = f"Of {len(goals)} goals {len(goals) - len(missed)} are met."
    return f"{line} These fall short:\n\n{_table(missed)}" if missed else line


def _committed() -> list[tuple[str, dict]]:
    paths = sorted(RESULTS.glob("*.json"))
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    return [(name, goal) for name, result in results.items() for goal in result["goals"]]


def _table(goals: list[tuple[str, dict]]) -> str:
    lines = ["| benchmark | what | goal | measured |", "|---|---|---|---|"]
    for name, goal in goals:
        missed = "" if goal["met"] else " **(missed)**"
        cells = (f"`{name}`", goal["what"], goal["goal"], goal["measured"] + missed)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def update_readme() -> None:
    """Put all goals into benchmarks/README.md and the shortfalls into README.md."""
    for path, text in (
        (ROOT / "benchmarks" / "README.md", summary()),
        (ROOT / "README.md", shortfalls()),
    ):
        head, rest = path.read_text(encoding="utf-8").split("<!-- results -->")
        tail = rest.split("<!-- /results -->")[1]
        path.write_text(
            f"{head}<!-- results -->\n{text}\n<!-- /results -->{tail}", encoding="utf-8"
        )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
