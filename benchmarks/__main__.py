"""`python -m benchmarks list`, `python -m benchmarks NAME [--quick]`, or `... readme`.

`readme` writes all committed results into benchmarks/README.md and what falls short into README.md,
as each full run does too.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
from pathlib import Path
from types import ModuleType

from benchmarks import harness

HERE = Path(__file__).parent


def names() -> dict[str, str]:
    """Each benchmark and the first line of its docstring, read without importing anything."""
    found = {}
    for name, path in _files().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "measure" for node in tree.body):
            found[name] = (ast.get_docstring(tree) or "").split("\n")[0]
    return found


def load(name: str) -> ModuleType:
    """The module of a benchmark, in whichever folder it lies."""
    return importlib.import_module(f"benchmarks.{_files()[name].parent.name}.{name}")


def _files() -> dict[str, Path]:
    return {path.stem: path for path in sorted(HERE.glob("*/[a-z]*.py"), key=lambda p: p.stem)}


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 if every goal was met, 1 if one fell short, 2 for a name that is not there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", metavar="list|readme|NAME")
    parser.add_argument("--quick", action="store_true", help="fewer seeds, writes nothing")
    options = parser.parse_args(argv)
    known = names()
    if options.name == "list":
        for name, line in known.items():
            print(f"{name:18}{line}")
        return 0
    if options.name == "readme":
        harness.update_readme()
        return 0
    if options.name not in known:
        print(
            f"no benchmark named {options.name!r}; there are: {', '.join(known)}", file=sys.stderr
        )
        return 2
    module = load(options.name)
    met = harness.run(options.name, module.measure, module.judge, options.quick)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
