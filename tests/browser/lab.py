"""JupyterLab in a real browser: the server that `lab` starts, and a notebook on its page."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from course_lib.commands import chromium, lab

TOKEN = "browser-tests"
SHOTS = lab.ROOT / "build" / "screenshots"
PANEL = "window.jupyterapp.shell.currentWidget"
CELLS = f"[...{PANEL}.content.model.cells].map((cell) => cell.toJSON())"
# `lab` itself, with another folder to serve.
START = "import sys; from course_lib.commands import lab; lab.ROOT = sys.argv[1]; "
START += "sys.exit(lab.main(sys.argv[2:]))"
STOPPED = "the JupyterLab server stopped while it started; it said:\n{}"


def require_chromium() -> str:
    """Path of the browser. Without one the test is skipped, and where CI is set it fails."""
    missing = None
    try:
        import playwright  # noqa: F401
    except ImportError:
        missing = "Playwright is not installed: python -m pip install -e .[browser]"
    path = chromium.find()
    if path is None:
        missing = chromium.MISSING
    if missing and os.environ.get("CI"):
        pytest.fail(f"CI is set, so the browser tests must run: {missing}")
    if missing:
        pytest.skip(missing)
    return path


class Server(NamedTuple):
    """A JupyterLab that runs: its address, and the folder that it shows."""

    address: str
    folder: Path


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Run the server that `python -m course_lib lab` runs, over a copy of the notebooks.

    Everything that JupyterLab keeps (settings, workspaces, kernel files, trust) stays in `folder`,
    and so does everything that the browser saves.
    """
    work = folder / "course"
    shutil.copytree(lab.ROOT / "notebooks", work / "notebooks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "config"
    config.mkdir()
    # Lets the tests read the notebook behind the page.
    exposed = json.dumps({"LabApp": {"expose_app_in_browser": True}})
    (config / "jupyter_lab_config.json").write_text(exposed)
    environment = {
        **os.environ,
        "JUPYTER_TOKEN": TOKEN,
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": str(lab.ROOT),  # the notebooks' copy is not beside the library
        "OMP_NUM_THREADS": "1",
    }
    log = folder / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-c", START, str(work), f"--port={port}", "--no-browser"],
            cwd=work,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_it_answers(server, address, log)
        yield Server(address, work)
    finally:
        _shut_kernels_down(address)
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def _ask(address: str, path: str, method: str = "GET"):
    request = urllib.request.Request(
        f"{address}/api/{path}", method=method, headers={"Authorization": f"token {TOKEN}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or "null")


def _wait_until_it_answers(server: subprocess.Popen, address: str, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(STOPPED.format(log.read_text()))
        with contextlib.suppress(OSError):
            _ask(address, "status")
            return
        time.sleep(0.2)
    raise RuntimeError(f"the server did not answer within a minute; it said:\n{log.read_text()}")


def _shut_kernels_down(address: str) -> None:
    with contextlib.suppress(OSError):  # the server may have stopped already
        for kernel in _ask(address, "kernels"):
            _ask(address, f"kernels/{kernel['id']}", "DELETE")


class Notebook:
    """A notebook open in JupyterLab, driven through what a learner sees."""

    def __init__(self, page, server: Server, path: str):
        self.page = page
        workspace = f"{server.address}/lab/workspaces/auto-{Path(path).stem}"
        page.goto(f"{workspace}/tree/{path}?token={TOKEN}&reset")
        self.panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        self.panel.wait_for(timeout=60_000)
        self.wait_idle(60)  # before that, a command would open the "Select Kernel" dialog
        self.sources = page.evaluate(f"{CELLS}.map((cell) => cell.source)")

    def run_all(self, seconds: float) -> None:
        """Choose Run > Run All Cells and wait until it ends, at the last cell or at an error."""
        # Stored outputs go first, so that none is mistaken for one of this run.
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_text("Run All Cells", exact=True).first.click()
        self.page.wait_for_function(
            f"""() => {{
              const cells = {CELLS}.filter((c) => c.cell_type === 'code' && c.source.trim());
              const failed = (c) => c.outputs.some((o) => o.output_type === 'error');
              return cells.every((c) => c.execution_count) || cells.some(failed);
            }}""",
            timeout=seconds * 1000,
            polling=500,
        )
        self.wait_idle(seconds)

    def run(self, index: int, source: str | None = None, seconds: float = 120) -> None:
        """Run one cell, with another source where one is given, and wait until it has run."""
        self.page.evaluate(
            f"""async ([index, source]) => {{
              const notebook = {PANEL}.content;
              notebook.deselectAll();
              notebook.activeCellIndex = index;
              if (source !== null) notebook.activeCell.model.sharedModel.setSource(source);
              await window.jupyterapp.commands.execute('notebook:run-cell');
            }}""",
            [index, source],
        )
        self.wait_idle(seconds)

    def run_short(self, cells: Sequence[str], short: Mapping[str, str]) -> None:
        """Run the imports, every exercise untouched, and the cells that hold these pieces of code.

        Pieces of code named in ``short`` are replaced, so that nothing trains for long: what the
        whole notebook does is seen when its stored outputs are compared.
        """
        first = next(i for i, source in enumerate(self.sources) if "plots.use_style()" in source)
        chosen = {first, *(self.find(cell) for cell in cells)}
        chosen |= {i for i, source in enumerate(self.sources) if source.startswith("@exercise(")}
        for index in sorted(chosen):
            source = self.sources[index]
            for old, new in short.items():
                source = source.replace(old, new)
            self.run(index, source)

    def wait_idle(self, seconds: float) -> None:
        """Wait until the status bar says that the kernel is idle."""
        self.page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=seconds * 1000)

    def find(self, text: str) -> int:
        """Index of the only cell whose source holds `text`."""
        found = [i for i, source in enumerate(self.sources) if text in source]
        assert len(found) == 1, f"{text!r} is in {len(found)} cells"
        return found[0]

    def cell(self, index: int):
        """The cell on the page, scrolled into view."""
        self.page.evaluate(f"(index) => {PANEL}.content.scrollToItem(index)", index)
        cell = self.panel.locator(f".jp-Cell[data-windowed-list-index='{index}']")
        cell.wait_for(timeout=20_000)
        cell.scroll_into_view_if_needed()
        return cell

    def outputs(self, index: int) -> list[dict]:
        """The stored form of a cell's outputs."""
        return self.page.evaluate(f"(index) => {CELLS}[index].outputs", index)

    def text(self, index: int) -> str:
        """What a cell's outputs say as plain text."""
        parts = []
        for output in self.outputs(index):
            plain = output.get("text") or output.get("data", {}).get("text/plain", "")
            parts.append(plain if isinstance(plain, str) else "".join(plain))
        return "\n".join(parts)

    def errors(self) -> list[str]:
        """The error of every cell that has one."""
        return self.page.evaluate(
            f"""() => {CELLS}.flatMap((cell) => cell.outputs || [])
                .filter((output) => output.output_type === 'error')
                .map((output) => `${{output.ename}}: ${{output.evalue}}`)"""
        )

    def type(self, index: int, source: str) -> None:
        """Replace a cell's code by keyboard and run it with Shift+Enter."""
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.press("Delete")
        # One insertion: typed keys would be indented and given closing brackets by the editor.
        self.page.keyboard.insert_text(source)
        self.page.keyboard.press("Shift+Enter")
        self.wait_idle(30)

    def shoot(self, name: str) -> None:
        """Take a picture of the window into build/screenshots."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")


@contextlib.contextmanager
def window(browser_path: str):
    """A browser window as large as a small laptop's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=chromium.flags())
        yield browser.new_page(viewport={"width": 1400, "height": 900})
        browser.close()


def turn(slider, key: str, times: int = 1) -> None:
    """Move an ipywidgets slider with the arrow keys."""
    handle = slider.locator(".noUi-handle")
    handle.focus()
    for _ in range(times):
        handle.press(key)


def slider(cell, name: str):
    """The slider of a cell's output that carries this label."""
    return cell.locator(".widget-slider, .jupyter-widgets.widget-inline-hbox").filter(
        has=cell.page.locator(".widget-label", has_text=re.compile(f"^{re.escape(name)}$"))
    )
