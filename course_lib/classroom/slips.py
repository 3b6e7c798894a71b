"""Slips: the library's function with one small thing wrong, made automatically from its source.

A plus for a minus, a sum over another axis, a clamp left out. Where no named mistake explains a
wrong answer, the slip that gives the same values does. The tests use the same list: an exercise
that accepts one of them accepts a wrong answer, or the change makes no difference.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from course_lib.classroom import edits

OPERATORS = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div, ast.Add],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Div],
    ast.Mod: [ast.FloorDiv],
    ast.Pow: [ast.Mult],
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
SYMBOLS = {
    **{ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//"},
    **{ast.Mod: "%", ast.Pow: "**", ast.BitAnd: "&", ast.BitOr: "|", ast.And: "and"},
    **{ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="},
    **{
        ast.Is: "is",
        ast.IsNot: "is not",
        ast.Or: "or",
        ast.USub: "minus sign",
        ast.UAdd: "plus sign",
        ast.Not: "`not`",
    },
    ast.Invert: "`~`",
}
HALVES = {
    **dict.fromkeys((ast.Add, ast.Sub), "a term is missing"),
    **dict.fromkeys((ast.Mult, ast.Div, ast.MatMult), "a factor is missing"),
    **dict.fromkeys((ast.BitAnd, ast.BitOr), "a condition is missing"),
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
OTHER = dict((*TWINS, *((b, a) for a, b in TWINS)))
DROPPED = {"clamp", "masked_fill", "detach", "clip", "abs", "sqrt", "square", "float", "flip", "t"}
LEFT_OUT = "a line of the work is left out"
MODULES = {"F", "math", "np", "torch"}
SYMMETRIC = {"min", "max", "minimum", "maximum", "transpose", "add", "mul"}


@dataclass(frozen=True)
class Slip:
    """A changed function: what is wrong with it in words, and as code, for the tests."""

    words: str
    change: str
    function: Callable


def slips(reference: Callable) -> list[Slip]:
    """All slips of a function that compile, each in the module of the original.

    Annotations, default values and errors about bad input stay out of it: an exercise's stub gives
    the first two, and asks for none of the last. Lines left out come last: the smaller change
    explains more.
    """
    tree = _bare(inspect.unwrap(reference))
    if tree is None:
        return []
    arguments = {argument.arg for argument in ast.walk(tree.args) if isinstance(argument, ast.arg)}
    seen, small, large = {ast.unparse(tree)}, [], []
    for number, node in enumerate(ast.walk(tree)):
        if node is tree.args or node in list(ast.walk(tree.args)):
            continue
        for place in range(len(list(_changes(tree, node)))):
            changed = copy.deepcopy(tree)
            target = list(ast.walk(changed))[number]
            before, line = _short(target), _short(_line(changed, target))
            near = _near(changed, target, arguments)
            words, change = list(_changes(changed, target))[place]
            change()
            source = ast.unparse(ast.fix_missing_locations(changed))
            if source in seen:
                continue
            seen.add(source)
            title = f"{before} -> {_short(target)}, in {line}"
            if words == LEFT_OUT:
                kept = set(source.split("\n"))
                lines = ast.unparse(tree).split("\n")
                title = f"without {next((x for x in lines if x not in kept), lines[-1]).strip()}"
            with contextlib.suppress(SyntaxError):
                function = edits.build(source, reference, title)
                kind = large if words == LEFT_OUT else small
                kind.append(Slip(words + near, title, function))
    return small + large


def _bare(reference: Callable) -> ast.FunctionDef | None:
    """The function's tree without decorators, annotations, docstring, and errors on bad input."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(reference))).body[0]
    if not isinstance(definition, ast.FunctionDef):  # a lambda, which cannot be told from its line
        return None
    definition.decorator_list, definition.returns = [], None
    for argument in ast.walk(definition.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    first = 1 if ast.get_docstring(definition) is not None else 0
    definition.body = [line for line in definition.body[first:] if not _guards(line)]
    return definition


def _guards(line: ast.stmt) -> bool:
    if isinstance(line, ast.Expr) and isinstance(line.value, ast.Call):
        return "check" in ast.unparse(line.value.func)
    if isinstance(line, ast.For):
        return all(_guards(each) for each in line.body)
    return isinstance(line, ast.If) and all(isinstance(each, ast.Raise) for each in line.body)


def _near(tree: ast.FunctionDef, node: ast.AST, arguments: set[str]) -> str:
    """Which arguments the changed piece, or the line that it stands in, works with."""
    if isinstance(node, ast.FunctionDef | ast.For):
        return ""
    for piece in (node, _line(tree, node)):
        names = [x.id for x in ast.walk(piece) if isinstance(x, ast.Name) and x.id in arguments]
        if names := [f"`{name}`" for name in dict.fromkeys(names)]:
            listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
            return f", in the part with {listed}" if len(names) < 4 else ""
    return ""


def _line(tree: ast.FunctionDef, node: ast.AST) -> ast.AST:
    """The statement that a node stands in."""
    lines = [x for x in ast.walk(tree) if isinstance(x, ast.stmt)]
    return [line for line in lines if node in list(ast.walk(line))][-1]


def _short(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:60]


def _changes(tree: ast.AST, node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    """What can be wrong with a node of a tree: words for it, and a function that does it."""
    put, become = functools.partial(_put, node), functools.partial(_become, node)
    match node:
        case ast.BinOp(op=op, left=left, right=right):
            for other in OPERATORS.get(type(op), []):
                yield _instead(other, type(op)), put("op", other())
            missing = HALVES.get(type(op), "a step of the arithmetic is missing")
            yield missing, become(left)
            yield missing, become(right)
        case ast.Compare(ops=[op]):
            for other in COMPARISONS.get(type(op), []):
                yield _instead(other, type(op)), put("ops", [other()])
        case ast.BoolOp(op=op):
            other = ast.Or if isinstance(op, ast.And) else ast.And
            yield _instead(other, type(op)), put("op", other())
        case ast.UnaryOp(operand=ast.Constant(value=int())):
            pass  # an index or an axis counted from the end: the number is changed instead
        case ast.UnaryOp(op=op, operand=operand):
            yield f"a {SYMBOLS[type(op)]} is missing", become(operand)
        case ast.Constant(value=bool() as value):
            words = "a switch of a function that is called stands the wrong way"
            yield words, put("value", not value)
        case ast.Constant(value=int() | float() as value):
            words = _number(tree, node)
            yield words, put("value", value + 1)
            yield words, put("value", value - 1)
        case ast.Attribute(attr=name) if name in OTHER:
            yield f"`{OTHER[name]}` where `{name}` belongs", put("attr", OTHER[name])
        case ast.Name(id=name, ctx=ast.Load()) if name in OTHER:
            yield f"`{OTHER[name]}` where `{name}` belongs", put("id", OTHER[name])
        case ast.Call(func=ast.Attribute(value=inner, attr=name), args=args) if name in DROPPED:
            function = getattr(inner, "id", "") in MODULES
            yield f"a `{name}` is missing", become(args[0] if function and args else inner)
        case ast.IfExp(body=body, orelse=orelse):
            yield "one of two cases is left out", become(body)
            yield "one of two cases is left out", become(orelse)
        case ast.If(test=test):
            yield "a condition is turned round", put("test", ast.UnaryOp(ast.Not(), test))
    yield from _arguments_swapped(node)
    yield from _lines_left_out(node)


def _arguments_swapped(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    if isinstance(node, ast.Call) and len(node.args) >= 2 and _name(node.func) not in SYMMETRIC:
        first, second, *rest = node.args
        words = f"two arguments of `{_name(node.func)}` are swapped"
        yield words, _put(node, "args", [second, first, *rest])


def _lines_left_out(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    for field in ("body", "orelse"):
        block = getattr(node, field, None)
        if isinstance(block, list) and len(block) > 1:
            for place, line in enumerate(block):
                if not isinstance(line, ast.Return):
                    yield LEFT_OUT, _put(node, field, block[:place] + block[place + 1 :])


def _put(node: ast.AST, field: str, value: object) -> Callable[[], None]:
    return lambda: setattr(node, field, value)


def _become(node: ast.AST, other: ast.AST) -> Callable[[], None]:
    def change() -> None:
        node.__class__, node.__dict__ = other.__class__, other.__dict__

    return change


def _instead(other: type, right: type) -> str:
    return f"`{SYMBOLS[other]}` where `{SYMBOLS[right]}` belongs"


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)


def _number(tree: ast.AST, number: ast.Constant) -> str:
    """Words for a number that is off by one: an axis, an index, or neither."""
    for node in ast.walk(tree):
        inside = list(ast.walk(node))
        if isinstance(node, ast.keyword) and node.arg in ("dim", "axis") and number in inside:
            return "it works along another axis"
        if isinstance(node, ast.Subscript) and number in list(ast.walk(node.slice)):
            return "an index is off by one"
    return f"the number {number.value} is off by one"
