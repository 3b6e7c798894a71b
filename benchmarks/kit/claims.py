"""Do a notebook's claims hold for other seeds, too? Each notebook again, with every seed moved.

A notebook states what its run must show by `evaluation.claim`, which stops it where the run does
not. A claim that one lucky seed supports would fail on a reader's machine. So the notebooks run
here with other seeds: a number written as a seed in a cell (`seed=0` in a call or a definition,
`manual_seed(1)`) grows by `STEP` times the number of the run, and claims are noted, not enforced.
Exercises stay untouched.

It takes hours (ten runs of each notebook, a minute or two each). Finished runs are kept under
``build``, in another folder as soon as the code changes; an interrupted measurement goes on.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import tempfile
from collections import defaultdict
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient

from benchmarks.harness import ROOT, Goal
from benchmarks.kit.notebooks import copy_companions

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SEEDS = range(10)  # 0: as the notebook is
STEP = 20_000  # beyond every seed that a notebook uses, so that no two runs share one
SHARE = 0.95  # of ten seeds: all
NOTE_CLAIMS = """
import json
from course_lib import evaluation
enforce = evaluation.claim
def claim(sentence, measured, comparison, goal):
    try:
        enforce(sentence, measured, comparison, goal)
        holds = True
    except AssertionError:
        holds = False
    with open("claims.jsonl", "a") as file:
        file.write(json.dumps([sentence, float(measured), comparison, goal, holds]) + "\\n")
evaluation.claim = claim
"""


class _Shift(ast.NodeTransformer):
    """Add ``by`` to every literal seed."""

    def __init__(self, by: int):
        self.by = by

    def _moved(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return ast.Constant(node.value + self.by)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        arguments, defaults = node.args.args, node.args.defaults
        named = arguments[len(arguments) - len(defaults) :]
        node.args.defaults = [
            self._moved(default) if argument.arg == "seed" else default
            for argument, default in zip(named, defaults, strict=True)
        ]
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        for keyword in node.keywords:
            if keyword.arg == "seed":
                keyword.value = self._moved(keyword.value)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "manual_seed":
            node.args = [self._moved(arg) for arg in node.args]
        return node


def shifted(source: str, by: int) -> str:
    """The code of a cell with its seeds moved; without its comments."""
    return ast.unparse(_Shift(by).visit(ast.parse(source)))


def claims(path: Path, seed: int) -> list[list]:
    """Run one notebook; each claim as [sentence, measured, comparison, goal, holds]."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = shifted(cell.source, seed * STEP)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(NOTE_CLAIMS))
    with tempfile.TemporaryDirectory() as folder:
        copy_companions(Path(folder))
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=2400, resources=resources).execute()
        noted = Path(folder) / "claims.jsonl"
        lines = noted.read_text(encoding="utf-8").splitlines() if noted.exists() else []
    return [json.loads(line) for line in lines]


def kept(path: Path, seed: int) -> list[list]:
    """``claims``, from the folder of finished runs where they are there already."""
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(shifted(cell.source, STEP) for cell in cells if cell.cell_type == "code")
    name = f"{path.stem}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    file = ROOT / "build" / "claims" / name / f"{seed}.json"
    if not file.exists():
        found = claims(path, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found), encoding="utf-8")
        print(f"{path.stem}, run {seed}: {sum(row[-1] for row in found)} of {len(found)} hold")
    return json.loads(file.read_text(encoding="utf-8"))


def measure(quick: bool) -> dict:
    paths, seeds = (NOTEBOOKS[:1], SEEDS[:3]) if quick else (NOTEBOOKS, SEEDS)
    runs = []
    for seed in seeds:
        for path in paths:
            runs += [
                dict(zip(("notebook", "seed", "claim"), (path.stem, seed, sentence), strict=True))
                | {"measured": measured, "goal": f"{comparison} {goal:g}", "holds": holds}
                for sentence, measured, comparison, goal, holds in kept(path, seed)
            ]
    return {"seeds": list(seeds), "runs": runs}


def margin(runs: list[dict]) -> float:
    """How far the runs of one claim are from its threshold on average, in standard deviations.

    A few runs tell it before the share of those that hold does: beyond 1.64, 19 of 20 would hold
    if what is measured were normally distributed.
    """
    values = [run["measured"] for run in runs]
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    distance = abs(np.mean(values) - float(runs[0]["goal"].split()[-1]))
    return float(distance / spread) if spread > 0 else math.inf


def judge(result: dict) -> list[Goal]:
    goals = []
    held: dict[str, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for run in result["runs"]:
        held[run["notebook"]][f"{run['claim']} {run['goal']}"].append(run)
    for notebook, rows in sorted(held.items()):
        shares = {claim: np.mean([run["holds"] for run in runs]) for claim, runs in rows.items()}
        weak = [f"{claim}: {share:.0%}" for claim, share in shares.items() if share < SHARE]
        seeds = len({run["seed"] for runs in rows.values() for run in runs})
        always = sum(share == 1 for share in shares.values())
        margins = {claim: margin(runs) for claim, runs in rows.items()}
        closest = min(margins, key=margins.get)
        goals.append(
            Goal(
                f"{notebook}: claims that hold",
                f"each on {SHARE:.0%} of the seeds",
                f"{seeds} seeds, {len(shares)} claims, {always} of them on every seed"
                + (f"; less often: {'; '.join(weak)}" if weak else "")
                + f"; the closest by {margins[closest]:.1f} standard deviations: {closest}",
                not weak,
            )
        )
    return goals
