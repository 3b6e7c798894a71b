"""`python -m course_lib restore 02`: a lesson as it was shipped, with your answers in it.

Your file is not lost: it moves to `notebooks/02_dqn.mine-DATE.ipynb`. The answers in your exercise
cells are copied into the fresh lesson; notes, other cells and outputs stay in your file.

`--pull` gets the newest version of the course: your lessons move aside, `git pull` runs, and your
answers are copied into the new lessons. `--from FOLDER` takes a lesson from another copy of the
same version, such as an archive unpacked once more. The standard library is all that it needs.
"""

import argparse
import json
import os
import re
import subprocess
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from course_lib.commands import refresh
from course_lib.commands.bootstrap import ROOT, SetupError, complaint

EXERCISE = re.compile(r"""^[ \t]*@exercise\(\s*["']([\w.]+)["']""", re.MULTILINE)
USAGE = "python -m course_lib restore 02 [--from FOLDER], or restore --pull"

Cell = dict[str, Any]  # of the JSON in an `.ipynb` file


class Moved(NamedTuple):
    """Names of exercises: those whose answers are in the fresh lesson, those it has no cell for."""

    carried: list[str]
    homeless: list[str]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command's options; raise SetupError where it is not clear what to restore."""
    parser = argparse.ArgumentParser(prog="python -m course_lib restore", description=__doc__)
    parser.error = complaint(USAGE)
    parser.add_argument("lessons", nargs="*", help="2, 02 or 02_dqn")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FOLDER", help="another copy of the course"
    )
    parser.add_argument("--pull", action="store_true", help="get the newest version")
    options = parser.parse_args(argv)
    if options.pull and (options.lessons or options.source):
        raise SetupError(f"--pull is for the whole course and stands alone: {USAGE}")
    if not options.pull and not options.lessons:
        raise SetupError(f"Which lesson? {USAGE}")
    if options.source and not (options.source / "notebooks").is_dir():
        raise SetupError(f"--from {options.source} is no copy of the course: no notebooks in it.")
    if options.source and options.source.resolve() == ROOT.resolve():
        raise SetupError("--from names another copy of the course, and this is the same one.")
    options.notebooks = [p for name in options.lessons for p in _named(name, options.source)]
    return options


def _named(name: str, source: Path | None) -> list[Path]:
    """The lessons of this name; one that was deleted can be restored by its whole name."""
    path = refresh.NOTEBOOKS / f"{Path(name).stem}.ipynb"
    if path.exists() or not re.fullmatch(r"\d\d_\w+", path.stem):
        return refresh.parse([name])
    there = (source / "notebooks" / path.name).exists() if source else _committed(path)
    return [path] if there else refresh.parse([name])


def main(argv: Sequence[str]) -> int:
    """Restore the lessons named, or all that were changed around a `git pull`."""
    options = parse(argv)
    if options.pull:
        return pull()
    fresh = {path: shipped(path, options.source) for path in options.notebooks}
    for path, content in fresh.items():
        if path.exists() and same(path.read_bytes(), content):
            print(f"{path.name} is as it was shipped; there is nothing to restore.")
            continue
        base = _committed(path) or content
        mine = move_aside(path, content)
        report(path, mine, carry_over(mine, path, base))
    return 0


def pull() -> int:
    """Move changed lessons aside, run `git pull`, carry answers over; return git's exit status."""
    if _git("rev-parse", "@{upstream}").returncode:
        raise SetupError(
            "There is nothing to pull from: this folder is no git clone of the course. Clone it "
            "into a new folder, and copy your answers from this one."
        )
    before = {path: shipped(path) for path in refresh.lessons()}
    changed = {p: base for p, base in before.items() if not same(p.read_bytes(), base)}
    aside = {path: move_aside(path, base) for path, base in changed.items()}
    done = _git("pull", "--ff-only")
    for path, mine in aside.items():
        if path.exists():
            report(path, mine, carry_over(mine, path, changed[path]))
        else:
            print(f"{path.name} is no part of the new version; your file is {mine.name}.")
    print((done.stdout + done.stderr).decode(errors="replace").strip())
    if done.returncode:
        print("git could not get the new version; your answers are in the old one.")
    return done.returncode


