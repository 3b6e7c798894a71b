"""Fixtures of the browser tests: one server for all of them, a window per module."""

import pytest

from tests.browser import lab


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Path of a Chromium; skips where there is none, fails where CI is set."""
    return lab.require_chromium()


@pytest.fixture(scope="session")
def server(chromium_path, tmp_path_factory):
    """A JupyterLab over a copy of the notebooks."""
    with lab.serve(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="module")
def page(chromium_path):
    """A browser window."""
    with lab.window(chromium_path) as page:
        yield page
