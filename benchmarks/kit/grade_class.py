"""Grading a class: 100 submissions of lesson 02; killed midway; odd names; hostile ones among them.

Four runs of `python -m course_lib grade` on two cores. The first is timed. The second, into
another folder, is killed (SIGKILL, with all its children) when about half is done, and started
again: it must end with the same tables, byte by byte, and grade nothing twice. In the third the
same work comes as Moodle packs it, from people with odd names, in odd encodings, with copies and
archives beside it: every student must have the points of the first run, in the table to be
imported too. In the fourth, students hand in something hostile, each in another way: the other
rows of the table must not change.
"""

from __future__ import annotations

import contextlib
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import nbformat
import numpy as np

from benchmarks.harness import ROOT, Goal

STUDENTS = 100
WRONG = {  # ways to be wrong, named and unnamed, by exercise
    "epsilon_schedule": (
        "return start + (end - start) * step / decay_steps",
        "return end + (start - end) * min(step / decay_steps, 1.0)",
        "return start * (max(end, 1e-9) / start) ** min(step / decay_steps, 1.0)",
    ),
    "ring_indices": (
        "return written + np.arange(count), min(written + count, capacity)",
        "return (written + np.arange(count)) % capacity, written + count",
        "return np.sort((written + np.arange(count)) % capacity), min(written + count, capacity)",
    ),
    "td_target": (
        "return rewards + gamma * next_q.max(-1).values",
        "return rewards + gamma * (1 - terminated.float()) * next_q.mean(-1)",
        "return rewards.clamp(-1, 1) + gamma * (1 - terminated.float()) * next_q.max(-1).values",
    ),
    "n_step_target": (
        "return sum(gamma**k * r for k, r in enumerate(rewards)), len(rewards), False",
        "return rewards[0], 1, bool(terminated[0])",
        "raise ValueError('I do not know')",
    ),
    "double_dqn_target": (
        "return rewards + gamma * (1 - terminated.float()) * next_q_target.max(-1).values",
        "return rewards + gamma * (1 - terminated.float()) * next_q_online.max(-1).values",
        "return rewards + gamma * torch.min(next_q_online, next_q_target).max(-1).values",
    ),
}


