"""The reader's way: from lesson to lesson, to the slides, to the glossary, and how long it takes."""

import re

import nbformat
import pytest

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
