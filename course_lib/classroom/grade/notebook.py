"""A submitted notebook as text: which exercises it holds, and the code that each of them needs.

Nothing is executed here. An exercise is a function under `@exercise("lesson.name")`; `program`
picks what it needs from the rest of the notebook.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from course_lib.classroom import stub
from course_lib.classroom.grade.program import (
    BEGIN,
    OWN,
    Statement,
    givers_of,
    outside_functions,
    program,
    statements_of,
)
from course_lib.classroom.grade.source import exercise_name, python
from course_lib.classroom.grade.wider import touchers_of

LARGEST = 50_000_000  # bytes; a notebook with its figures has a few million
VALUES = 3_000_000  # lists, objects and commas in it; each takes memory
CODE = 500_000  # characters in its code cells; a lesson has 30 thousand
MOST = 100  # exercises; a lesson has five
DECORATOR = re.compile(r"@exercise\(\s*[\"']([\w.]+)[\"']")
OTHER = re.compile(r"@_exercise_\(")
CALL = re.compile(r"\bexercise\(\s*[\"']([\w.]+)[\"']\s*\)\s*\(")


NO_DECORATOR = "It has to stand above a function, as the line @exercise({!r}), to be graded."


class UnreadableNotebook(ValueError):
    """The file is no notebook; the message is a sentence for the student."""


@dataclass(frozen=True)
class Found:
    """An exercise in a notebook: the code to run, or why there is none."""

    name: str  # lesson.exercise
    program: str = ""  # Python
    wider: str = ""  # a longer one, for an answer that fails with the first
    function: str = ""  # the name of the student's function in it
    untouched: bool = False  # nothing stands where the answer should
    unfinished: bool = False  # a `...` is left somewhere: wrong means that it is not done yet
    problem: str | None = None  # a sentence


def read(data: bytes) -> dict[str, Found]:
    """The exercises of a notebook, by name. The last of several cells with one name counts."""
    statements: list[Statement] = []
    found: dict[str, Found] = {}
    names = {"exercise"}  # and what the notebook imports it as
    texts: dict[str, str] = {}
    for cell, source in enumerate(code_cells(data)):
        for name in CALL.findall(source):
            found[name] = Found(name, problem=NO_DECORATOR.format(name))
        try:
            statements += statements_of(python(source), names, texts, cell)
        except Exception as error:  # whatever a stranger's text does to two parsers
            line = getattr(error, "lineno", None)
            where = f", line {line} of its cell" if line else ""
            sentence = f"The cell is not valid Python{where}: {_first_line(error)}."
            for name in DECORATOR.findall(source):
                found[name] = Found(name, problem=sentence)
    answers: dict[str, list] = {}
    for place, statement in enumerate(statements):
        for node in outside_functions(statement.node):
            if name := exercise_name(node, names):
                answers.setdefault(name, []).append((place, node))
    if len(answers) > MOST:
        raise UnreadableNotebook(
            f"It holds {len(answers)} functions under @exercise, more than the {MOST} "
            "that are read."
        )
    givers, touchers = givers_of(statements), touchers_of(statements)
    for name, all_of_it in answers.items():
        tried = _that_may_count(all_of_it, statements)
        places, nodes = [place for place, _ in tried], [node for _, node in tried]
        text = program(places, statements, givers)
        wider = program(places, statements, touchers, OWN)
        again = wider.replace(OWN, BEGIN, 1) != text or len(OTHER.findall(text)) > len(tried)
        # another decorator may do the work
        untouched = all(stub.is_placeholder(n) and len(n.decorator_list) == 1 for n in nodes)
        if untouched and name in found:
            continue  # what it is called with elsewhere cannot be graded, and that is said
        states = untouched, any(map(stub.has_placeholder, nodes))
        found[name] = Found(name, text, wider if again else "", nodes[-1].name, *states)
    return found


def _that_may_count(answers: list, statements: list[Statement]) -> list:
    """The last answer; under an `if` or in a `try` it may never run: then those before it, too."""
    tried = []
    for place, node in reversed(answers):
        tried.insert(0, (place, node))
        if statements[place].node is node:
            break
    return tried


def code_cells(data: bytes) -> list[str]:
    """The sources of a notebook's code cells; raises `UnreadableNotebook`."""
    if len(data) > LARGEST:
        raise UnreadableNotebook(too_large())
    if (values := sum(map(data.count, (b"[", b"{", b",")))) > VALUES:
        raise UnreadableNotebook(
            f"The file holds {values} lists and values, more than the {VALUES} that are read. "
            "Clear the outputs and save it again."
        )
    try:
        cells = json.loads(data).get("cells")
        if cells is None:
            raise ValueError("it has no cells")
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        detail = _first_line(error) or type(error).__name__
        raise UnreadableNotebook(f"The file is no Jupyter notebook: {detail}.") from error
    if (size := sum(map(len, code))) > CODE:
        raise UnreadableNotebook(
            f"Its code cells hold {size} characters, more than the {CODE} that are read. "
            "Write data into a file, not into a cell."
        )
    return code


def too_large() -> str:
    """The sentence about a file of more than `LARGEST` bytes."""
    return (
        f"The file is larger than {LARGEST // 1_000_000} MB, the most that is read. "
        "Clear the outputs and save it again."
    )


def _first_line(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return (text or "").strip().split("\n")[0][:200].rstrip(".")