def measure(quick: bool) -> dict:
    """Grade the class four times in a scratch folder."""
    students = 12 if quick else STUDENTS
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        write_class(top / "class", students)
        start = time.monotonic()
        run(top / "class", top / "first")
        seconds = time.monotonic() - start
        killed = kill_and_resume(top, students // 2)
        odd = with_odd_names(top, students)
        hostile = with_hostile(top, students)
        first = table(top / "first")
    counts = [row["passed"] for row in first.values()]
    return {
        "seeds": [0],
        "students": students,
        "cores": 2,
        "wall_s": round(seconds, 1),
        "passed": {n: counts.count(n) for n in sorted(set(counts))},
        "killed": killed,
        "odd": odd,
        "hostile": hostile,
        "runs": [{"student": name, "passed": row["passed"]} for name, row in first.items()],
    }


def write_class(folder: Path, students: int) -> None:
    """Student i's notebook: each exercise solved, wrong in one of three ways, or untouched."""
    made = folder.parent / "made"
    command("assign", "02", "--out", made / "stubs")
    command("assign", "02", "--solutions", "--out", made / "key")
    stubs, key = (nbformat.read(made / kind / "02_dqn.ipynb", 4) for kind in ("stubs", "key"))
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(students):
        notebook = nbformat.from_dict(stubs)
        for cell, solved in zip(notebook.cells, key.cells, strict=True):
            if '@exercise("dqn.' not in cell.source:
                continue
            exercise = cell.source.split('@exercise("dqn.')[1].split('"')[0]
            answer = rng.choice(["solved", "wrong", "untouched"], p=[0.6, 0.3, 0.1])
            if answer == "solved":
                cell.source = solved.source
            elif answer == "wrong":
                head = cell.source.split('    """')[0]
                cell.source = f"{head}    {rng.choice(WRONG[exercise])}\n"
        nbformat.write(notebook, folder / f"student{i:03d}_02_dqn.ipynb")


def kill_and_resume(top: Path, half: int) -> dict:
    """Kill a run when ``half`` of it is on disk, resume it, and compare."""
    out = top / "second"
    child = start_grading(top / "class", out)
    while len(done(out)) < half and child.poll() is None:
        time.sleep(0.1)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    before = done(out)
    run(top / "class", out)
    after = done(out)
    tables = [
        [(top / run / f"{name}.csv").read_bytes() for name in ("grades", "details")]
        for run in ("first", "second")
    ]
    return {
        "graded_before": len(before),
        "graded_twice": sum(after[name] != changed for name, changed in before.items()),
        "same_tables": tables[0] == tables[1],
    }


ODD_NAMES = (
    *("Alex Smith", "Zoe\u0308 Müller", "Zoë Müller", 'O\'Brien; "Ö"', "名前", "=1+1", "Ada, Lady"),
    *("x" * 120, "Jean-Luc  de la Tour", "😀 Grin", "CON", "a.b_c 02_dqn", "../up", "Straße", "ﬁ"),
)


def with_odd_names(top: Path, students: int) -> dict:
    """The class as Moodle's archive, odd in every way; who lost a row or a point by that."""
    stub = (top / "made" / "stubs" / "02_dqn.ipynb").read_bytes()
    rows = ["Identifier;Full name;Grade"]
    with zipfile.ZipFile(top / "odd.zip", "w") as archive:
        for i in range(students):
            data = (top / "class" / f"student{i:03d}_02_dqn.ipynb").read_bytes()
            name = ODD_NAMES[i % len(ODD_NAMES)].replace("/", "_")
            folder = f"{name}_{1000 + i}_assignsubmission_file"
            files = [
                {"02_dqn.ipynb": data, "notes.zip": b"PK"},
                {"02_dqn.IPYNB": data, "__MACOSX/._02_dqn.ipynb": b"\0"},
                {"02_dqn.ipynb": stub, "02_dqn (1).ipynb": data},
                {"02_dqn-9.ipynb": stub, "02_dqn-10.ipynb": data, "plot.png": b""},
                {"mine ü.ipynb": b"\xef\xbb\xbf" + data},
                {"02_dqn.ipynb": data.decode().encode("utf-16")},
            ][i % 6]
            for file, content in files.items():
                archive.writestr(f"{folder}/{file}", content)
            rows.append(f'Participant {1000 + i};"{name.replace(chr(34), 2 * chr(34))}";')
    (top / "roster.csv").write_text("\n".join(rows), encoding="utf-8")
    to_fill = ("--roster", top / "roster.csv", "--match", "Identifier", "--column", "Grade")
    run(top / "odd.zip", top / "odd", *to_fill)
    with open(top / "odd" / "filled_roster.csv", encoding="utf-8", newline="") as file:
        filled = {row["Identifier"]: row["Grade"] for row in csv.DictReader(file, delimiter=";")}
    first = table(top / "first")
    points = [100 * int(row["passed"]) / int(row["of"]) for _, row in sorted(first.items())]
    found = [filled.get(f"Participant {1000 + i}") or "nan" for i in range(students)]
    wrong = [i for i in range(students) if float(found[i]) != round(points[i], 2)]
    return {"rows": len(table(top / "odd")), "other_points": wrong}


def with_hostile(top: Path, students: int) -> dict:
    """Every other student attacks, each in another way; the rest must not notice."""
    from tests.classroom.hostile import hostile

    outside, others = top / "outside", top / "class" / "student001_02_dqn.ipynb"
    outside.mkdir(mode=0o777)
    attacks = list(hostile(outside, others).items())
    chosen = dict(zip(range(0, students, 2), attacks, strict=False))
    for i, (_, data) in chosen.items():
        (top / "class" / f"student{i:03d}_02_dqn.ipynb").write_bytes(data)
    run(top / "class", top / "third")
    first, third = table(top / "first"), table(top / "third")
    attackers = {f"student{i:03d}" for i in chosen}
    calm = [name for name in first if name not in attackers]
    shared = next(iter(first.values())).keys() - {"passed", "of"}
    wrong = {name for name in calm if any(first[name][k] != third[name][k] for k in shared)}
    paid = {
        kind: third.get(f"student{i:03d}", {}).get("start_here.success_rate", "")
        for i, (kind, _) in chosen.items()
    }
    return {
        "kinds": len(chosen),
        "others": len(calm),
        "others_changed": sorted(wrong),
        "passed_by_attack": sorted(kind for kind, status in paid.items() if status == "passed"),
        "written_outside": sorted(path.name for path in outside.iterdir()),
    }


def command(*words: object) -> None:
    """A command of the kit, quietly."""
    subprocess.run(
        [sys.executable, "-m", "course_lib", *map(str, words)],
        **{"cwd": ROOT, "check": True, "capture_output": True},
    )


def run(submissions: Path, out: Path, *options: object) -> None:
    """Grade on two cores to the end."""
    command("grade", submissions, "--out", out, "--jobs", 2, *options)


def start_grading(submissions: Path, out: Path) -> subprocess.Popen:
    """The same in a process group of its own, to be killed."""
    return subprocess.Popen(
        [sys.executable, "-m", "course_lib", "grade", submissions, "--out", out, "--jobs", "2"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def done(out: Path) -> dict[str, int]:
    """Finished submissions, and when each was written."""
    with contextlib.suppress(FileNotFoundError):
        return {path.name: path.stat().st_mtime_ns for path in (out / "state").glob("*.json")}
    return {}


def table(out: Path) -> dict[str, dict[str, str]]:
    """The rows of grades.csv by student."""
    with open(out / "grades.csv", encoding="utf-8-sig", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def judge(result: dict) -> list[Goal]:
    """The promises about a class on the day of the deadline."""
    n, killed, hostile = result["students"], result["killed"], result["hostile"]
    odd = result["odd"]
    changed, passed = len(hostile["others_changed"]), hostile["passed_by_attack"]
    outside = hostile["written_outside"]
    return [
        Goal(
            f"grading {n} submissions of lesson 02, two cores",
            "at most 5 minutes",
            f"{result['wall_s'] / 60:.1f} minutes",
            result["wall_s"] <= 300,
        ),
        Goal(
            "grading killed midway and started again",
            "the tables of an undisturbed run, nothing graded twice",
            f"killed after {killed['graded_before']} of {n}; graded twice "
            f"{killed['graded_twice']}; tables the same: {killed['same_tables']}",
            killed["same_tables"] and killed["graded_twice"] == 0 and killed["graded_before"] > 0,
        ),
        Goal(
            f"{n} students with odd names, encodings, copies and archives",
            "every one in the table, with the points of a plain submission",
            f"{odd['rows']} rows, {len(odd['other_points'])} with other points",
            odd["rows"] == n and not odd["other_points"],
        ),
        Goal(
            f"{hostile['kinds']} kinds of hostile submissions among {n}",
            "no other grade changes, nothing is written outside, no attack passes",
            f"{changed} of {hostile['others']} others changed, {len(outside)} files outside, "
            f"{len(passed)} attacks passed",
            not changed and not outside and not passed,
        ),
    ]
