"""Where submissions lie: a folder or a zip file, in nbgrader's, a learning system's or any layout.

The student is the first folder below the top (``STUDENT/02_dqn.ipynb``, nbgrader's
``submitted/STUDENT/dqn/02_dqn.ipynb``, Moodle's ``Ada Lovelace_4711_assignsubmission_file/…``);
of a file that lies at the top, what stands before the lesson's name (``ada_02_dqn.ipynb``,
Canvas's ``lovelaceada_4711_815_02_dqn.ipynb``). A student of whom no notebook was found is there
with what was found instead.
"""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from course_lib.classroom.grade.notebook import LARGEST, UnreadableNotebook, too_large

ASIDE = {"__MACOSX", ".ipynb_checkpoints"}  # made by systems, not by people
NBGRADER = {"autograded", "feedback", "release", "source"}  # beside its folder `submitted`
MOST = 20  # notebooks of one student that are graded
# The last name of a lesson in a file's name, such as "02_dqn", and what was added to a copy of it.
# Nothing else that looks like one: "group_01_alpha_02_dqn" is of the group "group_01_alpha".
_NOTEBOOKS = Path(__file__).parents[3] / "notebooks"
_LESSONS = "|".join(sorted(path.stem for path in _NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")))
LESSON = re.compile(
    rf"(?P<name>.*?)[_ -]*(?<!\d)(?P<lesson>{_LESSONS})(?![a-z0-9])(?!.*(?:{_LESSONS}))",
    re.IGNORECASE,
)
MOODLE = re.compile(r"(?P<name>.*?)_(?P<number>\d+)_assignsubmission_")
# the name, the student's number, the file's; anything after that was written by the student
CANVAS = re.compile(
    r"(?P<name>[^_]+)_(?:LATE_)?(?P<number>\d+)_(?:(?P<file>\d{3,})_|text\.html)", re.IGNORECASE
)
ARCHIVES = (".zip", ".7z", ".rar", ".gz", ".tar", ".tgz", ".bz2", ".xz")
DOCUMENTS = (".pdf", ".html", ".htm", ".txt", ".md", ".docx", ".doc", ".odt", ".rtf", ".py")


@dataclass(frozen=True)
class Submission:
    """One notebook of one student, or another file where there is none."""

    student: str
    path: str  # inside the folder or the zip file
    top: Path  # the folder or the zip file
    number: str = ""  # the student's in the learning system
    refused: str = ""  # why it is not graded, as a sentence

    def data(self) -> bytes:
        """The file's content; raises `UnreadableNotebook` where there is none to grade."""
        if self.refused:
            raise UnreadableNotebook(self.refused)
        if (self.top / self.path).is_symlink():
            raise UnreadableNotebook("It is a link to another file: hand in the file itself.")
        if not _is_notebook(self.path):
            kind = PurePosixPath(self.path).suffix or "file without an ending"
            raise UnreadableNotebook(f"It is no notebook but a {kind}: only .ipynb is graded.")
        try:
            if self.top.is_dir():
                _refuse_large((self.top / self.path).stat().st_size)
                with open(self.top / self.path, "rb") as file:
                    return file.read(LARGEST + 1)
            with zipfile.ZipFile(self.top) as archive:
                _refuse_large(archive.getinfo(self.path).file_size)
                with archive.open(self.path) as file:
                    return file.read(LARGEST + 1)  # whatever size the archive claims
        except UnreadableNotebook:
            raise
        except Exception as error:  # a damaged archive fails in many ways
            detail = getattr(error, "strerror", None) or error
            raise UnreadableNotebook(f"The file cannot be read: {detail}.") from error


def find(top: Path) -> list[Submission]:
    """All notebooks below ``top`` and what students without one sent, by student and attempt."""
    if top.is_dir():
        paths = _files(top)
    elif zipfile.is_zipfile(top):
        paths = _members(top)
    else:
        raise FileNotFoundError(f"{top} is neither a folder nor a zip file.")
    return sorted(_named(top, paths), key=lambda each: (each.student, _attempt(each.path)))


def _files(top: Path) -> dict[str, str]:
    """The regular files below a folder, and links to files, which are not followed.

    A link to a folder is followed at the top, where whoever collects may have put it, unless it
    leads to another student's folder there. Raises
    FileNotFoundError where a folder cannot be read: its student would be lost.
    """

    def refuse(error: OSError) -> None:
        raise FileNotFoundError(f"The folder {error.filename} cannot be read: {error.strerror}.")

    links = [
        path
        for path in top.iterdir()
        if path.is_symlink() and path.is_dir() and top.resolve() not in path.resolve().parents
    ]
    names = {}
    for folder, _, inside in itertools.chain(*(os.walk(f, onerror=refuse) for f in (top, *links))):
        for path in (Path(folder, name) for name in inside):
            if path.is_file() or path.is_symlink():
                plain = path.relative_to(top).as_posix()
                data = os.fsencode(plain)
                names[plain] = _decoded(data, data.decode("latin-1"))
    return names


def _members(top: Path) -> dict[str, str]:
    """The files in an archive, with their names as they were before it was packed."""
    names = {}
    try:
        with zipfile.ZipFile(top) as archive:
            for each in archive.infolist():
                plain = each.filename
                if not each.flag_bits & 0x800:  # "in UTF-8", which macOS does not say
                    plain = _decoded(plain.encode("cp437", "replace"), plain)
                if not each.is_dir():
                    names[each.filename] = plain.replace("\\", "/")  # as Windows may pack it
    except (zipfile.BadZipFile, UnicodeError, OSError) as error:
        raise FileNotFoundError(f"The zip file {top} cannot be read: {error}.") from error
    return names


def _decoded(data: bytes, otherwise: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return otherwise


def _named(top: Path, paths: dict[str, str]) -> list[Submission]:
    """The files to grade or to report, with their students."""
    parts = {path: p for path, name in paths.items() if (p := _parts(name))}
    notebooks = [p for path, p in parts.items() if _is_notebook(path)]
    wrapper = "submitted" if top.name != "submitted" else ""
    if not any(p[0] == wrapper for p in parts.values()):
        wrapper = _wrapper(notebooks or list(parts.values())) if wrapper else ""
    owners, shown, canvas = {}, {}, _is_canvas(parts.values())
    for path, names in sorted(parts.items(), key=lambda item: _attempt(item[0])):
        if wrapper == "submitted" and names[0] in NBGRADER:
            continue
        names = names[1:] if len(names) > 1 and names[0] == wrapper else names
        if len(names) > 1 or _is_notebook(path) or _is_work(names[0], notebooks):
            name, number, show = _student(names, canvas)
            owners[path] = name, number
            shown.setdefault(owners[path], show)
    several = Counter(shown.values())
    sent = Counter(owner for path, owner in owners.items() if _is_notebook(path))
    graded, found = set(sent), []
    for path, owner in owners.items():
        if _is_notebook(path) or owner not in graded or _holds_notebook(path):
            if not (_is_notebook(path) or _holds_notebook(path)):
                graded.add(owner)  # one of the other files is enough
            show, number = shown[owner], owner[1]
            show = f"{show} ({number})" if number and several[show] > 1 else show
            refused = ""
            if _is_notebook(path):
                sent[owner] -= 1
                if sent[owner] >= MOST:
                    refused = f"More than {MOST} notebooks: only the last {MOST} are graded."
            found.append(Submission(show, path, top, number, refused))
    return found


def _parts(name: str) -> tuple[str, ...]:
    """The folders and the file of a path; nothing for what a system has put there."""
    parts = PurePosixPath(name).parts
    hidden = parts and parts[-1].startswith(".")
    hidden = hidden and (parts[-1].startswith("._") or not _is_notebook(name))
    return () if hidden or ASIDE & set(parts) or ".." in parts else parts


def _wrapper(parts: list[tuple[str, ...]]) -> str:
    """The only folder at the top, where it holds the work of several and is no student's."""
    folders = {p[0] for p in parts if len(p) > 1}
    if len(folders) != 1 or MOODLE.match(next(iter(folders))):
        return ""
    inside = {p[1]: len(p) > 2 for p in parts if len(p) > 1}
    theirs = [name for name, is_folder in inside.items() if _names_somebody(name, is_folder)]
    return folders.pop() if len(theirs) > 1 and 2 * len(theirs) > len(inside) else ""


def _names_somebody(name: str, is_folder: bool) -> bool:
    """Whether a folder or file is called after a student, not after a lesson."""
    if MOODLE.match(name) or CANVAS.match(name):
        return True
    lesson = LESSON.match(name)
    return bool(lesson["name"]) if lesson else is_folder


def doubtful(found: Sequence[Submission]) -> list[str]:
    """Sentences about students whose notebooks may be those of several."""
    held, called = defaultdict(list), defaultdict(dict)
    for each in found:
        path = PurePosixPath(each.path)
        if not _is_notebook(each.path):
            continue
        lesson = LESSON.match(path.stem)
        if lesson:
            held[each.student, lesson["lesson"], len(path.parts)].append(path)
        called[each.student, path.parent][lesson["name"] if lesson else path.stem] = path
    sentences = [
        f"{student} has {len(paths)} notebooks of {lesson}, such as {paths[0]} and {paths[-1]}: "
        "the last answers count. If they are of different students, grade each folder alone."
        for (student, lesson, _), paths in held.items()
        if len({path.parent for path in paths}) > 1
    ]
    return sentences + [
        f"{student} has notebooks of {len(paths)} names in one folder, such as "
        f"{' and '.join(map(str, list(paths.values())[:2]))}: the last answers count. If they are "
        "of different students, put each into a folder of its own."
        for (student, _), paths in called.items()
        if len(paths) > 2
    ]


def _is_canvas(parts: Collection[tuple[str, ...]]) -> bool:
    """Whether files in Canvas's form are of several students: `lab_1_4711_dqn` is not."""
    matches = list(filter(None, (CANVAS.match(p[-1]) for p in parts)))
    return len(matches) < 2 or len({(m["name"], m["number"]) for m in matches}) > 1


def _student(names: tuple[str, ...], canvas: bool) -> tuple[str, str, str]:
    """A student's name, number in the learning system if there is one, and name in the tables."""
    first = unicodedata.normalize("NFC", names[0])
    if match := MOODLE.match(first):
        return match["name"], match["number"], match["name"]
    if len(names) > 1:
        return first, "", first
    if canvas and (match := CANVAS.match(first)):
        show = "_".join(filter(None, (match["name"], match["number"], match["file"])))
        return match["name"], match["number"], show
    stem = re.sub(r"\.ipynb.*$|\.[^.]*$", "", first, flags=re.IGNORECASE)
    lesson = LESSON.match(stem)
    name = lesson["name"] if lesson and lesson["name"] else stem
    return name, "", name


def _is_notebook(path: str) -> bool:
    return path.lower().endswith(".ipynb")


def _holds_notebook(path: str) -> bool:
    """A notebook under another ending, or an archive that may hold one."""
    return ".ipynb" in path.lower() or path.lower().endswith(ARCHIVES)


def _is_work(name: str, notebooks: list[tuple[str, ...]]) -> bool:
    """A file at the top that is no notebook: a student's, or one of whoever collected them?"""
    stem = PurePosixPath(name).stem
    if MOODLE.match(name) or CANVAS.match(name) or LESSON.match(stem) or _holds_notebook(name):
        return True
    flat = any(len(p) == 1 for p in notebooks)
    return flat and name.lower().endswith(DOCUMENTS) and stem.lower() != "readme"


def _attempt(path: str) -> tuple[int, list]:
    """Orders a student's files: deeper ones first, then by name, with numbers as numbers."""
    stem = re.sub(r"\.[^./]*$", "", path)
    pieces = re.split(r"([0-9]+)", stem)
    numbers = [piece.lstrip("0") for piece in pieces[1::2]]
    pieces[1::2] = [(len(number), number) for number in numbers]
    return -path.count("/"), pieces


def _refuse_large(size: int) -> None:
    if size > LARGEST:
        raise UnreadableNotebook(too_large())