def shipped(path: Path, source: Path | None = None) -> bytes:
    """The lesson as it was shipped: from another copy, or from this one's git history."""
    if source:
        other = source / "notebooks" / path.name
        if not other.exists():
            raise SetupError(f"{source} holds no {path.name}.")
        return other.read_bytes()
    content = _committed(path)
    if content is None:
        raise SetupError(
            f"git knows no shipped {path.name} in this folder. If your course is from an archive, "
            "unpack that once more into another folder and name it: "
            f"python -m course_lib restore {path.stem} --from FOLDER"
        )
    return content


def _committed(path: Path) -> bytes | None:
    """The lesson in the last commit that is not the learner's own; None where git has none."""
    common = _git("merge-base", "HEAD", "@{upstream}")
    commit = "HEAD" if common.returncode else common.stdout.decode().strip()
    done = _git("show", f"{commit}:./{path.relative_to(ROOT).as_posix()}")
    return None if done.returncode else done.stdout


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(arguments, 127, b"", b"git is not installed")


def same(one: bytes, other: bytes) -> bool:
    """Whether two files hold the same notebook; line ends, which git may change, do not count."""
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return one == other


def move_aside(path: Path, fresh: bytes) -> Path | None:
    """Put ``fresh`` in the place of a lesson; return where the old file is, None if there was none.

    The old file is written under its new name first, so that it exists at every moment.
    """
    mine = None
    if path.exists():
        mine = _unused(path)
        with open(mine, "xb") as file:
            file.write(path.read_bytes())
    _write(path, fresh)
    return mine


def _unused(path: Path) -> Path:
    stem = f"{path.stem}{refresh.MINE}{date.today().isoformat()}"
    names = (f"{stem}{f'-{n}' if n > 1 else ''}.ipynb" for n in range(1, 10_000))
    return next(p for name in names if not (p := path.with_name(name)).exists())


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)


def carry_over(mine: Path | None, path: Path, base: bytes) -> Moved:
    """Put into the lesson what ``mine`` has in its exercise cells and ``base`` has not.

    ``base`` is what the learner began with: a stub left as it was must not replace a newer one.
    """
    try:
        answers = _exercises(mine.read_bytes()) if mine else {}
    except (ValueError, KeyError, TypeError):
        print(f"{mine.name} is no notebook that can be read, so no answer was taken from it.")
        answers = {}
    lesson = json.loads(path.read_bytes())
    places, known = _cells(lesson), _exercises(base)
    moved = Moved([], [])
    for names, sources in answers.items():
        written = [None if s in known.get(names, ()) else s for s in sources]
        if not any(written):
            continue
        # From the end: a lesson may show an exercise twice, and the last one is the learner's.
        cells = places.get(names, [])
        for cell, source in zip(reversed(cells), reversed(written), strict=False):
            if source:
                lines = source.splitlines(keepends=True)
                cell.update(source=lines, outputs=[], execution_count=None)
        (moved.carried if cells else moved.homeless).extend(names)
    if moved.carried:
        _write(path, (json.dumps(lesson, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))
    return moved


def _exercises(notebook: bytes) -> dict[tuple[str, ...], list[str]]:
    """The sources of the cells with exercises, by the names of those."""
    found = _cells(json.loads(notebook))
    return {names: ["".join(cell["source"]) for cell in cells] for names, cells in found.items()}


def _cells(notebook: dict[str, Any]) -> dict[tuple[str, ...], list[Cell]]:
    found: dict[tuple[str, ...], list[Cell]] = {}
    for cell in notebook["cells"]:
        names = tuple(EXERCISE.findall("".join(cell["source"])))
        if names and cell["cell_type"] == "code":
            found.setdefault(names, []).append(cell)
    return found


def report(path: Path, mine: Path | None, moved: Moved) -> None:
    """Say what is where; a copy of the learner's file that equals the lesson again is not kept."""
    if mine and same(mine.read_bytes(), path.read_bytes()):
        mine.unlink()
        print(f"{path.name} holds your answers and nothing else; there is nothing to restore.")
        return
    print(f"{path.name} is as it was shipped" + (f"; your file is {mine.name}." if mine else "."))
    if moved.carried:
        print(f"  Your answers are in it: {', '.join(moved.carried)}. Run their cells again.")
    if moved.homeless:
        print(f"  Only in your file, since it has no place for them: {', '.join(moved.homeless)}.")
    print("  If it is open in JupyterLab: close its tab without saving, and open it again.")
