"""How long a lesson takes to study: an estimate by a stated rule, and no measurement of readers.

``python -m benchmarks.kit.study_hours`` prints the table. Nobody was timed; the rule is

- text at 180 words a minute, a displayed formula 1 minute, references not read;
- code at 10 lines a minute, a figure, film or widget 1 minute;
- an exercise 10 minutes, and 1 minute for each line of the library's answer;
- a problem for pen and paper 15 minutes, a question of the quiz 1 minute;
- and the measured run time of the notebook.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import nbformat

from course_lib.commands.refresh import lessons, read_measured

WORDS_A_MINUTE = 180
LINES_A_MINUTE = 10
FORMULA, FIGURE, QUESTION, PAPER = 1, 1, 1, 15  # minutes each
EXERCISE, ANSWER_LINE = 10, 1

DISPLAYED = re.compile(r"\$\$.+?\$\$", re.DOTALL)
ON_PAPER = re.compile(r"(with pen and paper|pen and paper:|\*\*on paper)", re.IGNORECASE)
EXERCISES = re.compile(r"^@exercise\(\"([\w.]+)\"\)", re.MULTILINE)
SHOWN = {"image/png", "image/jpeg", "text/html", "application/vnd.jupyter.widget-view+json"}


def minutes(path: Path) -> dict[str, float]:
    """Minutes for each part of a lesson."""
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    prose = re.sub(r"### Further reading\n.*?(?=\n#+ |\Z)", "", prose, flags=re.DOTALL)
    code = [cell for cell in cells if cell.cell_type == "code"]
    sources = [cell.source for cell in code]
    plain = [s for s in sources if "quiz(" not in s and not EXERCISES.search(s)]
    lines = sum(bool(line.strip()) for source in plain for line in source.splitlines())
    stubs = [source for source in sources if re.search(r"^\s+\.\.\.", source, re.MULTILINE)]
    answers = {name for source in stubs for name in EXERCISES.findall(source)}
    questions = sum(len(re.findall(r"^quiz\(", s, re.MULTILINE)) for s in sources)
    shown = sum(any(SHOWN & {*o.get("data", {})} for o in cell.outputs) for cell in code)
    return {
        "reading": len(DISPLAYED.sub(" ", prose).split()) / WORDS_A_MINUTE
        + FORMULA * len(DISPLAYED.findall(prose))
        + lines / LINES_A_MINUTE
        + FIGURE * shown,
        "exercises": sum(EXERCISE + ANSWER_LINE * answer_lines(name) for name in answers),
        "paper and quiz": PAPER * len(ON_PAPER.findall(prose)) + QUESTION * questions,
        "machine": read_measured().get(path.stem, {}).get("seconds", 0) / 60,
    }


def answer_lines(name: str) -> int:
    """Lines of the library's answer to an exercise, without its signature and docstring."""
    import course_lib.lessons  # noqa: F401, it hands the classroom its exercises
    from course_lib.classroom.exercise import find

    return _body_lines(find(name).reference)


def _body_lines(function: Callable) -> int:
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    definition = ast.parse(source).body[0]
    body = definition.body[1:] if ast.get_docstring(definition) else definition.body
    return sum(len(ast.unparse(statement).splitlines()) for statement in body)


def hours(path: Path) -> float:
    """Hours for a lesson, to the nearest half."""
    return round(sum(minutes(path).values()) / 30) / 2


def table() -> list[str]:
    """A line for each lesson, and their sum."""
    found = {path: minutes(path) for path in lessons()}
    head = f"{'minutes by the rule':28}" + "".join(
        f"{part:>16}" for part in next(iter(found.values()))
    )
    rows = [head + f"{'hours':>8}"]
    for path, parts in found.items():
        cells = "".join(f"{value:16.0f}" for value in parts.values())
        rows.append(f"{path.stem:28}{cells}{sum(parts.values()) / 60:8.1f}")
    total = sum(sum(parts.values()) for parts in found.values()) / 60
    return [*rows, f"{'all lessons':28}{'':64}{total:8.1f}"]


if __name__ == "__main__":
    print("\n".join(table()))
