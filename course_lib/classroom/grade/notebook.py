"""A submitted notebook as text: which exercises it holds, and the code that each of them needs.

Nothing is executed here. An exercise is a function under `@exercise("lesson.name")`. To run it
without the rest of the notebook, which may train for minutes, its program keeps only the top-level
imports, functions, classes and assignments whose names the function uses, directly or through one
another.
"""

from __future__ import annotations

import ast
import json
import re
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from course_lib.classroom import stub

LARGEST = 50_000_000  # bytes; a notebook with its figures has a few million
DECORATOR = re.compile(r"@exercise\(\s*[\"']([\w.]+)[\"']")


class UnreadableNotebook(ValueError):
    """The file is no notebook; the message is a sentence for the student."""


@dataclass(frozen=True)
class Found:
    """An exercise in a notebook: the code to run, or why there is none."""

    name: str  # lesson.exercise
    program: str = ""  # Python
    function: str = ""  # the name of the student's function in it
    untouched: bool = False
    problem: str | None = None  # a sentence


def read(data: bytes) -> dict[str, Found]:
    """The exercises of a notebook, by name. The last of several cells with one name counts."""
    statements: list[ast.stmt] = []
    found: dict[str, Found] = {}
    for source in code_cells(data):
        try:
            statements += ast.parse(_without_magics(source)).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None)
            where = f", line {line} of its cell" if line else ""
            sentence = f"The cell is not valid Python{where}: {_first_line(error)}."
            for name in DECORATOR.findall(source):
                found[name] = Found(name, problem=sentence)
    for statement in statements:
        if isinstance(statement, ast.FunctionDef) and (name := exercise_name(statement)):
            program = _program(statement, statements)
            found[name] = Found(name, program, statement.name, stub.is_placeholder(statement))
    return found


def code_cells(data: bytes) -> list[str]:
    """The sources of a notebook's code cells; raises `UnreadableNotebook`."""
    if len(data) > LARGEST:
        raise UnreadableNotebook(
            f"The file is larger than {LARGEST // 1_000_000} MB, the most that is read. Clear the "
            "outputs and save it again."
        )
    try:
        cells = json.loads(data.decode("utf-8-sig")).get("cells")
        if cells is None:
            raise ValueError("it has no cells")
        code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        return ["".join(source) for source in code]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        detail = _first_line(error) or type(error).__name__
        raise UnreadableNotebook(f"The file is no Jupyter notebook: {detail}.") from error


def exercise_name(definition: ast.FunctionDef) -> str | None:
    """The name in the function's `@exercise("...")`, if it has one."""
    for decorator in definition.decorator_list:
        if (
            isinstance(decorator, ast.Call)
            and getattr(decorator.func, "id", getattr(decorator.func, "attr", "")) == "exercise"
            and decorator.args
            and isinstance(decorator.args[0], ast.Constant)
            and isinstance(decorator.args[0].value, str)
        ):
            return decorator.args[0].value
    return None


def _without_magics(source: str) -> str:
    """IPython's `%magic` and `!command` lines as comments; a `%%cell` magic blanks the cell."""
    if source.lstrip().startswith("%%"):
        return ""
    return re.sub(r"^(\s*)([%!?].*)$", r"\1pass  # \2", source, flags=re.MULTILINE)


def _program(target: ast.FunctionDef, statements: list[ast.stmt]) -> str:
    """The function and all that it needs, in the notebook's order."""
    wanted, kept = global_names([target]), {id(target): target}
    while True:
        needed = [
            (statement, part)
            for statement in statements
            if id(statement) not in kept and (part := _binding(statement, wanted)) is not None
        ]
        if not needed:
            break
        for statement, part in needed:
            kept[id(statement)] = part
        wanted |= global_names(part for _, part in needed)
    body = [kept[id(statement)] for statement in statements if id(statement) in kept]
    return ast.unparse(ast.fix_missing_locations(ast.Module(body, [])))


def _binding(statement: ast.stmt, wanted: set[str]) -> ast.stmt | None:
    """The part of a top-level statement that gives a value to a wanted name, if any does."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        aliases = [
            alias
            for alias in statement.names
            # the worker has an `exercise` of its own
            if (bound := (alias.asname or alias.name).split(".")[0]) != "exercise"
            and (bound in wanted or bound == "*")
        ]
        if not aliases:
            return None
        if isinstance(statement, ast.Import):
            return ast.Import(aliases)
        return ast.ImportFrom(statement.module, aliases, statement.level)
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return statement if statement.name in wanted else None
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = getattr(statement, "targets", None) or [statement.target]
        bound = {node.id for t in targets for node in ast.walk(t) if isinstance(node, ast.Name)}
        return statement if bound & wanted else None
    return None


def global_names(statements: Iterable[ast.stmt]) -> set[str]:
    """The global names that statements use: a local variable of the same name does not count."""
    source = ast.unparse(ast.Module(list(statements), []))
    return set(_globals(symtable.symtable(source, "submission", "exec")))


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    outermost = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() if outermost else symbol.is_global():
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)


def _first_line(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return (text or "").strip().split("\n")[0][:200].rstrip(".")
