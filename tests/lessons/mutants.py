"""Every automatic mutant of a function: one small change of its source each.

A mutant that an exercise accepts is a wrong answer that passes, unless it computes the same thing:
`test_mutants.py` lists those with the reason.
"""

from __future__ import annotations
import __future__

import ast
import copy
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

OPERATORS = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div, ast.Add],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Div],
    ast.Mod: [ast.FloorDiv],
    ast.Pow: [ast.Mult],
    ast.MatMult: [],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
}
COMPARISONS = {
    ast.Lt: [ast.LtE, ast.Gt],
    ast.LtE: [ast.Lt, ast.GtE],
    ast.Gt: [ast.GtE, ast.Lt],
    ast.GtE: [ast.Gt, ast.LtE],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
}
TWINS = (
    ("any", "all"),
    ("min", "max"),
    ("amin", "amax"),
    ("argmin", "argmax"),
    ("minimum", "maximum"),
    ("mean", "sum"),
    ("tril", "triu"),
    ("exp", "log"),
    ("softmax", "log_softmax"),
    ("ones_like", "zeros_like"),
    ("append", "extend"),
)
NAMES = dict((*TWINS, *((b, a) for a, b in TWINS)))
DROPPED = {"clamp", "masked_fill", "detach", "clip", "abs", "sqrt", "square", "float", "flip", "t"}


@dataclass(frozen=True)
class Mutant:
    """A changed function: where (line of the function), what it was, what it is."""

    name: str
    function: Callable


def mutants(reference: Callable) -> Iterator[Mutant]:
    """All mutants of a function that compile, each in the module of the original."""
    reference = inspect.unwrap(reference)
    tree = ast.parse(textwrap.dedent(inspect.getsource(reference)))
    definition = tree.body[0]
    definition.decorator_list, definition.returns = [], None
    for argument in ast.walk(definition.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    if ast.get_docstring(definition) is not None:
        del definition.body[0]
    seen = {ast.unparse(tree)}
    for number, node in enumerate(ast.walk(definition)):
        for change in range(len(list(_changes(copy.deepcopy(node))))):
            mutant = copy.deepcopy(tree)
            place = list(ast.walk(mutant.body[0]))[number]
            before = ast.unparse(place)
            (after := list(_changes(place))[change])()
            source = ast.unparse(ast.fix_missing_locations(mutant))
            if source in seen:
                continue
            seen.add(source)
            name = f"line {getattr(place, 'lineno', 0)}: {before[:60]} -> {ast.unparse(place)[:60]}"
            if (function := _compiled(source, reference, name)) is not None:
                yield Mutant(" ".join(f"{name} ({after.__name__})".split()), function)


def _changes(node: ast.AST) -> Iterator[Callable[[], None]]:
    """Functions that change a node in place, one way each."""

    def setting(kind: str, target: ast.AST, field: str, value: object) -> Callable[[], None]:
        def change() -> None:
            setattr(target, field, value)

        change.__name__ = kind
        return change

    def becoming(kind: str, target: ast.AST, other: ast.AST) -> Callable[[], None]:
        def change() -> None:
            target.__class__, target.__dict__ = other.__class__, other.__dict__

        change.__name__ = kind
        return change

    match node:
        case ast.BinOp(op=op):
            for other in OPERATORS.get(type(op), []):
                yield setting("operator", node, "op", other())
            yield becoming("left half", node, node.left)
            yield becoming("right half", node, node.right)
        case ast.Compare(ops=[op]):
            for other in COMPARISONS.get(type(op), []):
                yield setting("comparison", node, "ops", [other()])
        case ast.BoolOp(op=op):
            yield setting("and/or", node, "op", ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(operand=operand):
            yield becoming("sign", node, operand)
        case ast.Constant(value=bool() as value):
            yield setting("flag", node, "value", not value)
        case ast.Constant(value=int() | float() as value):
            yield setting("one more", node, "value", value + 1)
            yield setting("one less", node, "value", value - 1)
        case ast.Attribute(attr=name) if name in NAMES:
            yield setting("twin", node, "attr", NAMES[name])
        case ast.Name(id=name, ctx=ast.Load()) if name in NAMES:
            yield setting("twin", node, "id", NAMES[name])
        case ast.Call(func=ast.Attribute(value=inner, attr=name)) if name in DROPPED:
            yield becoming("dropped call", node, inner)
        case ast.IfExp(body=body, orelse=orelse):
            yield becoming("always", node, body)
            yield becoming("never", node, orelse)
        case ast.If(test=test):
            yield setting("turned", node, "test", ast.UnaryOp(ast.Not(), test))
    if isinstance(node, ast.Call) and len(node.args) >= 2:
        first, second, *rest = node.args
        yield setting("swapped arguments", node, "args", [second, first, *rest])
    for field in ("body", "orelse"):
        block = getattr(node, field, None)
        if isinstance(block, list) and len(block) > 1:
            for place in range(len(block)):
                yield setting("dropped line", node, field, block[:place] + block[place + 1 :])


def _compiled(source: str, reference: Callable, name: str) -> Callable | None:
    """The mutant in the module of its original; None where it is no Python."""
    names: dict[str, Callable] = {}
    module = vars(sys.modules[reference.__module__])
    try:
        flags = __future__.annotations.compiler_flag
        exec(compile(source, f"<{name}>", "exec", flags=flags, dont_inherit=True), module, names)
    except SyntaxError:
        return None
    return names[reference.__name__]
