"""The part of a notebook that one function needs, so that it runs without the rest.

A notebook may train for minutes. Kept are the top-level statements that give a value to a global
name which the function uses, or change what the name holds, directly or through one another.
"""

from __future__ import annotations

import ast
import builtins
import copy
import itertools
import symtable
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from course_lib.classroom.grade.source import edited, exercise_call, spans

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
IMPORTS = ast.Import | ast.ImportFrom
STORED = ast.Store | ast.Del
# A notebook that imports `exercise` would get the one that puts the library's answers in.
BEGIN = '__name__ = "__main__"\n_exercise_ = exercise'
OWN = BEGIN + ".own"  # the student's functions in other exercises, not the library's
KERNEL = '''
class _Shell:
    """Stands for the notebook's kernel: magics and shell commands do nothing here."""
    def __getattr__(self, name):
        return lambda *_, **__: []
def get_ipython():
    return _Shell()
def display(*_, **__):
    pass
def _await_(coroutine):
    import asyncio
    return asyncio.run(coroutine)
'''


@dataclass
class Statement:
    """A top-level statement with the global names that it uses and those that it gives a value."""

    node: ast.stmt
    text: str
    uses: set[str]
    gives: set[str]
    by_call: set[str]  # names that get a value when the functions in it are called
    cell: int  # where it stands


