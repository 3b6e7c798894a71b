"""A second way to cut an exercise's program out, for answers that fail with the first.

`program` takes what visibly changes the names that a function uses. Python can hide a change: an
alias, the rows of a loop, `np.copyto(x, 1)`, a method of one's own, `exec`. Here every statement
counts that touches such data at all, or calls what touches it. That may bring in a training run,
which is why it comes second.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from course_lib.classroom.grade.program import FUNCTIONS, IMPORTS, Statement

BY_NAME = {"exec", "eval", "globals", "locals", "vars", "setattr"}  # may change anything


def touchers_of(statements: Sequence[Statement]) -> dict[str, list[int]]:
    """The statements, by number, that bind a name, or touch the data that it stands for."""
    data: set[str] = set()
    reach: dict[str, set[str]] = {}  # what else is touched with a name: by a call, as an alias
    for each in statements:
        if isinstance(each.node, FUNCTIONS | ast.ClassDef) or _is_alias(each.node):
            for name in each.gives:
                reach[name] = reach.get(name, set()) | each.uses | each.by_call
            data |= each.by_call
            data |= each.gives if isinstance(each.node, ast.ClassDef) else set()
        if not isinstance(each.node, FUNCTIONS | ast.ClassDef | IMPORTS):
            data |= each.gives
    touchers: dict[str, list[int]] = {}
    for place, each in enumerate(statements):
        names = set(each.gives)
        if not (isinstance(each.node, FUNCTIONS | ast.ClassDef) and not each.node.decorator_list):
            names |= _reached(each.uses, reach) & data
            names |= {"*"} if each.uses & BY_NAME else set()
        for name in names:
            touchers.setdefault(name, []).append(place)
    return touchers


def _is_alias(node: ast.stmt) -> bool:
    """`fill = lambda: ...`, or a name for something that has one already: `row = table[0]`."""
    return isinstance(node, ast.Assign) and isinstance(
        node.value, ast.Lambda | ast.Name | ast.Subscript | ast.Attribute | ast.Tuple
    )


def _reached(names: set[str], reach: dict[str, set[str]]) -> set[str]:
    """The names, and what calling them touches, directly or through one another."""
    found, waiting = set(), set(names)
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= reach.get(name, set()) - found
    return found
