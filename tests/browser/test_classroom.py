"""What a learner meets in every lesson, on a small screen: quiz, progress, code, videos."""

import json
import urllib.request

import pytest

from course_lib.classroom import record
from tests.browser import lab
from tests.browser.lab import PANEL, Notebook

ANSWER = "    return sum(gamma**k * r for k, r in enumerate(rewards))"
WIDER = (
    "[...document.querySelectorAll('.jp-CodeCell {}')].map((e) => e.scrollWidth - e.clientWidth)"
)


@pytest.fixture(scope="module")
def server(chromium_path, tmp_path_factory):
    """A server of its own: what is solved here must not be known in other tests."""
    with lab.serve(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="module")
def notebook(page, server):
    page.set_viewport_size({"width": 1024, "height": 768})
    return Notebook(page, server, "notebooks/00_start_here.ipynb")


def test_a_quiz_is_folded_and_shift_enter_runs_it(notebook):
    page = notebook.page
    index = notebook.find('"start_here.1"')
    cell = notebook.cell(index)
    assert cell.locator(".cm-content").count() == 0, "the source names the right answer"
    notebook.run(notebook.find("plots.use_style()"))
    notebook.cell(index)
    page.evaluate(
        f"(index) => {{ const notebook = {PANEL}.content; notebook.deselectAll(); "
        "notebook.activeCellIndex = index; notebook.mode = 'command'; notebook.activate(); }",
        index,
    )
    page.keyboard.press("Shift+Enter")
    cell = notebook.cell(index)
    for letter in "AB":
        cell.get_by_role("button", name=letter, exact=True).click()
    cell.get_by_text("Solved with 2 answers.").wait_for(timeout=30_000)
    assert cell.locator(".cm-content").count() == 0
    notebook.shoot("quiz_1024")


def test_what_is_solved_outlives_the_kernel_and_leads_to_the_lessons(notebook, server):
    page = notebook.page
    index = notebook.find('@exercise("start_here.discounted_return")')
    stub = notebook.sources[index]
    notebook.run(index, "\n".join(stub.split("\n")[:2]) + "\n" + ANSWER)
    kept = json.loads((server.folder / "notebooks" / record.FILE).read_text(encoding="utf-8"))
    assert set(kept["solved"]) == {"start_here.1", "start_here.discounted_return"}
    page.evaluate(f"{PANEL}.sessionContext.session.kernel.restart()")
    notebook.wait_idle(60)
    notebook.run(notebook.find("plots.use_style()"))
    notebook.run(index, stub)
    last = max(i for i, source in enumerate(notebook.sources) if source.startswith("progress("))
    notebook.run(last)
    said = notebook.text(last)
    assert "✓ start_here.discounted_return  solved earlier" in said
    assert "00 · Start here: begun, exercises: 1 of 2, quizzes: 1 of 1" in said
    assert said.count("not begun") == len(list((server.folder / "notebooks").glob("*.ipynb"))) - 1
    notebook.cell(last).get_by_role("link", name="02 · DQN").click()
    page.get_by_role("tab", name="02_dqn.ipynb").wait_for(timeout=30_000)
    notebook.shoot("map_1024")


def test_an_exported_or_printed_page_asks_without_answering(server):
    address = f"{server.address}/nbconvert/html/notebooks/00_start_here.ipynb?download=false"
    request = urllib.request.Request(address, headers={"Authorization": f"token {lab.TOKEN}"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        page = answer.read().decode()
    assert "What happens?" in page and "start_here.discounted_return" in page
    assert "start_here.1" not in page


def test_code_figures_and_videos_fit_the_pane(notebook, server):
    """With the list of files still beside them."""
    page = notebook.page
    lesson = Notebook(page, server, "notebooks/02_dqn.ipynb")
    film = lesson.cell(next(i for i, s in enumerate(lesson.sources) if "video.show(" in s))
    film.locator("video").first.wait_for(timeout=30_000)
    for kind in (".cm-scroller", ".jp-RenderedImage", ".jp-RenderedHTMLCommon"):
        wider = page.evaluate(WIDER.format(kind))
        assert wider and max(wider) <= 0, kind
    video = film.locator("video").first
    assert video.evaluate("(v) => v.autoplay && v.loop && v.muted && v.controls")
    # As where the cell is run: there it is drawn in place, and starts.
    video.evaluate("(v) => { v.parentNode.innerHTML = v.parentNode.innerHTML; }")
    video = film.locator("video").first
    video.evaluate(
        "async (v) => { while (v.paused || !v.currentTime)"
        " await new Promise((r) => setTimeout(r, 100)); }"
    )
    lesson.shoot("video_1024")
