"""What the classroom prints can be read in the light and in the dark theme of JupyterLab."""

import re

import pytest

from course_lib.classroom import cards, quiz, style
from course_lib.classroom.check import Verdict

THEMES = ("#ffffff", "#111111", "#212121")  # JupyterLab's light and dark layout-color0 and 1


def luminance(colour):
    """Relative luminance of "#rrggbb" (WCAG 2)."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def question():
    return quiz("a.1", "Why?", {"this": "Yes.", "that": "No."}, right="A")


@pytest.fixture
def printed(monkeypatch):
    """The HTML of every kind of card and of a quiz."""
    pages = [question().as_html()]
    monkeypatch.setattr(cards, "_emit", lambda plain, rich: pages.append(rich))
    for status in ("right", "wrong", "not attempted"):
        cards.show_verdict("a.b", Verdict(status), uses_own=False)
    cards.show_hint("a.b", 1, 2, "Look.")
    cards.show_progress([])
    cards.show_progress([(f"a.{s}", s, 1, 0) for s in cards.LOOKS])
    return pages


def test_text_in_colour_reaches_four_and_a_half(printed):
    found = 0
    for look in re.findall("style=['\"]([^'\"]*)", "".join(printed)):
        colours = dict(re.findall(r"(?<![\w-])(color|background): ?(#\w+)", look))
        if text := colours.get("color"):
            behind = [colours["background"]] if "background" in colours else THEMES
            assert all(contrast(text, each) >= 4.5 for each in behind), look
            found += 1
        for border in re.findall(r"border[^:]*:[^;]*?(#\w{6})", look):
            assert all(contrast(border, each) >= 3 for each in THEMES), look
    assert found >= 2 + 5 + len(cards.LOOKS)


def test_a_clicked_button_can_be_read():
    buttons = [row.children[0] for row in question().widget().children[1:3]]
    for button in buttons:
        button.click()
        assert contrast(button.style.text_color, button.style.button_color) >= 4.5
    assert [button.description for button in buttons] == ["A ✓", "B ✗"]


def test_the_words_in_figures_can_be_read():
    for ink in (style.INK, style.GREY):  # figures are white in every theme
        assert contrast(ink, "#ffffff") >= 4.5
