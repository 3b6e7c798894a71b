"""Fixtures of the slide tests."""

import pytest

from tests.browser.lab import require_chromium


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Path of a Chromium; skips where there is none, fails where CI is set."""
    return require_chromium()
