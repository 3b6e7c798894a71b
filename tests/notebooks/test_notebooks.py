"""Every stored notebook passes the gate, and its stated figures are the measured ones."""

import json
from pathlib import Path

import pytest

from course_lib.commands.refresh import MEASURED, describe, lessons
from tests.notebooks import gate

ROOT = Path(__file__).parents[2]
LESSONS = lessons()
DECKS = sorted((ROOT / "slides").glob("*.ipynb"))
DOCUMENTS = [ROOT / "README.md", ROOT / "slides" / "README.md"]

each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
each_notebook = pytest.mark.parametrize(
    "path", LESSONS + DECKS, ids=lambda path: f"{path.parent.name}-{path.stem}"
)


@each_notebook
def test_it_is_one_complete_run(path):
    assert gate.not_executed(path) == []


@each_notebook
def test_its_outputs_can_be_compared(path):
    assert gate.unsuitable_outputs(path) == []


@each_notebook
def test_its_figures_have_words(path):
    assert gate.figures_without_words(path) == []


@pytest.mark.parametrize("path", LESSONS + DECKS + DOCUMENTS, ids=lambda path: path.name)
def test_its_links_lead_somewhere(path):
    assert gate.broken_links(path, ROOT) == []


@each_lesson
def test_it_has_the_form_of_a_lesson(path):
    assert gate.broken_form(path) == []


@each_lesson
def test_no_cell_takes_a_name_away_from_a_later_one(path):
    assert gate.rebound_names(path) == []


@each_lesson
def test_the_numbers_beside_a_benchmark_are_its_own(path):
    assert gate.stale_numbers(path, ROOT / "benchmarks" / "results") == []


@each_lesson
def test_it_states_what_was_measured(path):
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    assert path.stem in measured, "run `python -m course_lib refresh`"
    assert f"Measured: {describe(measured[path.stem])}." in path.read_text(encoding="utf-8")
    assert f"| {path.stem} |" in (ROOT / "README.md").read_text(encoding="utf-8")


@each_lesson
def test_it_has_a_deck_unless_it_is_the_tour(path):
    assert path.stem.startswith("00_") or ROOT / "slides" / path.name in DECKS
