"""Open a built deck in Chromium with the network cut and say what an audience would stumble over.

python -m tests.slides.inspect_deck 01_q_learning [--shots build/slides/shots]
"""

import argparse
import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.commands import chromium, slides

MEASURE = Path(__file__).with_name("inspect.js").read_text(encoding="utf-8")
LAST_STEP = """
(index) => {
  Reveal.slide(index);
  while (Reveal.availableFragments().next) Reveal.nextFragment();
}
"""


@dataclass
class Report:
    """What was seen in one deck."""

    slides: int = 0
    formulas: int = 0
    problems: list[str] = field(default_factory=list)


@contextlib.contextmanager
def offline_page(problems: list[str]):
    """A Chromium tab of 1280 x 720 without network; requests and errors go into `problems`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=chromium.flags())
        context = browser.new_context(viewport={"width": 1280, "height": 720})
        context.set_offline(True)

        def only_local(route) -> None:
            if route.request.url.startswith(("file:", "data:", "blob:")):
                route.continue_()
            else:
                problems.append(f"asks the network for {route.request.url}")
                route.abort()

        context.route("**/*", only_local)
        tab = context.new_page()
        tab.on("requestfailed", lambda request: problems.append(f"request failed: {request.url}"))
        tab.on("pageerror", lambda error: problems.append(f"script error: {error}"))
        tab.on(
            "console",
            lambda message: (
                message.type == "error" and problems.append(f"console error: {message.text}")
            ),
        )
        yield tab
        browser.close()


def inspect(page: Path, shots: Path | None = None) -> Report:
    """Go through every slide of a built deck, each at its last step; picture them into `shots`."""
    report = Report()
    with offline_page(report.problems) as tab:
        tab.goto(page.resolve().as_uri())
        tab.wait_for_selector("html.ready", state="attached", timeout=60_000)
        tab.add_style_tag(content="* {transition: none !important}")  # measure no half-faded step
        report.slides = tab.evaluate("Reveal.getTotalSlides()")
        report.formulas = tab.locator("mjx-container > svg").count()
        for index in range(report.slides):
            tab.evaluate(LAST_STEP, index)
            found = tab.evaluate(MEASURE)
            report.problems += [f"slide {index + 1}: {line}" for line in found]
            if shots:
                shots.mkdir(parents=True, exist_ok=True)
                tab.screenshot(path=shots / f"{page.stem}-{index + 1:02d}.png")
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="decks (default: all)")
    parser.add_argument("--shots", type=Path, help="folder for a picture of each slide")
    args = parser.parse_args()
    bad = 0
    for deck in slides.find_decks(args.names):
        page, _, problems = slides.build(deck, slides.ROOT / "build" / "slides")
        report = inspect(page, args.shots)
        print(f"{deck.name}: {report.slides} slides, {report.formulas} formulas")
        for line in problems + report.problems:
            print(f"  {line}")
        bad += len(problems + report.problems)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
