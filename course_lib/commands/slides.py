"""Build the slide decks: `python -m course_lib slides [NAMES] [--pdf] [--out build/slides]`.

A deck is an executed notebook (conventions: slides/README.md). It becomes one HTML file that needs
no network, and with --pdf also a PDF of one page per slide. Nothing is executed here.
"""

import argparse
import base64
import mimetypes
import re
import sys
from pathlib import Path

from course_lib.commands import chromium

ROOT = Path(__file__).resolve().parents[2]
SLIDES = ROOT / "slides"
SIDES = {"left": "left", "wide-left": "left", "right": "right", "wide-right": "right"}
STYLES = ("small", "caption", "center")
WIDGET = "application/vnd.jupyter.widget-view+json"
IMAGES = ("image/png", "image/jpeg")
# What `plots.show` adds below a figure in a notebook; a deck has the words as alternative text.
WORDS = "<details><summary>Figure in words"
# The address of a picture in markdown: ![words](address) or <img src="address">.
ADDRESS = re.compile(r"""(!\[[^\]]*\]\(|<img\b[^>]*?\bsrc=["'])([^)"'\s]+)""")
INSTALL = "install what drives a browser: python -m pip install -e .[browser]"


def main(argv: list[str] | None = None) -> int:
    """Build decks; return 0, 1 if a deck breaks a convention, 2 if the command cannot run."""
    parser = argparse.ArgumentParser(prog="python -m course_lib slides", description=__doc__)
    parser.add_argument("names", nargs="*", help="decks, such as 02_dqn (default: all)")
    parser.add_argument("--pdf", action="store_true", help="also print each deck with Chromium")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "slides", help="folder")
    args = parser.parse_args(argv)
    try:
        decks = find_decks(args.names)
        problems = [line for deck in decks for line in _build_and_report(deck, args.out, args.pdf)]
    except (CannotRun, OSError) as error:
        print(f"slides: {error}", file=sys.stderr)
        return 2
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


class CannotRun(Exception):
    """Says in a sentence why the command cannot go on."""


def find_decks(names: list[str]) -> list[Path]:
    """Paths of the named decks (a name, or a path of a notebook); of all decks without names."""
    known = {path.stem: path for path in sorted(SLIDES.glob("*.ipynb"))}
    if not names:
        if not known:
            raise CannotRun(f"there is no deck in {SLIDES}")
        return list(known.values())
    decks = []
    for name in names:
        path = known.get(name, Path(name))
        if path.suffix != ".ipynb" or not path.is_file():
            raise CannotRun(f"there is no deck {name!r}; there are: {', '.join(known) or 'none'}")
        decks.append(path)
    return decks


def build(deck: Path, out: Path) -> tuple[Path, int, list[str]]:
    """Write `out/NAME.html`; return its path, the number of slides, and what is wrong with it."""
    try:
        import nbformat
        from nbconvert import HTMLExporter
    except ImportError as error:
        raise CannotRun(f"{error.name} is not installed; it comes with JupyterLab") from error
    try:
        notebook = nbformat.read(deck, as_version=4)
    except (ValueError, nbformat.ValidationError) as error:
        raise CannotRun(f"{deck} is not a notebook: {error}") from error
    problems = [f"{deck.name}: {line}" for line in arrange(notebook, deck.parent)]
    count = max(cell.metadata.deck.number for cell in notebook.cells)
    exporter = HTMLExporter(
        template_name=(SLIDES / "template").name,
        extra_template_basedirs=[str(SLIDES)],
        exclude_anchor_links=True,
    )
    resources = {
        "metadata": {"name": deck.stem, "path": str(deck.parent)},
        "deck_title": notebook.metadata.get("title", deck.stem),
        "deck_slides": count,
    }
    page, _ = exporter.from_notebook_node(notebook, resources)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{deck.stem}.html"
    path.write_text(page, encoding="utf-8")
    return path, count, problems


