"""The gate in front of the notebooks: each check takes a path and returns a list of complaints.

Strict nbval compares outputs; it passes a cell that was never executed, knows nothing of links,
and never looks at a figure. These checks do.
"""

import ast
import json
import re
from pathlib import Path
from urllib.parse import unquote

import nbformat

from course_lib.classroom.grade.program import outside_functions

LARGEST_MB = 3
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)>\s]+)>?[^)]*\)")
BENCHMARK = re.compile(r"python -m benchmarks (\w+)")
MEASURED_NUMBER = re.compile(r"(?<![\d.])\d\.\d{2,3}(?!\d|\.\d)")
IMAGE_WITHOUT_WORDS = re.compile(r"!\[\s*\]\(|<img(?![^>]*\balt=[\"'][^\"'])")


def not_executed(path: Path) -> list[str]:
    """Cells that do not belong to one complete run from top to bottom, and stored errors."""
    code = _code_cells(path)
    counts = [cell.execution_count for cell in code]
    complaints = []
    if counts != list(range(1, len(code) + 1)):
        complaints.append(f"not one run from top to bottom: execution counts {counts}")
    for number, cell in enumerate(code, 1):
        if any(output.output_type == "error" for output in cell.outputs):
            complaints.append(f"code cell {number} stores an error")
    return complaints


def unsuitable_outputs(path: Path) -> list[str]:
    """Outputs that nbval cannot compare (SVG, script animations), and files grown too large."""
    complaints = []
    megabytes = path.stat().st_size / 1e6
    if megabytes > LARGEST_MB:
        complaints.append(f"{megabytes:.1f} MB, more than {LARGEST_MB} MB")
    for number, cell in enumerate(_code_cells(path), 1):
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/svg+xml" in data:
                complaints.append(f"code cell {number} stores an SVG figure")
            if "_animation" in data.get("text/html", "") and "<script" in data["text/html"]:
                complaints.append(f"code cell {number} stores a script animation")
    return complaints


def stale_numbers(path: Path, results: Path) -> list[str]:
    """Numbers with two or three decimals in a paragraph that names a benchmark, if not its own."""
    complaints = []
    for cell in nbformat.read(path, as_version=4).cells:
        for paragraph in cell.source.split("\n\n") if cell.cell_type == "markdown" else ():
            names = BENCHMARK.findall(paragraph)
            stored = [results / f"{name}.json" for name in names]
            goals = [g for file in stored for g in json.loads(file.read_text("utf-8"))["goals"]]
            own = {n for goal in goals for n in MEASURED_NUMBER.findall(goal["measured"])}
            for number in MEASURED_NUMBER.findall(paragraph) if names else ():
                if number not in own:
                    complaints.append(f"{number} is not among the results of {', '.join(names)}")
    return complaints


def broken_links(path: Path, root: Path) -> list[str]:
    """Relative links of a notebook or Markdown file that lead nowhere, anchors included."""
    complaints = []
    for target in LINK.findall(_prose(path)):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):  # another scheme: not ours to check
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / unquote(file)).resolve() if file else path
        if not there.exists():
            complaints.append(f"link to {target}: there is no such file")
        elif root.resolve() not in there.resolve().parents and there.resolve() != root.resolve():
            complaints.append(f"link to {target} leaves the repository")
        elif anchor and unquote(anchor).lower() not in _anchors(there):
            complaints.append(f"link to {target}: there is no such heading")
    return complaints


def figures_without_words(path: Path) -> list[str]:
    """Figures that somebody who cannot see them learns nothing from."""
    complaints = []
    if IMAGE_WITHOUT_WORDS.search(_prose(path)):
        complaints.append("a picture in the text has no alt text")
    for number, cell in enumerate(_code_cells(path), 1):
        for output in cell.outputs:
            if not {"image/png", "image/jpeg"} & output.get("data", {}).keys():
                continue
            alt = output.metadata.get("image/png", {}).get("alt", "")
            words = output.data.get("text/plain", "")
            if not alt.strip() and (not words.strip() or words.startswith("<")):
                complaints.append(f"code cell {number}: a figure without alt text or words")
    return complaints


def broken_form(path: Path) -> list[str]:
    """What every lesson has: a promise with its measurements, exercises, a quiz, references."""
    notebook = nbformat.read(path, as_version=4)
    first = notebook.cells[0]
    text = "\n".join(cell.source for cell in notebook.cells)
    complaints = []
    if first.cell_type != "markdown" or not first.source.startswith("# "):
        complaints.append("the first cell is not a title with the promise")
    if not re.search(r"<!-- measured -->\nMeasured: .+\n<!-- /measured -->", first.source):
        complaints.append("the promise does not state the measured run time and memory")
    if "urther reading" not in text or "What we learned" not in text:
        complaints.append("it does not end with what we learned and further reading")
    if "quiz(" not in text:
        complaints.append("it has no quiz")
    if not re.match(r"00_", path.name):
        exercises = len(re.findall(r"^@exercise\(", text, re.MULTILINE))
        if exercises < 4:
            complaints.append(f"{exercises} exercises, fewer than 4")
        if not 25 <= len(notebook.cells) <= 50:
            complaints.append(f"{len(notebook.cells)} cells, not 25 to 50")
    long = [n for n, cell in enumerate(_code_cells(path), 1) if cell.source.count("\n") >= 20]
    if long:
        complaints.append(f"code cells {long} have more than 20 lines")
    return complaints


def _code_cells(path: Path) -> list:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def _prose(path: Path) -> str:
    """The Markdown of a file, without what stands in code blocks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return re.sub(r"```.*?```|`[^`\n]+`", "", text, flags=re.DOTALL)


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+)$", _prose(path), re.MULTILINE)
    slugs = set()
    for heading in headings:
        slugs.add(heading.strip().replace(" ", "-").lower())  # JupyterLab
        slugs.add(re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-").lower())  # GitHub
    return slugs


def rebound_names(path: Path) -> list[str]:
    """Functions and imports that a cell gives another value, and a later cell calls as before."""
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    functions: set[str] = set()
    rebound: dict[str, int] = {}
    complaints = []
    for number, source in enumerate(cells, start=1):
        tree = ast.parse(source)
        called = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        complaints += [
            f"code cell {rebound[name]} rebinds {name}, which code cell {number} calls"
            for name in sorted(called & rebound.keys())
        ]
        for node in outside_functions(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                functions.add(node.name)
                rebound.pop(node.name, None)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.asname or alias.name for alias in node.names}
                functions |= names
                for name in names:
                    rebound.pop(name, None)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                rebound |= {node.id: number} if node.id in functions else {}
    return complaints
