"""`python -m course_lib slides`: what it says and how it exits when something is wrong."""

import pytest
from nbformat import write
from nbformat.v4 import new_notebook, new_output

from course_lib.commands import chromium, slides
from tests.slides import sample
from tests.slides.sample import code, markdown


@pytest.fixture
def deck(tmp_path):
    path = tmp_path / "deck.ipynb"
    sample.write(path)
    return path


def stored(tmp_path, *cells):
    path = tmp_path / "deck.ipynb"
    write(new_notebook(cells=cells), path)
    return path


def run(path, *options):
    return slides.main([str(path), "--out", str(path.parent / "out"), *options])


def test_builds_one_page_and_exits_0(deck, capsys):
    assert run(deck) == 0
    assert "9 slides" in capsys.readouterr().out
    page = (deck.parent / "out" / "deck.html").read_text(encoding="utf-8")
    assert "<title>Lesson 00 · A sample of everything</title>" in page


def test_unknown_deck_exits_2_with_a_sentence(capsys):
    assert slides.main(["77_unknown"]) == 2
    assert "slides: there is no deck '77_unknown'; there are:" in capsys.readouterr().err


def test_a_file_that_is_no_notebook_exits_2(tmp_path, capsys):
    path = tmp_path / "deck.ipynb"
    path.write_text("not JSON")
    assert run(path) == 2
    assert f"{path} is not a notebook" in capsys.readouterr().err


def test_an_empty_notebook_exits_2(tmp_path, capsys):
    assert run(stored(tmp_path)) == 2
    assert "no cell that is shown" in capsys.readouterr().err


def test_pdf_without_chromium_exits_2_with_the_mend(deck, capsys, monkeypatch):
    monkeypatch.setattr(chromium, "find", lambda: None)
    assert run(deck, "--pdf") == 2
    assert "no Chromium found: install Chromium" in capsys.readouterr().err


def test_a_chromium_that_is_named_but_missing_is_not_replaced(monkeypatch):
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    assert chromium.find() is None


def test_a_deck_that_cannot_be_written_exits_2(deck, capsys):
    (deck.parent / "out").write_text("a file where the folder should be")
    assert run(deck) == 2
    assert capsys.readouterr().err.startswith("slides: ")


FAULTS = {
    "slide 1 has no speaker notes": [markdown("# Title", "slide")],
    "has a cell that was not executed: 'x = 1'": [
        code("x = 1", "slide", execution_count=None),
        markdown("Say it.", "notes"),
    ],
    "shows an error: ValueError: no": [
        code("f()", "slide", outputs=[new_output("error", ename="ValueError", evalue="no")]),
        markdown("Say it.", "notes"),
    ],
    "has a figure without alternative text or caption": [
        code("plot()", "slide", outputs=[sample.picture(3, 2)]),
        markdown("Say it.", "notes"),
    ],
    "without alternative text": [
        markdown("![](curve.png)", "slide"),
        markdown("Say it.", "notes"),
    ],
    "shows missing.png: no such file": [
        markdown("![a curve](missing.png)", "slide"),
        markdown("Say it.", "notes"),
    ],
    'has a cell of slide type "-"': [
        markdown("# Title", "slide"),
        markdown("Text.", "-"),
        markdown("Say it.", "notes"),
    ],
    "a widget without a static picture": [
        code(
            "slider",
            "slide",
            outputs=[new_output("display_data", data={slides.WIDGET: {}, "text/plain": "slider"})],
        ),
        markdown("Say it.", "notes"),
    ],
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_a_broken_convention_exits_1_and_is_named(sentence, tmp_path, capsys):
    assert run(stored(tmp_path, *FAULTS[sentence])) == 1
    assert sentence in capsys.readouterr().err
