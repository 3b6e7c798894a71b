"""Lesson 12's dream in the browser: fifty keys played inside it, each one timed; its buttons."""

import json
import re
import statistics

import pytest

from tests.browser.lab import SHOTS, Notebook

WIDGET = "play(play_model()"
PIXELS = "(canvas) => canvas.toDataURL()"
PLACES = re.compile(r"paddle at row 9, column (\d).*ball at row \d, column (\d)")


@pytest.fixture(scope="module")
def console(page) -> list[str]:
    """What went wrong in the page, from its start on."""
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
    page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    return said


@pytest.fixture(scope="module")
def lesson(page, server, console) -> Notebook:
    notebook = Notebook(page, server, "notebooks/12_transformer_world_model.ipynb")
    notebook.run_short([WIDGET], {})
    assert notebook.errors() == []
    return notebook


def follow(label: str) -> str:
    """The key that brings the paddle under the ball, by what a screen reader is told."""
    found = PLACES.search(label)
    paddle, ball = map(int, found.groups()) if found else (0, 0)
    return "s" if ball == paddle else "ArrowLeft" if ball < paddle else "ArrowRight"


def test_fifty_keys_inside_the_dream(lesson, console):
    cell = lesson.cell(lesson.find(WIDGET))
    box = cell.locator(".dream").first
    dream, real = box.locator("canvas").nth(1), box.locator("canvas").nth(0)
    box.wait_for(timeout=20_000)
    before = len(console)
    box.focus()
    seen = {name: {canvas.evaluate(PIXELS)} for name, canvas in (("dream", dream), ("real", real))}
    for number in range(50):
        lesson.page.keyboard.press(follow(dream.get_attribute("aria-label")))
        # The next key only when the frame is there: each one is timed alone.
        lesson.page.wait_for_function(
            "([box, count]) => JSON.parse(box.dataset.delays || '[]').length >= count",
            arg=[box.element_handle(), number + 1],
            timeout=10_000,
        )
        seen["dream"].add(dream.evaluate(PIXELS))
        seen["real"].add(real.evaluate(PIXELS))
    lesson.shoot("12_dream")
    box.screenshot(path=SHOTS / "12_dream_widget.png")
    delays = json.loads(box.get_attribute("data-delays"))
    median = statistics.median(delays)
    print(
        f"\nkey press to new frame: median {median:.0f} ms of {len(delays)}, most {max(delays):.0f}"
    )
    assert len(delays) == 50 and median <= 100
    assert len(seen["dream"]) >= 20 and len(seen["real"]) >= 20, "the frames must change"
    assert console[before:] == []
    assert "dreamed frames" in box.locator(".dream-status").inner_text()
    label = dream.get_attribute("aria-label")
    assert label.startswith("dream: ") and "paddle" in label
    assert 0.0 < box.locator("meter").evaluate("meter => meter.value") <= 1.0


def test_buttons_play_too_and_the_focus_is_not_lost(lesson):
    box = lesson.cell(lesson.find(WIDGET)).locator(".dream").first
    box.get_by_role("button", name="begin anew from another state").click()
    steps = lambda: int(box.get_attribute("data-steps"))  # noqa: E731
    box.locator(".dream-status", has_text="Both start").wait_for(timeout=10_000)
    assert steps() == 0
    box.get_by_role("button", name="one step: stay").click()
    lesson.page.wait_for_function("(box) => box.dataset.steps === '1'", arg=box.element_handle())
    lesson.page.keyboard.press("ArrowLeft")  # the focus stayed inside
    lesson.page.wait_for_function("(box) => box.dataset.steps === '2'", arg=box.element_handle())
    lesson.page.keyboard.press("c")
    pressed = box.get_by_role("button", name="with chance, or without")
    lesson.page.wait_for_function("(box) => box.dataset.steps === '0'", arg=box.element_handle())
    assert pressed.get_attribute("aria-pressed") == "true"
    lesson.page.keyboard.press("g")  # on its own, then stop
    lesson.page.wait_for_function("(box) => +box.dataset.steps >= 2", arg=box.element_handle())
    lesson.page.keyboard.press("g")
    lesson.shoot("12_by_chance")