def statements_of(
    text: str, names: set[str], texts: dict[str, str], cell: int = 0
) -> list[Statement]:
    """A cell's statements. ``names`` are those of `exercise`; imports in the cell add to them.

    ``texts`` are names that hold a text; assignments in the cell add to them.
    """
    compile(text, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    tree, edits = ast.parse(text), []
    _, span = spans(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {a.asname for a in node.names if a.name == "exercise" and a.asname}
        match node:
            case ast.Assign([ast.Name(id=name)], ast.Constant(str() as value)) | ast.AnnAssign(
                ast.Name(id=name), value=ast.Constant(str() as value)
            ):
                texts[name] = value
            case ast.Assign([ast.Name(id=name)], ast.Name(id=other)) if other in names:
                names.add(name)
    for node in ast.walk(tree):
        for decorator in getattr(node, "decorator_list", ()):
            if (call := exercise_call(decorator, texts)) and call[0] in names:
                edits.append((*span(decorator), f"_exercise_({call[1]!r})"))
    for node in outside_functions(tree):
        if isinstance(node, ast.Await):
            begin, end = span(node)
            edits += [(begin, begin + len("await"), "_await_("), (end, end, ")")]
    names.add("_exercise_")
    text = edited(text, edits)
    data, span = spans(text)
    statements = []
    for node in ast.parse(text).body:
        texts = [data[slice(*span(node))].decode()]
        if isinstance(node, IMPORTS):  # one for each name
            texts = [ast.unparse(_alone(node, alias)) for alias in node.names]
        for each in texts:
            uses, gives, by_call = _names(each)
            if each.startswith("from __future__") or each.endswith("import *"):
                gives = {"*"}
            statements.append(Statement(node, each, uses, gives, by_call, cell))
    return statements


def _alone(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    node = copy.copy(node)
    node.names = [alias]
    return node


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is in it, in order, but not what is inside functions and classes."""
    waiting = [node]
    while waiting:
        yield (node := waiting.pop())
        if not isinstance(node, FUNCTIONS | ast.Lambda | ast.ClassDef):
            waiting += reversed(list(ast.iter_child_nodes(node)))


def global_names(source: str) -> set[str]:
    """The global names that code uses: a local variable of the same name does not count."""
    return _names(source)[0]


def _names(source: str) -> tuple[set[str], set[str], set[str]]:
    """The global names that code uses, those it binds, and those that its functions would bind."""
    uses, gives, by_call = set(), set(), set()

    def look(table: symtable.SymbolTable, bound: set[str]) -> None:
        outermost = table.get_type() == "module"
        if not outermost and not table.get_name().endswith(("comp", "genexpr")):
            bound = by_call
        for symbol in table.get_symbols():
            if symbol.is_referenced() if outermost else symbol.is_global():
                uses.add(symbol.get_name())
            given = symbol.is_assigned() or symbol.is_imported()
            # from Python 3.12 on, `[x := 1 for ...]` shows as no more than this
            given |= outermost and symbol.is_declared_global()
            if symbol.is_global() and given:
                bound.add(symbol.get_name())
        for child in table.get_children():
            look(child, bound)

    look(symtable.symtable(source, "submission", "exec"), gives)
    loops = _loop_names(source)
    return uses - loops, gives - loops, by_call


def _loop_names(source: str) -> set[str]:
    """Names that nothing but comprehensions uses: no globals, as Python 3.12 shows them."""
    tree = ast.parse(source)
    loops, others, inside = set(), set(), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp):
            targets = [n for g in node.generators for n in ast.walk(g.target)]
            outside = {*ast.walk(node.generators[0].iter)}  # evaluated before the loop begins
            for name in {*ast.walk(node)} - outside:
                inside.setdefault(id(name), set()).update(getattr(n, "id", "") for n in targets)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (loops if node.id in inside.get(id(node), ()) else others).add(node.id)
        others |= {getattr(node, "name", None), getattr(node, "asname", None)}
    return loops - others


def program(
    positions: Sequence[int],
    statements: list[Statement],
    givers: Mapping[str, list[int]],
    begin: str = BEGIN,
) -> str:
    """The statements at ``positions`` and all that they need, in the notebook's order.

    What stands below the last of them counts for names alone that have no value yet: cells can run
    in any order.
    """
    position = max(positions)
    wanted, kept = {"*"}, {*positions}
    waiting = {"*"}.union(*(statements[place].uses for place in positions))
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        places = givers.get(name, [])
        above = [place for place in places if place <= position]
        known = name == "*" or hasattr(builtins, name)
        for place in set(above or ([] if known else places)) - kept:
            kept.add(place)
            waiting |= statements[place].uses - wanted
    texts = []
    for cell, places in itertools.groupby(sorted(kept), lambda place: statements[place].cell):
        own = cell == statements[position].cell
        part = [statements[place].text for place in places]
        texts += part if own else _like_a_kernel(part)
    kernel = [KERNEL] if wanted & {"get_ipython", "display", "_await_"} else []
    texts.sort(key=lambda text: not text.startswith("from __future__"))  # these come first
    first = sum(text.startswith("from __future__") for text in texts)
    return "\n".join([*texts[:first], begin, *kernel, *texts[first:]]) + "\n"


def _like_a_kernel(texts: list[str]) -> list[str]:
    """The statements of another cell: an error ends the cell, and the notebook goes on."""
    future = [text for text in texts if text.startswith("from __future__")]
    rest = "\n".join(text for text in texts if text not in future)
    if not rest:
        return future
    tree = ast.parse("try:\n    pass\nexcept Exception:\n    pass")
    tree.body[0].body = ast.parse(rest).body
    try:
        return [*future, ast.unparse(tree)]
    except RecursionError:  # deeper than it can be written
        return [*future, rest]


def givers_of(statements: list[Statement]) -> dict[str, list[int]]:
    """The statements, by number, that bind a name or change what it holds."""
    imported, by_call = set(), {}
    for each in statements:
        if isinstance(each.node, IMPORTS):
            imported |= each.gives
        elif isinstance(each.node, FUNCTIONS):
            inside = (node for part in each.node.body for node in outside_functions(part))
            by_call[each.node.name] = each.by_call | each.uses & _changed(inside, imported, {})
    givers: dict[str, list[int]] = {}
    for place, each in enumerate(statements):
        for name in each.gives | _changed(outside_functions(each.node), imported, by_call):
            givers.setdefault(name, []).append(place)
    return givers


def _changed(
    nodes: Iterable[ast.AST], imported: set[str], by_call: Mapping[str, set[str]]
) -> set[str]:
    """Names whose content changes: `table[k] = v`, `model.scale = 2`, `x.append(y)`, `fill(x)`."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, STORED):
            names.add(_root(node))
        elif isinstance(node, ast.Call) and _root(node) in by_call:
            names |= by_call[_root(node)]
        match node:
            case ast.Expr(ast.Call() as call) | ast.Expr(ast.ListComp(ast.Call() as call)):
                root, function = _root(call), call.func
                if isinstance(function, ast.Name):
                    known = root in by_call
                    names |= {a.id for a in call.args if known and isinstance(a, ast.Name)}
                # a module's settings count; what else it does may train for minutes
                elif root not in imported or getattr(function, "attr", "").startswith("set"):
                    names.add(root)
    return names


def _root(node: ast.AST | None) -> str:
    """`table` in `table[k].rows.append`."""
    while node is not None and not isinstance(node, ast.Name):
        node = getattr(node, "value", None) or getattr(node, "func", None)
    return node.id if isinstance(node, ast.Name) else ""
