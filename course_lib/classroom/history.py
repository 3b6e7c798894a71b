"""What a training run reported: columns of numbers to read, to draw and to keep."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from course_lib.classroom import curves


class History:
    """What a training run reported: one float array per metric, all of one length.

    `history["return"]` is the column, shape (updates,). Entries that a record lacked are NaN.
    The column `steps` counts environment steps where the generator reports them, else updates.
    The column `seconds` is the wall-clock time since the start of the run.
    `stopped` says why the run ended: "finished", "time budget" or "interrupted".
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[float] | np.ndarray],
        label: str = "Training",
        stopped: str = "finished",
    ):
        self.columns = {k: np.asarray(v, dtype=np.float64) for k, v in columns.items()}
        lengths = {k: v.shape for k, v in self.columns.items()}
        if len(set(lengths.values())) > 1 or any(len(s) != 1 for s in lengths.values()):
            raise ValueError(f"columns must be 1-d and of one length, got shapes {lengths}")
        self.label = label
        self.stopped = stopped

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.columns:
            raise KeyError(f"no metric {name!r}; this history has: {', '.join(self.columns)}")
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __repr__(self) -> str:
        return f"History({len(self)} records of {', '.join(self.columns)}; {self.stopped})"

    def last(self, name: str) -> float:
        """The latest value of a metric that is not NaN; NaN when there is none."""
        values = self[name]
        finite = values[~np.isnan(values)]
        return float(finite[-1]) if len(finite) else math.nan

    def smoothed(self, name: str, window: int) -> np.ndarray:
        """The metric averaged over the last `window` records, NaN entries left out."""
        return curves.smooth(self[name], window)

    def plot(self, y: str = "return", *, x: str = "steps", smooth: int = 1, ax=None):
        """Draw one metric over another and return the matplotlib Axes."""
        from course_lib.classroom import plots

        return plots.learning_curves({self.label: [self]}, x=x, y=y, smooth=smooth, ax=ax)

    def save(self, path: str | Path) -> Path:
        """Write the history as standard JSON (NaN as null, infinities as strings)."""
        path = Path(path)
        columns = {k: [_to_json(v) for v in column] for k, column in self.columns.items()}
        record = {"label": self.label, "stopped": self.stopped, "columns": columns}
        path.write_text(json.dumps(record, allow_nan=False) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Read a history that `save` wrote."""
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        columns = {
            k: [math.nan if v is None else float(v) for v in column]
            for k, column in record["columns"].items()
        }
        return cls(columns, record["label"], record["stopped"])


def _to_json(value: float) -> float | str | None:
    if math.isfinite(value):
        return float(value)
    return None if math.isnan(value) else str(float(value))
