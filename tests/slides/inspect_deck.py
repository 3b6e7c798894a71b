"""Open a built deck in Chromium with the network cut and say what an audience would stumble over.

python -m tests.slides.inspect_deck 01_q_learning [--shots build/slides/shots]
"""

import argparse
import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.commands import chromium, slides

# What a slide at 1280 x 720 may hold: content ends above the footer, and text can be read from the
# last row. Code may be smaller than prose; sub- and superscripts are left out.
MEASURE = """
() => {
  const slide = Reveal.getCurrentSlide();
  const scale = Reveal.getScale();
  const frame = slide.getBoundingClientRect();
  const bottom = slide.matches('.title, .section') ? 720 : 720 - 50;
  const problems = [];
  const name = (element) => {
    const text = (element.innerText || element.alt || '').trim().replace(/\\s+/g, ' ').slice(0, 50);
    const label = element.tagName.toLowerCase() + (element.className && element.className.trim
      ? '.' + element.className.trim().split(/\\s+/).join('.') : '');
    return text ? `${label} "${text}"` : label;
  };
  const box = (element) => {
    const b = element.getBoundingClientRect();
    return {left: (b.left - frame.left) / scale, right: (b.right - frame.left) / scale,
            top: (b.top - frame.top) / scale, bottom: (b.bottom - frame.top) / scale,
            width: b.width / scale, height: b.height / scale};
  };
  const outside = (b) => Math.max(b.right - 1280, b.bottom - bottom, -b.left, -b.top);

  const shown = Array.from(slide.querySelectorAll('*')).filter((element) => {
    if (element.closest('aside.notes, .slide-footer, mjx-assistive-mml, style, script')) return false;
    if (element.closest('svg') && element.tagName !== 'svg') return false;
    const b = element.getBoundingClientRect();
    return b.width > 0 && b.height > 0;
  });

  // Only the innermost element that leaves the slide is named: its ancestors leave with it.
  for (const element of shown) {
    const past = outside(box(element));
    const child = Array.from(element.children).some((c) => shown.includes(c) && outside(box(c)) > 1);
    if (past > 1 && !child) problems.push(`${name(element)} leaves the slide by ${past.toFixed(0)} px`);
  }

  // Text that runs out of its own box, such as a long line of code.
  for (const element of shown.filter((e) => e.matches('pre, td, th, p, li, h1, h2, h3'))) {
    const more = element.scrollWidth - element.clientWidth;
    if (more > 2 && getComputedStyle(element).display !== 'inline')
      problems.push(`${name(element)} is ${more} px wider than its box`);
  }

  // Leaves of different cells must not lie on one another.
  const leaves = (cell) => shown.filter((e) => cell.contains(e)
    && e.matches('p, li, pre, img, video, svg, table, h1, h2, h3, blockquote')).map((e) => [e, box(e)]);
  const cells = Array.from(slide.querySelectorAll('.cell')).filter((c) => !c.closest('aside.notes'));
  const content = cells.map(leaves);
  for (let i = 0; i < cells.length; i++) for (let j = i + 1; j < cells.length; j++) {
    const hit = content[i].flatMap(([e, a]) => content[j].filter(([, b]) =>
      Math.min(a.right, b.right) - Math.max(a.left, b.left) > 3
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3).map(([f]) => [e, f]))[0];
    if (hit) problems.push(`${name(hit[0])} and ${name(hit[1])} overlap`);
  }

  // Text too small to read, and figures squeezed by what stands around them.
  for (const element of shown) {
    const own = Array.from(element.childNodes).some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || element.closest('sub, sup, svg')) continue;
    const size = parseFloat(getComputedStyle(element).fontSize);
    const least = element.closest('pre, code') ? 18 : 24;
    if (size < least - 0.01)
      problems.push(`${name(element)} is set at ${size.toFixed(0)} px, the least is ${least} px`);
  }
  for (const image of shown.filter((e) => e.matches('.output-image img'))) {
    const {width, height} = box(image);
    const drawn = Math.min(height, width * image.naturalHeight / image.naturalWidth);
    if (drawn < 150) problems.push(`${name(image)} is only ${drawn.toFixed(0)} px high`);
    if (!image.alt.trim()) problems.push(`${name(image)} has no alternative text`);
  }

  // Formulas: every one is a drawing, none is an error, no delimiter is left in the text.
  for (const math of slide.querySelectorAll('mjx-container'))
    if (!math.querySelector('svg')) problems.push('a formula was not drawn');
  for (const error of slide.querySelectorAll('mjx-merror, [data-mjx-error], g[data-mml-node=merror]'))
    problems.push(`a formula has an error: ${error.dataset.mjxError || error.textContent}`);
  for (const element of [...shown, ...slide.querySelectorAll('aside.notes *')])
    if (!element.closest('pre, code, mjx-container'))
      for (const node of element.childNodes)
        if (node.nodeType === 3 && /\\$|\\\\\\(|\\\\\\[/.test(node.data))
          problems.push(`raw maths is left: "${node.data.trim().slice(0, 60)}"`);

  const notes = Array.from(slide.querySelectorAll('aside.notes')).map((n) => n.textContent).join('');
  if (!notes.trim()) problems.push('has no speaker notes');
  return [...new Set(problems)];
}
"""
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
        report.slides = tab.evaluate("Reveal.getTotalSlides()")
        report.formulas = tab.locator("mjx-container svg").count()
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
