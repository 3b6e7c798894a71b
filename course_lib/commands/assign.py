"""`python -m course_lib assign LESSONS… --out DIR`: copies of notebooks for students.

Outputs are cleared and every exercise is a stub again. Files that a notebook names, such as weights
and pictures, are copied along. With ``--solutions`` each exercise holds
the library's answer instead: a key that passes all its own checks.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from course_lib.commands.bootstrap import SetupError
from course_lib.commands.refresh import parse as notebooks_named


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command's options."""
    parser = argparse.ArgumentParser(prog="python -m course_lib assign", description=__doc__)
    parser.add_argument("lessons", nargs="*", help="02 or 02_dqn; all without names")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the copies")
    parser.add_argument("--solutions", action="store_true", help="with answers, for instructors")
    options = parser.parse_args(argv)
    options.notebooks = notebooks_named(options.lessons)
    if options.out.exists() and not options.out.is_dir():
        raise SetupError(f"{options.out} is a file; --out names a folder.")
    if options.out.resolve() in {path.parent.resolve() for path in options.notebooks}:
        raise SetupError(f"{options.out} holds the lessons themselves; --out names another folder.")
    return options


def main(argv: Sequence[str]) -> int:
    """Write the copies."""
    import nbformat

    import course_lib.lessons  # noqa: F401, it hands the classroom its exercises
    from course_lib.classroom.assign import (
        files_named,
        solved_copy,
        student_copy,
        unlink,
        unlinked,
    )

    options = parse(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    names = {path.name for path in options.notebooks}
    for path in options.notebooks:
        notebook = nbformat.read(path, as_version=4)
        try:
            copy = (solved_copy if options.solutions else student_copy)(notebook)
        except ValueError as error:
            raise SetupError(f"{path}: {error}") from error
        unlink(copy, names)
        for file in files_named(copy, path.parent):
            target = options.out / file.relative_to(path.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".md":  # such as the glossary, which names every lesson
                target.write_text(unlinked(file.read_text(encoding="utf-8"), names), "utf-8")
            else:
                shutil.copy(file, target)
        nbformat.write(copy, options.out / path.name)
        print(options.out / path.name)
    return 0
