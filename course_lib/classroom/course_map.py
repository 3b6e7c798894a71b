"""The map of the course: the lessons in a folder, and how much of each is solved.

Lessons, exercises and quizzes are read from the notebooks that lie there, since those are what the
learner has; no lesson is imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

EXERCISE = re.compile(r"""^@exercise\(\s*["'](\w+)\.(\w+)["']""", re.MULTILINE)
QUIZ = re.compile(r"""\bquiz\(\s*["'](\w+)\.(\w+)["']""")


@dataclass
class Lesson:
    """A lesson, the file of its notebook ("" where it is not here), and what it asks."""

    name: str
    title: str
    file: str = ""
    exercises: list[str] = field(default_factory=list)  # whole names
    quizzes: list[str] = field(default_factory=list)  # keys


def course(folder: Path, solved: Collection[str]) -> list[Lesson]:
    """The lessons in a folder, then those of which something is solved that lie elsewhere."""
    lessons = find(folder)
    known = {lesson.name: lesson for lesson in lessons}
    elsewhere: dict[str, Lesson] = {}
    for name in solved:
        lesson, _, short = name.partition(".")
        if lesson not in known:
            there = elsewhere.setdefault(lesson, Lesson(lesson, lesson))
            (there.exercises if short.isidentifier() else there.quizzes).append(name)
    return lessons + list(elsewhere.values())


def find(folder: Path) -> list[Lesson]:
    """The lessons in a folder, in the order of their files. What cannot be read is left out."""
    found: dict[str, Lesson] = {}
    try:
        paths = sorted(folder.glob("*.ipynb"))
    except OSError:
        return []
    for path in paths:
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            sources = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            continue
        code = "\n".join(source for kind, source in sources if kind == "code")
        for pattern, kind in ((EXERCISE, "exercises"), (QUIZ, "quizzes")):
            for name, short in pattern.findall(code):
                lesson = found.setdefault(name, Lesson(name, name))
                if path.name != lesson.file and _fits(path, lesson):
                    lesson.file, lesson.title = path.name, _title(sources, path)
                names = getattr(lesson, kind)
                if f"{name}.{short}" not in names:
                    names.append(f"{name}.{short}")
    return sorted(found.values(), key=lambda lesson: lesson.file)


def _fits(path: Path, lesson: Lesson) -> bool:
    """Whether this is the lesson's own notebook rather than a copy or a sheet for scribbling."""
    before = Path(lesson.file).stem
    own, theirs = path.stem.endswith(lesson.name), before.endswith(lesson.name)
    return not before or (own and not theirs)


def _title(sources: list[tuple[str, str]], path: Path) -> str:
    heading = next((s for kind, s in sources if kind == "markdown" and s.startswith("# ")), "")
    return heading.split("\n")[0].removeprefix("# ").strip() or path.stem
