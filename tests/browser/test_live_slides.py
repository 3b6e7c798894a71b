"""A deck presented inside JupyterLab, as slides/README.md says."""

from importlib.util import find_spec

import pytest

from tests.browser.lab import Notebook, serve
from tests.slides import sample

pytestmark = pytest.mark.skipif(
    find_spec("jupyterlab_slideshow") is None,
    reason="live slides need the extra: python -m pip install -e .[slides]",
)


@pytest.fixture
def server(chromium_path, tmp_path):
    """A server of its own: JupyterLab remembers, for all notebooks, that a deck was running."""
    with serve(tmp_path) as server:
        yield server


def test_palette_starts_a_deck_and_keys_turn_its_slides(page, server):
    sample.write(server.folder / "sample.ipynb")
    deck = Notebook(page, server, "sample.ipynb")
    page.keyboard.press("Control+Shift+C")
    page.locator(".lm-CommandPalette-input").fill("start deck")
    page.locator(".lm-CommandPalette-item").filter(has_text="Start Deck").click()
    title = page.get_by_role("heading", name="From table to network")
    title.wait_for(timeout=20_000)
    assert page.get_by_role("paragraph").filter(has_text="Lesson 00 · Sample deck").is_visible()
    notes = page.get_by_role("paragraph").filter(has_text="what a table cannot do")
    assert not notes.is_visible(), "notes are not shown"
    page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name="Four tricks keep the target still").wait_for(timeout=10_000)
    title.wait_for(state="hidden", timeout=10_000)
    target = page.get_by_role("heading", name="The target bootstraps")
    for _ in range(6):  # slides and their steps
        if not target.is_visible():
            page.keyboard.press("ArrowRight")
            page.wait_for_timeout(700)
    page.get_by_text("A terminal state has no future").first.wait_for(timeout=10_000)
    deck.shoot("live_deck")
    page.keyboard.press("Escape")
    deck.wait_idle(20)  # the status bar is back
