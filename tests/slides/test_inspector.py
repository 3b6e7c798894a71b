"""The inspector must bite: each fault that it promises to find is planted in a deck of its own."""

import pytest
from nbformat import write
from nbformat.v4 import new_notebook

from course_lib.commands import slides
from tests.slides.inspect_deck import inspect
from tests.slides.sample import code, markdown, picture

pytestmark = pytest.mark.usefixtures("chromium_path")
LONG = "A line of text that fills a good part of the slide, and then there is still more to come."

FAULTS = {
    "leaves the slide": markdown("\n\n".join([LONG] * 12)),
    "wider than its box": markdown("```python\n" + "x = 1  # wide " * 20 + "\n```"),
    "asks the network": markdown("![a picture](http://example.org/picture.png)"),
    "a formula has an error": markdown(r"$\notacommand{x}$"),
    "raw maths is left": markdown("<p>price: \\$ 5 and $x</p>"),
    "the least is 24 px": markdown('<p style="font-size: 15px">small print</p>'),
    "script error": markdown("<script>throw new Error('broken')</script>"),
    "console error": markdown("<script>console.error('broken')</script>"),
    "shows nothing": code("x = 1"),
    "px high": code("plot()", outputs=[picture(40, 1)], alt="a thin figure"),
    "overlap": markdown('<p style="margin-top: -90px">Text on top of the title.</p>'),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, list[str]]:
    """The problems that the inspector reports, per slide of a deck with one fault per slide."""
    cells = []
    for _, fault in FAULTS.items():
        cells += [markdown("## A slide with a fault", "slide"), fault, markdown("Say it.", "notes")]
    folder = tmp_path_factory.mktemp("faults")
    notebook = folder / "faults.ipynb"
    write(new_notebook(cells=cells, metadata={"title": "Faults"}), notebook)
    page, _, _ = slides.build(notebook, folder)
    problems = inspect(page).problems
    per_slide = {
        name: [line for line in problems if line.startswith(f"slide {number}:")]
        for number, name in enumerate(FAULTS, start=1)
    }
    return per_slide | {"page": [line for line in problems if not line.startswith("slide ")]}


@pytest.mark.parametrize("name", FAULTS)
def test_finds(name, found):
    of_the_page = name in ("asks the network", "script error", "console error")
    lines = found["page" if of_the_page else name]
    assert any(name in line for line in lines), lines
