"""Tell an untouched stub from an answer by reading its source, without running it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable


def is_untouched(function: Callable) -> bool:
    """True where the body holds nothing but a placeholder: `...`, `pass`, `return None`.

    Where no source can be found the function counts as an answer.
    """
    definition = _definition(function)
    return definition is not None and is_placeholder(definition)


def is_unfinished(function: Callable) -> bool:
    """True where a `...` stands for something still to be written, as in `x = ...`.

    `...` used as an index (`x[..., 0]`) is code.
    """
    definition = _definition(function)
    return definition is not None and has_placeholder(definition)


def is_placeholder(definition: ast.FunctionDef) -> bool:
    """`is_untouched` for a function's syntax tree."""
    return all(_is_nothing(node) for node in definition.body if not _is_docstring(node))


def has_placeholder(definition: ast.FunctionDef) -> bool:
    """`is_unfinished` for a function's syntax tree."""
    alone = {id(node) for node in definition.body if isinstance(node, ast.Expr)}
    return any(
        _stands_for_code(node) and (not isinstance(node, ast.Expr) or id(node) in alone)
        for node in ast.walk(definition)
    )


def _definition(function: Callable) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    return next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)), None)


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Return):
        return node.value is None or (
            isinstance(node.value, ast.Constant) and node.value.value is None
        )
    if isinstance(node, ast.Raise):
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return isinstance(error, ast.Name) and error.id == "NotImplementedError"
    return isinstance(node, ast.Pass) or _stands_for_code(node)


def _stands_for_code(node: ast.AST) -> bool:
    value = (
        node.value if isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return) else None
    )
    return isinstance(value, ast.Constant) and value.value is Ellipsis
