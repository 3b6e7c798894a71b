"""A real JupyterHub on loopback: two people log in and run lessons through their own servers."""

import os
import signal
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

from benchmarks.kit import hub
from tests.browser import lab

NAMES = ("ada", "ben")
LIGHT, LESSON = "notebooks/00_start_here.ipynb", "notebooks/02_dqn.ipynb"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A hub. Without its packages the test is skipped, and where CI is set it fails."""
    absent = hub.missing()
    if absent and os.environ.get("CI") and os.name != "nt":
        pytest.fail(f"CI is set, so the hub must run: {absent}")
    if absent:
        pytest.skip(absent)
    with hub.started((*NAMES, "cai"), tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(scope="module")
def users(running):
    """Both users, logged in at the same time, each with a server of their own."""
    with ThreadPoolExecutor(len(NAMES)) as room:
        return dict(zip(NAMES, room.map(lambda name: hub.User(running, name), NAMES), strict=True))


def test_each_user_runs_a_lesson_through_their_own_server(running, users):
    def attend(name: str) -> None:
        session = users[name].open(LIGHT)
        assert session.run() == [], running.log()
        assert session.alive()
        session.close()

    with ThreadPoolExecutor(len(NAMES)) as room:
        list(room.map(attend, NAMES))
    for name in NAMES:  # saved in this user's home, outputs and all
        home = running.folder / "homes" / name
        saved = nbformat.read(home / LIGHT, as_version=4)
        code = [c for c in saved.cells if c.cell_type == "code" and c.source.strip()]
        assert code and all(cell.execution_count and "outputs" in cell for cell in code)
        assert any(cell.outputs for cell in code)


def test_lesson_02_opens_and_runs_up_to_its_training(users):
    session = users["ada"].open(LESSON)
    assert session.run(before="## Train: CartPole") == []
    done = [cell for cell in session.notebook.cells if cell.get("execution_count")]
    assert any("@exercise(" in cell.source for cell in done)
    session.close()


def test_somebody_logs_in_on_the_page_and_chooses_run_all(running):
    browser = lab.require_chromium()
    with lab.window(browser) as page:
        page.goto(running.address)
        page.fill("#username_input", "cai")
        page.fill("#password_input", running.password)
        page.click("#login_submit")
        page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").wait_for(timeout=120_000)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        assert page.url.endswith("/user/cai/lab/tree/notebooks/00_start_here.ipynb")
        # Stored outputs go first, so that none is mistaken for one of this run.
        for menu, entry in (("Edit", "Clear Outputs of All Cells"), ("Run", "Run All Cells")):
            page.get_by_role("menuitem", name=menu, exact=True).click()
            page.get_by_text(entry, exact=True).first.click()
            if menu == "Edit":
                page.wait_for_function("!document.querySelector('.jp-OutputArea-child')")
        page.get_by_text("1 of 2 exercises right").wait_for(timeout=60_000)


def test_an_error_in_a_cell_and_a_killed_kernel_are_noticed(users):
    session = users["ben"].open(LIGHT)
    session.notebook.cells[1:] = [nbformat.v4.new_code_cell("1 / 0")]
    assert session.run() == ["ZeroDivisionError: division by zero"]
    assert session.alive()
    session.notebook.cells[1:] = [nbformat.v4.new_code_cell("import time; time.sleep(60)")]
    with ThreadPoolExecutor(1) as room:
        run = room.submit(session.run)
        os.kill(session.pid, signal.SIGKILL)
        with pytest.raises(hub.Killed, match="ben's kernel was killed"):
            run.result(timeout=30)
    assert not session.alive()


def test_a_password_is_asked_and_servers_are_private(running, users):
    with pytest.raises(urllib.error.HTTPError, match="403"):
        hub.call(
            f"{running.address}/hub/api/users/ada/tokens",
            "POST",
            {"auth": {"username": "ada", "password": "a guess"}},
        )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        hub.call(f"{users['ada'].server}/api/contents", token=users["ben"].token)
    assert users["ada"].ask("contents")["content"], "her own token opens it"


def test_everything_that_the_hub_writes_is_in_its_folder(running, users):
    assert {"homes", "hub.sqlite", "cookie_secret"} <= {p.name for p in running.folder.iterdir()}
    assert Path(users["ada"].hub.folder) == running.folder
