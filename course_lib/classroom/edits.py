"""Mistakes that change a few words of the library's function, written as text.

    averages the actions: `next_q.max(dim=1).values` becomes `next_q.mean(dim=1)`. You took the
        mean over the actions. The greedy policy takes the best one.

    never bootstraps: ` + gamma * next_value` goes. The future is missing ...

One paragraph for each mistake: its name, one or several changes separated by commas, a full stop,
the hint. Blanks and line breaks in a piece of code stand for any blanks. A piece has to occur
exactly once in the function, its docstring left out: otherwise the import of the exercise fails.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

_CHANGE = r"`(?P<old>[^`]+)` (?:becomes `(?P<new>[^`]*)`|(?P<goes>goes))"
_PLAIN = re.sub(r"\?P<\w+>", "?:", _CHANGE)
_PARAGRAPH = re.compile(rf"(?P<name>[^:`]+): (?P<changes>{_PLAIN}(?:, {_PLAIN})*)\. (?P<hint>.+)")


@dataclass(frozen=True)
class Edit:
    """A mistake as changes of the source: pieces of code and what stands in their place."""

    name: str
    changes: tuple[tuple[str, str], ...]
    hint: str


def read(text: str) -> list[Edit]:
    """The edits of a text in the form above. Raises ValueError for a paragraph of another form."""
    edits = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        line = " ".join(paragraph.split())
        if not line:
            continue
        found = _PARAGRAPH.fullmatch(line)
        if found is None:
            raise ValueError(
                f"an edit reads 'name: `old` becomes `new`. Hint.' (or `old` goes), got: {line!r}"
            )
        changes = [
            (change["old"], "" if change["goes"] else change["new"])
            for change in re.finditer(_CHANGE, found["changes"])
        ]
        edits.append(Edit(found["name"], tuple(changes), found["hint"]))
    return edits


def apply(reference: Callable, edit: Edit) -> Callable:
    """The function ``reference`` with the changes of ``edit`` in its source.

    It lives in the module of the reference. Raises ValueError where a piece of code does not occur
    exactly once.
    """
    source = _bare(textwrap.dedent(inspect.getsource(reference)))
    for old, new in edit.changes:
        pattern = r"\s+".join(re.escape(part) for part in re.split(r"\s+", old))
        count = len(re.findall(pattern, source))
        if count != 1:
            raise ValueError(
                f"the mistake {edit.name!r} changes `{old}`, which occurs {count} times in "
                f"{reference.__name__}; it has to occur exactly once"
            )
        source = re.sub(pattern, lambda _, new=new: new, source)
    title = f"{reference.__name__}: {edit.name}"
    linecache.cache[f"<{title}>"] = (len(source), None, source.splitlines(True), f"<{title}>")
    return build(source, reference, title)


def build(source: str, reference: Callable, title: str) -> Callable:
    """The function that ``source`` defines, in the module of ``reference``, whose name it has."""
    flags = __future__.annotations.compiler_flag
    namespace: dict[str, Callable] = {}
    module = vars(sys.modules[reference.__module__])
    exec(compile(source, f"<{title}>", "exec", flags=flags, dont_inherit=True), module, namespace)
    return namespace[reference.__name__]


def _bare(source: str) -> str:
    """A function's source without decorators, which may replace it, and without its docstring."""
    definition = ast.parse(source).body[0]
    lines = source.splitlines(keepends=True)
    if ast.get_docstring(definition) is not None:
        first = definition.body[0]
        del lines[first.lineno - 1 : first.end_lineno]
    return "".join(lines[definition.lineno - 1 :])
