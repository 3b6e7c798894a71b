"""Results that are kept in `build`, so that a measurement that was interrupted goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.harness import ROOT


def folder(topic: str, *modules: ModuleType) -> Path:
    """A folder for what these modules made; another one as soon as their code changes."""
    text = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in modules)
    path = ROOT / "build" / topic / hashlib.sha256(text.encode()).hexdigest()[:12]
    path.mkdir(parents=True, exist_ok=True)
    return path


def once(file: Path, work: Callable[[], Any]) -> Any:
    """What ``file`` holds; where there is none yet, do the ``work``, say so and keep it.

    ``work`` returns a run, or a list of runs. Timings are those of the first time.
    """
    if not file.exists():
        result = work()
        for run in result if isinstance(result, list) else [result]:
            print({k: v for k, v in run.items() if not isinstance(v, list)}, flush=True)
        file.write_text(json.dumps(result), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))
