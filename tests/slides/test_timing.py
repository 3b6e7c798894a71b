"""The timing plans of slides/README.md: minutes add up, slides, sections and exercises exist."""

import re
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

from course_lib.commands.slides import _split
from course_lib.lessons import exercises_of

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
PAGE = (ROOT / "slides" / "README.md").read_text(encoding="utf-8")
TIMING = PAGE.split("<!-- timing -->")[1].split("<!-- /timing -->")[0]
SECTION = re.compile(r"^### (.+)\n((?:.|\n)*?)(?=^### |\Z)", re.MULTILINE)
PLANS = {name[:2]: text for name, text in SECTION.findall(TIMING)}

each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


class Row(NamedTuple):
    """One row of a plan."""

    slides: range
    sections: list[str]
    exercises: list[str]
    minutes: dict[str, int]  # by plan; 0 where it leaves the row out


def rows(path: Path) -> list[Row]:
    found = []
    for line in PLANS[path.stem[:2]].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or cells[0] == "what" or cells[0].startswith("---"):
            continue
        _, slides, notebook, short, long = cells
        first, _, last = slides.partition("–")
        shown = range(int(first), int(last or first) + 1) if first else range(0)
        minutes = {"50": 0 if short == "–" else int(short), "90": 0 if long == "–" else int(long)}
        names = re.findall(r"`(\w+)`", notebook)
        found.append(Row(shown, re.findall(r"\*([^*]+)\*", notebook), names, minutes))
    return found


def at_home(path: Path) -> list[str]:
    text = " ".join(PLANS[path.stem[:2]].split())
    after = re.search(r"At home: (.+?)\.", text)
    return re.findall(r"`(\w+)`", after[1]) if after else []


def minutes_of_slides(path: Path) -> list[int]:
    """What the speaker notes give each slide of a lesson's deck; 0 where they name no minutes."""
    deck = ROOT / "slides" / path.name
    slides = _split(nbformat.read(deck, as_version=4).cells) if deck.exists() else []
    found = (re.search(r"\*\*(\d+) min", slide[-1].source) for slide in slides)
    return [int(minutes[1]) if minutes else 0 for minutes in found]


@each_lesson
def test_it_has_two_plans_whose_minutes_add_up(path):
    for plan in ("50", "90"):
        assert sum(row.minutes[plan] for row in rows(path)) == int(plan)
    assert all(any(row.minutes.values()) for row in rows(path))


@each_lesson
def test_the_slides_are_those_of_the_deck_each_once_and_in_order(path):
    shown = [number for row in rows(path) for number in row.slides]
    assert shown == list(range(1, len(minutes_of_slides(path)) + 1))


@each_lesson
def test_the_slides_get_the_minutes_that_their_notes_ask_for(path):
    """A plan may be a quarter shorter; where it shows something live it is longer."""
    asked = minutes_of_slides(path)
    for row in rows(path):
        needed = sum(asked[number - 1] for number in row.slides)
        assert all(0.75 * needed <= minutes for minutes in row.minutes.values() if minutes), row


@each_lesson
def test_the_sections_are_those_of_the_notebook(path):
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    headings = {line.lstrip("# ") for line in text.splitlines() if line.startswith("#")}
    for row in rows(path):
        assert {*row.sections} <= headings
    note = PLANS[path.stem[:2]].rsplit("|\n", 1)[1]
    assert {*re.findall(r"\*([^*]+)\*", " ".join(note.split()))} <= headings


@each_lesson
def test_every_exercise_has_its_place_in_class_or_at_home(path):
    planned = [name for row in rows(path) for name in row.exercises] + at_home(path)
    assert sorted(planned) == sorted(exercises_of(path.stem[3:]))


@each_lesson
def test_the_class_does_something_itself_in_either_plan(path):
    for plan in ("50", "90"):
        assert any(row.exercises and row.minutes[plan] for row in rows(path))


def test_every_lesson_has_its_plan():
    assert {path.stem[:2] for path in LESSONS} <= {*PLANS}
