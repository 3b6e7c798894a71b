"""Every deck as an audience gets it: built, opened without network, printed.

The sample deck uses every part of the template, so that the template is tested even where no
lesson's deck needs that part.
"""

import re
from pathlib import Path

import nbformat
import pytest
from pypdf import PdfReader

from course_lib.classroom.plots import COLORS
from course_lib.commands import slides
from tests.slides import inspect_deck, sample

LESSONS = sorted(slides.SLIDES.glob("*.ipynb"))
SHOTS = slides.ROOT / "build" / "screenshots" / "slides"
pytestmark = pytest.mark.usefixtures("chromium_path")


@pytest.fixture(scope="module", params=[None, *LESSONS], ids=lambda p: p.stem if p else "sample")
def deck(request, tmp_path_factory) -> Path:
    """Path of the sample's notebook, then of each lesson's deck."""
    if request.param:
        return request.param
    path = tmp_path_factory.mktemp("sample") / "sample.ipynb"
    sample.write(path)
    return path


@pytest.fixture(scope="module")
def built(deck, tmp_path_factory) -> tuple[Path, int, list[str]]:
    """The page, the number of slides, and what the builder found wrong."""
    return slides.build(deck, tmp_path_factory.mktemp("built"))


def shown_maths(deck: Path) -> int:
    """How many formulas the markdown of a deck holds, notes included."""
    cells = nbformat.read(deck, as_version=4).cells
    text = "\n\n".join(
        cell.source
        for cell in cells
        if cell.cell_type == "markdown"
        and cell.metadata.get("slideshow", {}).get("slide_type") != "skip"
    )
    text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    return len(re.findall(r"\$\$.+?\$\$|(?<![\\$])\$[^$]+?\$", text, flags=re.DOTALL))


def test_opens_without_network_and_every_slide_fits(deck, built):
    page, count, problems = built
    report = inspect_deck.inspect(page, SHOTS)
    assert problems + report.problems == []
    assert report.slides == count
    assert report.formulas == shown_maths(deck)


def test_lesson_deck_has_12_to_25_slides(deck, built):
    if deck.stem == "sample":
        pytest.skip("the sample is no lesson")
    assert 12 <= built[1] <= 25


def test_prints_one_page_per_slide(deck, built):
    page, count, _ = built
    printed = PdfReader(slides.print_pdf(page, count)).pages
    assert len(printed) == count
    assert {(int(p.mediabox.width), int(p.mediabox.height)) for p in printed} == {(960, 540)}
    first = nbformat.read(deck, as_version=4).cells
    title = next(c.source for c in first if c.cell_type == "markdown").splitlines()[0]
    plain = re.sub(r"[^\w]+", "", title)
    assert plain in re.sub(r"[^\w]+", "", printed[0].extract_text())
    for number, sheet in enumerate(printed, start=1):
        assert sheet.extract_text().strip(), f"page {number} is empty"


def test_sample_shows_what_it_should(tmp_path):
    notebook = tmp_path / "sample.ipynb"
    sample.write(notebook)
    page, _, _ = slides.build(notebook, tmp_path)
    with inspect_deck.offline_page([]) as tab:
        tab.goto(page.as_uri())
        tab.wait_for_selector("html.ready", state="attached", timeout=60_000)
        text = tab.locator("#slides").evaluate("e => e.textContent")
        assert "Double DQN, three steps" in text, "the value of a cell is shown"
        assert "Figure in words" not in text, "the words of a figure are its alternative text"
        assert "a warning that nobody needs" not in text, "standard error is not shown"
        assert "import torch" not in text, "skipped cells are left out"
        wide = tab.locator(".columns > .column").evaluate_all(
            "e => e.map((c) => c.children.length)"
        )
        assert all(wide), "every column holds what stands between its tags"


def test_speaker_view_follows_the_slides_from_a_file(tmp_path):
    notebook = tmp_path / "sample.ipynb"
    sample.write(notebook)
    page, _, _ = slides.build(notebook, tmp_path)
    problems = []
    with inspect_deck.offline_page(problems) as tab:
        tab.goto(page.as_uri())
        tab.wait_for_selector("html.ready", state="attached", timeout=60_000)
        with tab.expect_popup() as popup:
            tab.keyboard.press("s")
        notes = popup.value.locator(".speaker-controls-notes .value")
        notes.filter(has_text="what a table cannot do").wait_for(timeout=30_000)
        assert notes.locator("mjx-container svg").count() == 1, "the formula is drawn there too"
        tab.keyboard.press("ArrowRight")
        notes.filter(has_text="which of the four would you drop").wait_for(timeout=30_000)
    assert problems == []


def test_notes_print_behind_their_slides(tmp_path):
    deck = tmp_path / "sample.ipynb"
    sample.write(deck)
    page, count, _ = slides.build(deck, tmp_path)
    problems = []
    with inspect_deck.offline_page(problems) as tab:
        tab.goto(f"{page.as_uri()}?print=notes")
        tab.wait_for_selector("html.ready", state="attached", timeout=60_000)
        sheets = tab.evaluate(
            """[...document.querySelectorAll('.slide, .sheet')].map((sheet) =>
               [sheet.className.split(' ')[0], sheet.ariaLabel || sheet.dataset.of,
                sheet.scrollHeight <= sheet.clientHeight])"""
        )
        tab.pdf(path=tmp_path / "notes.pdf", prefer_css_page_size=True)
    names = [f"Slide {number} of {count}" for number in range(1, count + 1)]
    expected = [[kind, name, True] for name in names for kind in ("slide", "sheet")]
    assert sheets == expected and problems == []
    assert len(PdfReader(tmp_path / "notes.pdf").pages) == 2 * count


def test_theme_uses_the_palette_of_the_figures():
    theme = (slides.SLIDES / "template" / "theme.css").read_text(encoding="utf-8").lower()
    assert [colour for colour in COLORS[:6] if colour.lower() not in theme] == []