def print_pdf(page: Path, slides: int) -> Path:
    """Print a built deck, one page per slide, into a PDF beside it; return the PDF's path."""
    try:
        from playwright.sync_api import sync_playwright
        from pypdf import PdfReader
    except ImportError as error:
        raise CannotRun(f"{error.name} is not installed; {INSTALL}") from error
    browser_path = chromium.find()
    if browser_path is None:
        raise CannotRun(chromium.MISSING)
    pdf = page.with_suffix(".pdf")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=chromium.flags())
        tab = browser.new_page()
        # `?print` shows every step of every slide; `ready` is set once formulas and figures are.
        tab.goto(f"{page.resolve().as_uri()}?print")
        tab.wait_for_selector("html.ready", state="attached", timeout=120_000)
        tab.pdf(path=pdf, prefer_css_page_size=True, print_background=True, tagged=True)
        browser.close()
    pages = len(PdfReader(pdf).pages)
    if pages != slides:
        raise CannotRun(f"{pdf} has {pages} pages for {slides} slides: a slide does not fit")
    return pdf


def arrange(notebook, folder: Path) -> list[str]:
    """Write `metadata.deck` into each cell for the template; return what breaks a convention.

    Drops skipped cells, moves the speaker notes of a slide to its end, and puts the pictures that
    markdown names (relative to `folder`) into the text.
    """
    slides = _split(notebook.cells)
    if not slides:
        raise CannotRun("the notebook has no cell that is shown")
    problems = []
    for number, slide in enumerate(slides, start=1):
        problems += [f"slide {number} {line}" for line in _arrange_slide(slide, number)]
    notebook.cells = [cell for slide in slides for cell in slide]
    for cell in notebook.cells:
        problems += _embed_pictures(cell, folder)
    return problems


def _split(cells) -> list[list]:
    """Cells of each slide, speaker notes last."""
    slides = []
    for cell in cells:
        kind = _kind(cell)
        if kind == "skip" or not cell.source.strip():
            continue
        if not slides or kind in ("slide", "subslide"):
            slides.append([])
        slides[-1].append(cell)
    return [sorted(slide, key=lambda cell: _kind(cell) == "notes") for slide in slides]


def _arrange_slide(cells, number: int) -> list[str]:
    problems = []
    fragment, row, last_side = -1, [], None
    styles = ["title"] if number == 1 else []
    if "section" in _tags(cells[0]):
        styles.append("section")
    for index, cell in enumerate(cells):
        tags, kind = _tags(cell), _kind(cell)
        fragment += kind == "fragment"
        has_figure = _describe_figures(cell, cells[index + 1 : index + 2], problems)
        problems += _faults(cell)
        if cell.metadata.get("slideshow", {}).get("slide_type") == "-":
            problems.append('has a cell of slide type "-", which live decks hide: remove the type')
        classes = ["cell", *(tag for tag in STYLES if tag in tags)]
        classes += ["figure"] * has_figure + ["fragment"] * (fragment >= 0 and kind != "notes")
        side = SIDES.get(next((tag for tag in tags if tag in SIDES), ""))
        cell.metadata.deck = {
            "number": number,
            "classes": " ".join(classes),
            "slide_classes": " ".join(styles),
            "fragment": fragment if fragment >= 0 and kind != "notes" else None,
            "show_input": "show-input" in tags,
            "before": [],
            "after": [],
        }
        deck = cell.metadata.deck  # nbformat stores a copy
        # A row of columns ends before a cell of no side, and before a new left after a right.
        if row and (side is None or (side == "left" and last_side == "right")):
            _close(row)
            row = []
        if side and side != last_side and row:
            row[-1].metadata.deck["after"].append("column")
        if side and (not row or side != last_side):
            deck["before"] += ([] if row else ["columns"]) + ["column"]
        if side:
            row.append(cell)
        last_side = side
        if kind == "notes":
            deck["before"].append("notes")
            deck["after"].append("notes")
    if row:
        _close(row)
    cells[0].metadata.deck["before"].insert(0, "slide")
    cells[-1].metadata.deck["after"].append("slide")
    if _kind(cells[-1]) != "notes":
        problems.append("has no speaker notes")
    return problems


