"""CONTRIBUTING.md works as it stands: its steps are carried out on a copy of the project."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course_lib.commands import chromium
from tests.notebooks import gate

ROOT = Path(__file__).parents[2]
LESSON = Path(__file__).parent / "lesson"
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
STEPS = PAGE.split("## A lesson in one sitting")[1].split("\n## ")[0]
COMMANDS = "".join(re.findall(r"```bash\n(.*?)```", STEPS, re.DOTALL)).splitlines()
PLAN = re.search(r"```markdown\n(.*?)```", STEPS, re.DOTALL)[1]
FILES = [path for path in LESSON.rglob("*") if path.suffix in (".py", ".ipynb")]
SOURCES = [path for path in FILES if path.name != "__init__.py"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The project without its lessons, and the place where a lesson adds to a file."""
    here = tmp_path_factory.mktemp("project") / "course"
    skipped = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, here, ignore=skipped)
    for folder in ("notebooks", "slides"):
        for path in (here / folder).glob("*.ipynb"):
            path.unlink()
    _replace(here / "slides" / "README.md", "<!-- /timing -->", f"{PLAN}\n<!-- /timing -->")
    return here


def _replace(path: Path, pattern: str, text: str) -> None:
    found = path.read_text(encoding="utf-8")
    changed, count = re.subn(pattern, lambda _: text, found)
    assert count == 1, f"{path} has {count} places for the addition"
    path.write_text(changed, encoding="utf-8")


def test_every_step_succeeds_in_order(copy):
    assert COMMANDS[0].startswith("cp ") and COMMANDS[-1].endswith("-k bandits")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COURSE_KIT"))}
    environment = {**inherited, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    for line in COMMANDS:
        command = shlex.split(line)
        if command[0] == "python":
            command[0] = sys.executable
        if command[1:3] == ["-m", "course_lib"]:  # in the environment that runs this test
            command.insert(4, "--here")
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed >= 60 and "failed" not in done.stdout
    assert chromium.find() is None or "test_decks.py ." in done.stdout  # decks need a browser
    readme = (copy / "README.md").read_text(encoding="utf-8")
    assert "| 90_bandits |" in readme, "refresh has written what it measured"


def test_the_table_names_the_files_of_the_example():
    named = {name for name in re.findall(r"^\| `([^`]+)`", STEPS, re.MULTILINE)}
    assert named == {path.relative_to(LESSON).as_posix() for path in SOURCES}


def test_the_numbers_of_the_example_are_those_that_the_page_states():
    cells = nbformat.read(LESSON / "notebooks" / "90_bandits.ipynb", as_version=4).cells
    text = "\n".join(cell.source for cell in cells)
    assert f"{len(cells)} cells" in PAGE and text.count("@exercise(") == 4
    deck = nbformat.read(LESSON / "slides" / "90_bandits.ipynb", as_version=4)
    kinds = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in deck.cells]
    assert f"{kinds.count('slide')} slides" in PAGE


def test_the_excerpts_are_those_of_the_example():
    excerpts = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    texts = [path.read_text(encoding="utf-8") for path in SOURCES if path.suffix == ".py"]
    for path in SOURCES:
        if path.suffix == ".ipynb":
            texts += [cell.source + "\n" for cell in nbformat.read(path, as_version=4).cells]
    excerpts = [excerpt for excerpt in excerpts if excerpt.strip()]
    assert len(excerpts) == 4
    for excerpt in excerpts:
        assert any(excerpt in text for text in texts), excerpt


def test_its_links_lead_somewhere():
    assert gate.broken_links(ROOT / "CONTRIBUTING.md", ROOT) == []
    for name in re.findall(r"`((?:tests|benchmarks|slides)/[\w/.-]+\.\w+)`", PAGE):
        assert "NAME" in name or (ROOT / name).exists() or (LESSON / name).exists(), name
