"""What the tests of all lessons find in `tests/lessons/NAME/`."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def module(lesson: str, name: str) -> ModuleType:
    """``tests/lessons/LESSON/NAME.py``, imported by its path."""
    path = HERE / lesson / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"tests.lessons.{lesson}.{name}", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def code(lesson: str) -> str:
    """The code of a lesson's notebook, cell after cell."""
    (path,) = NOTEBOOKS.glob(f"[0-9][0-9]_{lesson}.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
