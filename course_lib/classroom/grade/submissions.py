"""Where submissions lie: a folder or a zip file, in nbgrader's, a learning system's or any layout.

The student is the first folder below the top (``STUDENT/02_dqn.ipynb``, nbgrader's
``submitted/STUDENT/dqn/02_dqn.ipynb``, Moodle's ``Ada Lovelace_4711_assignsubmission_file/…``);
of a file that lies at the top, what stands before the lesson's name (``ada_02_dqn.ipynb``,
Canvas's ``lovelaceada_4711_815_02_dqn.ipynb``).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from course_lib.classroom.grade.notebook import LARGEST, UnreadableNotebook

SKIPPED = {"__MACOSX", ".ipynb_checkpoints", "autograded", "feedback", "release", "source"}
# "02_dqn" and what a browser or a learning system appends to a second copy, "-1" or " (1)". A name
# that ends in digits keeps them: "student07_02_dqn" is the student "student07".
LESSON = re.compile(r"[_ -]?(?<!\d)\d\d_[a-z][a-z0-9_]*(-\d+| \(\d+\))?$")


@dataclass(frozen=True)
class Submission:
    """One notebook of one student."""

    student: str
    path: str  # inside the folder or the zip file
    top: Path  # the folder or the zip file

    def data(self) -> bytes:
        """The file's content; raises `UnreadableNotebook` where it is too large or damaged."""
        try:
            if self.top.is_dir():
                with open(self.top / self.path, "rb") as file:
                    return file.read(LARGEST + 1)
            with zipfile.ZipFile(self.top) as archive, archive.open(self.path) as file:
                return file.read(LARGEST + 1)  # whatever size the archive claims
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise UnreadableNotebook(f"The file cannot be read: {error}.") from error


def find(top: Path) -> list[Submission]:
    """All notebooks below ``top``, by student and path."""
    if top.is_dir():
        paths = [p.relative_to(top).as_posix() for p in top.rglob("*.ipynb") if _inside(p, top)]
    elif zipfile.is_zipfile(top):
        with zipfile.ZipFile(top) as archive:
            paths = [name for name in archive.namelist() if name.endswith(".ipynb")]
    else:
        raise FileNotFoundError(f"{top} is neither a folder nor a zip file.")
    return sorted(_named(top, paths), key=lambda submission: (submission.student, submission.path))


def _named(top: Path, paths: list[str]) -> Iterator[Submission]:
    parts = {path: PurePosixPath(path).parts for path in paths}
    parts = {path: p for path, p in parts.items() if not SKIPPED & set(p) and ".." not in p}
    # A single folder that holds everything is no student, unless it holds a folder per lesson.
    wrapped = (
        top.name != "submitted"
        and all(len(p) > 2 and not LESSON.fullmatch(p[1]) for p in parts.values())
        and len({p[0] for p in parts.values()}) == 1
    )
    for path, names in parts.items():
        names = names[1:] if wrapped or names[0] == "submitted" else names
        yield Submission(_student(names), path, top)


def _student(names: tuple[str, ...]) -> str:
    if len(names) > 1:
        return re.sub(r"_\d+_assignsubmission_.*$", "", names[0])
    stem = PurePosixPath(names[0]).stem
    return LESSON.sub("", stem) or stem


def _inside(path: Path, top: Path) -> bool:
    """A link that leads out of the folder is no submission."""
    return path.is_file() and path.resolve().is_relative_to(top.resolve())
