"""From lesson to lesson, to the slides and the glossary; and how long a lesson takes to study."""

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from benchmarks.kit import study_hours
from course_lib.commands.refresh import NOTEBOOKS, lessons

ROOT = NOTEBOOKS.parent
LINK = re.compile(r"\[([^\]]+)\]\(([^)#]+)(?:#[^)]*)?\)")
BY_NUMBER = {path.stem[:2]: path for path in lessons()}
each_lesson = pytest.mark.parametrize("path", lessons(), ids=lambda path: path.stem)


def links(cell):
    return {target: words for words, target in LINK.findall(cell.source)}


@each_lesson
def test_its_last_line_leads_on(path):
    last = nbformat.read(path, as_version=4).cells[-1]
    assert last.cell_type == "markdown"
    found = links(last)
    wanted = {"glossary.md"}
    if path.stem[:2] != "00":  # the tour has no deck
        wanted.add(f"../slides/{path.name}")
    for step in (-1, 1):
        neighbour = BY_NUMBER.get(f"{int(path.stem[:2]) + step:02}")
        if neighbour:
            wanted.add(neighbour.name)
            assert found.get(neighbour.name, "").startswith(f"{neighbour.stem[:2]} · ")
    assert wanted <= found.keys()
    assert all((path.parent / target).exists() for target in wanted)
    others = {target for target in found if re.match(r"\d\d_", target)}
    assert others <= wanted, "only its neighbours"


@each_lesson
def test_it_points_to_the_glossary_at_its_start(path):
    cells = nbformat.read(path, as_version=4).cells
    start = cells[0] if path.stem[:2] != "00" else cells[1]
    assert "glossary.md" in links(start)


@pytest.mark.parametrize("name", ["README.md", "notebooks/00_start_here.ipynb"])
def test_the_map_lists_every_lesson(name):
    path = ROOT / name
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    targets = {target.rpartition("/")[2] for _, target in LINK.findall(text)}
    assert {each.name for each in lessons()} - {path.name} <= targets
    assert "glossary.md" in targets


def stated(text):
    """Each lesson or group of lessons in a table whose last column are hours, and those hours."""
    for row in text.splitlines():
        found = re.search(r"\| (\d*)(½?) \|$", row)
        names = re.findall(r"(\d\d_\w+)\.ipynb", row)
        if found and names and (found[1] or found[2]):
            yield names, int(found[1] or 0) + 0.5 * bool(found[2])


def test_the_hours_of_study_are_those_of_the_rule():
    """To within half an hour a lesson, so that a changed sentence is not a changed table."""
    rule = {path.stem: sum(study_hours.minutes(path).values()) / 60 for path in lessons()}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tour = nbformat.read(NOTEBOOKS / "00_start_here.ipynb", as_version=4).cells
    tour = "\n".join(cell.source for cell in tour if cell.cell_type == "markdown")
    for text, missing in ((readme, set()), (tour, {"00_start_here"})):
        rows = list(stated(text))
        assert {name for names, _ in rows for name in names} == rule.keys() - missing
        for names, hours in rows:
            assert abs(hours - sum(rule[name] for name in names)) <= 0.5 * len(names), names
    total = int(re.search(r"about (\d+) in all", readme)[1])
    assert abs(total - sum(rule.values())) <= 2


def test_the_rule_counts_what_it_says(tmp_path):
    words = new_markdown_cell("word " * 180 + "$$a = b$$\n\n**With pen and paper.** Why?")
    code = new_code_cell("a = 1\n\nb = 2\n" * 5)
    code.outputs = [nbformat.v4.new_output("display_data", {"image/png": "x", "text/plain": "y"})]
    stub = new_code_cell('@exercise("dqn.td_target")\ndef td_target():\n    ...  # your code here')
    given = new_code_cell('@exercise("dqn.dqn_loss")\ndef dqn_loss():\n    return 1')
    asked = new_code_cell('quiz(\n    "x.1",\n)\nquiz(\n    "x.2",\n)')
    last = new_markdown_cell("### Further reading\n\n" + "book " * 900 + "\n\n### Next\n\nGo on.")
    cells = [words, code, stub, given, asked, last]
    path = tmp_path / "99_small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    found = study_hours.minutes(path)
    lines = study_hours.answer_lines("dqn.td_target")
    assert 1 <= lines <= 10 and found["exercises"] == 10 + lines
    assert found["paper and quiz"] == 15 + 2 and found["machine"] == 0
    assert found["reading"] == pytest.approx(1 + 1 + 1 + 1, abs=0.1)
