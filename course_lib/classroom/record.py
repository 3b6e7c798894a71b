"""What was solved, kept in one readable file beside the notebooks, so that it outlives the kernel.

Only the kernel of a notebook reads and writes it: tests, grading and scripts do not. Nothing needs
the file, and nothing is written before something is solved. What cannot be kept costs a sentence.
"""

from __future__ import annotations

import datetime
import json
import os
import time
from pathlib import Path

from course_lib.classroom.front_end import in_notebook

FILE = "course_progress.json"
ABOUT = "What you solved in this course, and when. Delete this file to begin again."
OFF = "COURSE_PROGRESS"  # an environment variable; "off" while notebooks are executed to be stored
GIVEN = {"start_here.success_rate"}  # the notebook itself shows the answer: no reason for a file

# Where the notebook lies: a kernel starts there, and imports this before it can go elsewhere.
try:
    _folder = Path.cwd()
except OSError:  # somebody removed it
    _folder = Path(os.curdir)
_mine: dict[str, str] = {}  # what this kernel saw solved: name -> day
_told: set[str] = set()  # sentences that were said


def solved() -> dict[str, str]:
    """Name of an exercise or key of a quiz -> the day on which it was first solved."""
    if not _in_use():
        return {}
    try:
        kept = _entries(_read())
    except (OSError, ValueError):  # said when there is something to keep
        kept = {}
    known = {**_mine, **kept}
    return {} if known.keys() <= GIVEN else known


def keep(name: str) -> str:
    """Add ``name`` to the file; return what the learner should know, mostly nothing."""
    if not _in_use():
        return ""
    _mine.setdefault(name, datetime.date.today().isoformat())
    try:
        if _mine.keys() <= GIVEN and not (_folder / FILE).exists():
            return ""
        return _once(_merge())
    except OSError as error:
        why = error.strerror or type(error).__name__
        return _once(
            f"What you solve is remembered only until the kernel ends: `{FILE}`, beside the "
            f"notebook, cannot be written ({why})."
        )


def folder() -> Path:
    """The folder of the notebook."""
    return _folder


def _in_use() -> bool:
    return in_notebook() and os.environ.get(OFF) != "off"


def _once(sentence: str) -> str:
    if sentence in _told:
        return ""
    _told.add(sentence)
    return sentence


def _read() -> dict:
    """What the file holds, nothing where there is none; ValueError where that is no record."""
    try:
        text = (_folder / FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        data = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(data, dict) or not isinstance(data.get("solved"), dict):
        raise ValueError("no record of what was solved")
    return data


def _entries(data: dict) -> dict[str, str]:
    return {name: day for name, day in data.get("solved", {}).items() if isinstance(day, str)}


def _merge() -> str:
    """Bring what this kernel saw into the file; return a sentence where that was not all.

    Other notebooks write to it too: each looks again until its own entries are there.
    """
    sentence = ""
    for _ in range(5):
        try:
            data = _read()
        except ValueError:
            aside = _set_aside()
            sentence = f"`{FILE}` could not be read. It is now `{aside}`, and a new one is begun."
            data = {}
        missing = {name: day for name, day in _mine.items() if name not in _entries(data)}
        if not missing:
            break
        entries = {**data.get("solved", {}), **missing}
        _write({"about": ABOUT, **data, "solved": dict(sorted(entries.items()))})
    return sentence


def _set_aside() -> str:
    """Rename a file that is no record, so that nothing is lost; return its new name."""
    number = 1
    while (_folder / (name := f"course_progress-unreadable-{number}.json")).exists():
        number += 1
    os.replace(_folder / FILE, _folder / name)
    return name


def _write(data: dict) -> None:
    """Replace the file at once: whoever reads it finds the old or the new one, whole."""
    new = _folder / f"course_progress-{os.getpid()}.tmp"
    try:
        with new.open("w", encoding="utf-8") as out:
            json.dump(data, out, indent=1)
            out.write("\n")
            out.flush()
            os.fsync(out.fileno())
        for last in (False, False, True):
            try:
                os.replace(new, _folder / FILE)
                return
            except PermissionError:  # on Windows, while another notebook reads it
                if last:
                    raise
                time.sleep(0.05)
    finally:
        new.unlink(missing_ok=True)
