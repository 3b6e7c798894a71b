"""A cell's source as Python, read as IPython reads it, and the exercises in it."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Container, Mapping

from IPython.core.inputtransformer2 import TransformerManager

AROUND_CODE = {"capture", "prun", "time"}  # magics whose text runs in the notebook as it is
ON_A_LINE = {"prun", "time"}  # those that bind names in the notebook
MAGIC = re.compile(r"^[ \t]*(?:>>>|In \[\d+\]:)?[ \t]*[%!?,;/]|\?[ \t]*$|=[ \t]*[%!]", re.MULTILINE)
LONGEST = 5_000  # characters of a line: IPython's own patterns take time that grows with its square
MOST = 2_000_000  # magics times characters of a cell: IPython reads it again for each


def python(source: str) -> str:
    """A cell as Python; the code that a magic times or captures stands in the magic's place."""
    if max(map(len, source.split("\n"))) > LONGEST:
        raise ValueError(f"a line is longer than {LONGEST} characters")
    if len(MAGIC.findall(source)) * len(source) > MOST:
        raise ValueError("it has more magics than are read; split the cell")
    text = TransformerManager().transform_cell(re.sub(r"\r\n?", "\n", source))
    _, span = spans(text)
    edits = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(ast.Attribute(attr="run_cell_magic"), [ast.Constant(kind), _, body]):
                if kind in AROUND_CODE:
                    return python(body.value)
            case ast.Call(ast.Attribute(attr="run_line_magic"), [ast.Constant(kind), line]):
                if kind in ON_A_LINE and _is_python(line.value):
                    edits.append((*span(node), line.value))
    return edited(text, edits)


def exercise_name(node: ast.AST, names: Container[str] = ("exercise",)) -> str | None:
    """The name in the `@exercise("...")` above a function, if it has one."""
    calls = map(exercise_call, getattr(node, "decorator_list", ()))
    return next((name for word, name in filter(None, calls) if word in names), None)


def exercise_call(node: ast.AST, texts: Mapping[str, str] | None = None) -> tuple[str, str] | None:
    """The word that is called with a text as its `name`, and the text: `kit.exercise("a.b")`.

    ``texts`` holds names that the notebook gives to texts, for `kit.exercise(NAME)`.
    """
    if not isinstance(node, ast.Call):
        return None
    given = [*node.args, *(each.value for each in node.keywords if each.arg == "name")]
    name = _text(given[0], texts or {}) if given else None
    word = getattr(node.func, "id", getattr(node.func, "attr", ""))
    return (word, name) if isinstance(name, str) else None


def _text(node: ast.AST, texts: Mapping[str, str]) -> str | None:
    """The text that an expression stands for: `"a.b"`, `NAME`, `"a." + NAME`, `f"a.{NAME}"`."""
    match node:
        case ast.Constant(str() as text):
            return text
        case ast.Name(id=name):
            return texts.get(name)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = [_text(left, texts), _text(right, texts)]
        case ast.JoinedStr(values=values):
            inside = (v.value if isinstance(v, ast.FormattedValue) else v for v in values)
            parts = [_text(value, texts) for value in inside]
        case _:
            return None
    return None if None in parts else "".join(parts)


def spans(text: str) -> tuple[bytes, Callable[[ast.AST], tuple[int, int]]]:
    """A text's bytes, and where in them a node of its tree begins and ends."""
    data = text.encode()
    starts = [0, *itertools.accumulate(len(line) + 1 for line in data.split(b"\n"))]

    def span(node: ast.AST) -> tuple[int, int]:
        begin = starts[node.lineno - 1] + node.col_offset
        if decorators := getattr(node, "decorator_list", ()):
            begin = starts[decorators[0].lineno - 1]
        return begin, starts[node.end_lineno - 1] + node.end_col_offset

    return data, span


def edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    """The text with other words between pairs of places in its bytes."""
    data = text.encode()
    for begin, end, new in sorted(edits, reverse=True):
        data = data[:begin] + new.encode() + data[end:]
    return data.decode()


def _is_python(text: str) -> bool:
    try:
        return bool(ast.parse(text).body)
    except SyntaxError:
        return False
