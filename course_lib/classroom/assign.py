"""A lesson's notebook for students, without outputs and answers, and a solved one for instructors.

Works on the source of each exercise cell: the function under `@exercise("lesson.name")`.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import sys
import textwrap
import tokenize
from collections.abc import Callable, Container
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from course_lib.classroom import stub
from course_lib.classroom.exercise import find
from course_lib.classroom.grade.program import global_names, outside_functions
from course_lib.classroom.grade.source import exercise_name, python
from course_lib.classroom.project import project

PLACEHOLDER = "...  # your code here"
PROJECT = re.compile(r"""\bproject\(["'](\w+)["']\)""")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#:]+\.ipynb)[^)]*\)")
# [words](a/b.png), src="a/b.png", Path("a"), "a/b.json", `a/b`
NAMED = re.compile(
    r"""\]\(([^)\s#:]+)|src=["']?([^"'\s>:]+)|Path\(["']([^"':]+)"""
    r"""|["'`]([\w -]*[./][^"'`\n:]*)["'`]"""
)
LONGEST_NAME = 200


def student_copy(notebook: Any) -> Any:
    """``notebook``, an `nbformat` node, changed in place: no outputs, every exercise a stub."""
    return _copy(notebook, emptied)


def solved_copy(notebook: Any) -> Any:
    """The same with the library's answer in every exercise, and a reference for the project."""
    import nbformat

    _copy(notebook, solved)
    for place, cell in reversed([*enumerate(notebook.cells)]):
        if cell.cell_type == "code" and (found := PROJECT.search(cell.source)):
            reference = project(found[1]).reference
            imports, function = solution(reference, reference.__name__)
            source = "\n".join([*imports, "", "", function.rstrip()])
            notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(source))
    return notebook


def _copy(notebook: Any, change: Callable[[str, ast.FunctionDef], str]) -> Any:
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = [], None
        for definition in reversed(exercises_in(cell.source)):
            cell.source = change(cell.source, definition)
    return notebook


def files_named(notebook: Any, folder: Path) -> list[Path]:
    """The files below ``folder`` that a notebook in it names, or whose folder it names."""
    found: set[Path] = set()
    for cell in notebook.cells:
        for words in NAMED.findall(cell.source):
            name = next(filter(None, words)).removeprefix(f"{folder.name}/")
            if len(name) > LONGEST_NAME:  # a sentence that stands between two words in quotes
                continue
            path = folder / name
            if folder.resolve() in path.resolve().parents and path.suffix != ".ipynb":
                inside = path.rglob("*") if path.is_dir() else [path]
                found |= {each for each in inside if each.is_file()}
    return sorted(found)


def unlink(notebook: Any, known: Container[str]) -> None:
    """Make words of links to lessons that are not handed out."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = unlinked(cell.source, known)


def unlinked(text: str, known: Container[str]) -> str:
    """The same for a text in Markdown."""
    return LINK.sub(lambda m: m[0] if m[2] in known else m[1], text)


def exercises_in(source: str) -> list[ast.FunctionDef]:
    """The functions under `@exercise(...)`, read as grading reads them, with their lines in a cell.

    Raises ValueError where an exercise cannot be told from the rest of its cell.
    """
    try:
        text = python(source)
    except (SyntaxError, ValueError) as error:
        if "@exercise(" in source:
            raise ValueError(f"A cell with an exercise is not valid Python: {error}.") from error
        return []
    tree = ast.parse(text)
    found = [node for node in outside_functions(tree) if exercise_name(node)]
    if len(found) < sum(map(_is_exercise, ast.walk(tree))):
        raise ValueError(
            'An answer could stay in the copy: write @exercise("lesson.name"), by this name and '
            "with a text, above a function at the top of a cell."
        )
    lines, read = ([line.strip() for line in t.split("\n")] for t in (source, text))
    for node in found:
        first = node.decorator_list[0].lineno - 1  # IPython takes away a `%%time` and joins lines
        places = [place for place, line in enumerate(lines) if line == read[first]]
        shift = places[read[:first].count(read[first])] - first if places else 0
        last = node.end_lineno - 1
        if not places or lines[last + shift : last + shift + 1] != [read[last]]:
            name = exercise_name(node)
            raise ValueError(f"The exercise {name} holds a magic of several lines; take it out.")
        ast.increment_lineno(node, shift)
    return found


def _is_exercise(node: ast.AST) -> bool:
    """`exercise(...)`, under whatever name it is called, or its import under another."""
    if isinstance(node, ast.ImportFrom):
        return any(a.name == "exercise" and a.asname for a in node.names)
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "exercise"


def emptied(source: str, definition: ast.FunctionDef) -> str:
    """The cell with the body of its exercise taken out; signature, docstring, comments stay."""
    if stub.is_placeholder(definition):
        return source
    lines = source.split("\n")
    first = definition.body[0]
    line, colon = _header_end(definition, lines)
    on_the_line = first.lineno == line
    if on_the_line:  # `def double(x): return 2 * x`
        head_end, lines[line - 1] = line, lines[line - 1][:colon]
        indent = _indent(lines[definition.lineno - 1]) + "    "
    else:
        indent = _indent(lines[first.lineno - 1])
        head_end = line
        if ast.get_docstring(definition) is not None:
            head_end = first.end_lineno
            shift = len(indent.encode()) - first.col_offset  # IPython may have dedented the cell
            end = lines[head_end - 1].encode()[: first.end_col_offset + shift]
            lines[head_end - 1] = end.decode()
    comments = []
    for line in lines[head_end : definition.end_lineno]:
        if not line.strip().startswith("#"):
            break
        comments.append(line)
    kept = lines[:head_end] + comments + [indent + PLACEHOLDER]
    return "\n".join(kept + lines[definition.end_lineno :])


def _header_end(definition: ast.FunctionDef, lines: list[str]) -> tuple[int, int]:
    """The line, counted from 1, and the column behind the colon that ends the signature."""
    start, deep = definition.lineno - 1, 0
    first = _indent(lines[start])  # the tokenizer takes no indented beginning
    text = [lines[start].removeprefix(first), *lines[start + 1 :]]
    reader = iter([f"{line}\n" for line in text])
    for token in tokenize.generate_tokens(lambda: next(reader, "")):
        if token.type == tokenize.OP:
            deep += (token.string in "([{") - (token.string in ")]}")
            if token.string == ":" and not deep:
                shift = len(first) if token.start[0] == 1 else 0
                return start + token.start[0], token.end[1] + shift
    raise ValueError(f"The signature of {definition.name} does not end.")


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def solved(source: str, definition: ast.FunctionDef) -> str:
    """The cell with the library's function in place of the student's, and what that needs."""
    name = exercise_name(definition)
    lines = source.split("\n")
    start = min(node.lineno for node in definition.decorator_list) - 1
    decorators = lines[start : definition.lineno - 1]
    imports, function = solution(find(name).reference, definition.name)
    before = [*imports, "", ""] if imports else []
    indent = _indent(lines[start])
    answer = [
        *(indent + line if line else line for line in before),
        *decorators,
        *textwrap.indent(function.rstrip(), indent).split("\n"),
    ]
    return "\n".join(lines[:start] + answer + lines[definition.end_lineno :])


def solution(reference: Callable, name: str) -> tuple[list[str], str]:
    """Lines that bind the globals of a library function, and its source under ``name``."""
    function = inspect.unwrap(reference)
    source = textwrap.dedent(inspect.getsource(function))
    bare = ast.parse(source).body[0].lineno - 1  # a decorator may let something faster compute it
    source = "".join(source.splitlines(keepends=True)[bare:])
    source = re.sub(rf"^def {function.__name__}\b", f"def {name}", source, flags=re.MULTILINE)
    known = function.__globals__
    used = sorted(global_names(source) & known.keys() - {name, *dir(builtins)})
    home = function.__module__
    return [_binding(each, known[each], home) for each in used], source


def _binding(name: str, value: Any, home: str) -> str:
    """A line that binds ``name`` to a module, a function or class, or a constant of ``home``."""
    if isinstance(value, ModuleType):
        package, _, last = value.__name__.rpartition(".")
        if package and last == name:
            return f"from {package} import {name}"
        return f"import {value.__name__}" + (f" as {name}" if value.__name__ != name else "")
    origin = getattr(value, "__module__", None)
    if origin and hasattr(value, "__qualname__"):
        own = value.__qualname__
        if "." in own:  # a method of a hidden class, as `torch.tensor` is: its module has it, too
            own = name if hasattr(sys.modules[origin], name) else value.__name__
        return f"from {origin} import {own}" + (f" as {name}" if own != name else "")
    if origin == "typing":
        return f"from typing import {name}"
    if isinstance(value, np.ndarray):  # it does not print as Python
        return f"from {home} import {name}"
    return f"{name} = {value!r}"
