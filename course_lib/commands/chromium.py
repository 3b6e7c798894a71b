"""Find a Chromium-like browser and say how to start it. Standard library only."""

import os
import shutil
import sys
from pathlib import Path

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
)
MISSING = (
    "no Chromium found: install Chromium, Chrome or Edge, run `python -m playwright install "
    "chromium`, or set the environment variable CHROMIUM to the browser's path"
)


def find() -> str | None:
    """Path of a browser that Playwright can drive, or None.

    Looks at the environment variable CHROMIUM, the PATH, the usual folders of macOS and Windows,
    and at the browser that Playwright itself installs, in this order.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        return named if Path(named).is_file() else None
    for name in NAMES:
        if path := shutil.which(name):
            return path
    return next((str(path) for path in _usual_places() if path.is_file()), _playwrights_own())


def flags() -> list[str]:
    """Command-line flags for a headless run: quiet, and usable by root in a container."""
    quiet = [
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    # Chromium refuses to run its sandbox as root, and containers have little /dev/shm.
    return [*quiet, "--no-sandbox", "--disable-dev-shm-usage"] if is_root else quiet


def _usual_places() -> list[Path]:
    if sys.platform == "darwin":
        apps = ("Chromium", "Google Chrome", "Microsoft Edge")
        return [Path("/Applications") / f"{app}.app/Contents/MacOS/{app}" for app in apps]
    if sys.platform == "win32":
        roots = [os.environ.get(k) for k in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")]
        programs = ("Google/Chrome/Application/chrome.exe", "Microsoft/Edge/Application/msedge.exe")
        return [Path(root) / program for root in roots if root for program in programs]
    return []


def _playwrights_own() -> str | None:
    """Playwright keeps its browsers in one folder per revision; take the newest."""
    named = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    caches = {
        "darwin": Path.home() / "Library/Caches",
        "win32": Path(os.environ.get("LOCALAPPDATA", Path.home())),
    }
    folder = Path(named) if named else caches.get(sys.platform, Path.home() / ".cache")
    folder = folder if named else folder / "ms-playwright"
    programs = (
        "chrome-linux*/chrome",
        "chrome-win*/chrome.exe",
        "chrome-mac*/Chromium.app/Contents/MacOS/Chromium",
        "chrome-mac*/Google Chrome for Testing.app/Contents/MacOS/Google Chrome for Testing",
    )
    found = [path for p in programs for path in folder.glob(f"chromium-*/{p}")]
    return str(max(found, key=lambda path: path.stat().st_mtime)) if found else None