def _close(row) -> None:
    """End a row of columns: it grows if a figure is in it, and a side is wide if a cell says so."""
    row[-1].metadata.deck["after"] += ["column", "columns"]
    row[0].metadata.deck["columns_grow"] = any("figure" in c.metadata.deck["classes"] for c in row)
    wide = {SIDES[tag] for cell in row for tag in _tags(cell) if tag.startswith("wide-")}
    for cell in row:
        cell.metadata.deck["column_wide"] = any(SIDES.get(tag) in wide for tag in _tags(cell))


def _describe_figures(cell, following, problems: list[str]) -> bool:
    """Give each picture of a cell its alternative text; return whether the cell has a figure."""
    caption = next((_plain(c.source) for c in following if "caption" in _tags(c)), "")
    if cell.cell_type == "markdown":
        for text, target in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", cell.source):
            if not text.strip():
                problems.append(f"shows the picture {target[:40]} without alternative text")
        return "![" in cell.source or "<img" in cell.source or "<video" in cell.source
    has_figure = False
    for output in cell.get("outputs", []):
        data, metadata = output.get("data", {}), output.get("metadata", {})
        has_figure |= "<img" in data.get("text/html", "") or "<video" in data.get("text/html", "")
        for kind in IMAGES:
            if kind in data:
                has_figure = True
                own = metadata.get(kind, {})
                own = own.get("alt") if isinstance(own, dict) else None
                alt = own or metadata.get("alt") or cell.metadata.get("alt") or caption
                output.metadata["deck_alt"] = alt
                if not alt:
                    problems.append("has a figure without alternative text or caption")
    return has_figure


def _embed_pictures(cell, folder: Path) -> list[str]:
    """Put the files that a markdown cell shows into its source; return which are missing.

    nbconvert's own embed_images closes every HTML tag at the next blank line.
    """
    if cell.cell_type != "markdown":
        return []
    missing = []

    def embed(match: re.Match) -> str:
        start, address = match.groups()
        if address.startswith(("data:", "attachment:")):
            return match[0]
        path = folder / address
        if not path.is_file():
            missing.append(f"slide {cell.metadata.deck.number} shows {address}: no such file")
            return match[0]
        kind = mimetypes.guess_type(path.name)[0] or "image/png"
        return f"{start}data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"

    cell.source = ADDRESS.sub(embed, cell.source)
    return missing


def _faults(cell) -> list[str]:
    """What is wrong with an executed code cell; also takes away what a deck does not show."""
    if cell.cell_type != "code":
        return []
    faults = []
    cell.outputs = [o for o in cell.outputs if WORDS not in o.get("data", {}).get("text/html", "")]
    if cell.execution_count is None:
        faults.append(f"has a cell that was not executed: {cell.source.splitlines()[0][:60]!r}")
    for output in cell.outputs:
        if output.output_type == "error":
            faults.append(f"shows an error: {output.ename}: {output.evalue}")
        data = output.get("data", {})
        if data.pop(WIDGET, None) is not None and set(data) <= {"text/plain"}:
            faults.append("shows a widget without a static picture in the same output")
    return faults


def _build_and_report(deck: Path, out: Path, pdf: bool) -> list[str]:
    page, slides, problems = build(deck, out)
    print(f"{page}  {slides} slides, {page.stat().st_size / 1e6:.1f} MB")
    if pdf:
        printed = print_pdf(page, slides)
        print(f"{printed}  {slides} pages, {printed.stat().st_size / 1e6:.1f} MB")
    return problems


def _kind(cell) -> str:
    return cell.metadata.get("slideshow", {}).get("slide_type", "-")


def _tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def _plain(markdown: str) -> str:
    """Markdown without its marks, for an alternative text."""
    return " ".join(re.sub(r"[*_`#>$]|\]\([^)]*\)|\[", "", markdown).split())
