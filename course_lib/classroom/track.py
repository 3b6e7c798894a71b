"""Drive a training generator: progress, a time budget, an interrupt that keeps the agent.

Every `train(...)` of the library is a generator that yields one record (a dict of floats) per
update and improves its agent in place. `track` pulls the records, shows the ones that matter and
returns all of them as a `History`. Training itself stays free of printing and plotting.
"""

from __future__ import annotations

import html
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from course_lib.classroom.front_end import in_notebook
from course_lib.classroom.history import History
from course_lib.classroom.use import Replacement, use as in_place

_DRAW_EVERY = 0.2  # seconds between two pictures of the progress
_DRAW_SHARE = 0.005  # drawing may take this share of the run at most
_BLOCKS = "▁▂▃▄▅▆▇█"
_REASONS = {
    "running": "running",
    "finished": "finished",
    "time budget": "stopped at the time budget",
    "interrupted": "interrupted; what was learned is kept",
    "error": "stopped by an error",
}


def track(
    updates: Iterator[Mapping[str, float]],
    *,
    total_steps: int | None = None,
    seconds: float | None = None,
    show: Sequence[str] = ("return", "loss"),
    label: str = "Training",
    use: Sequence[Replacement | Mapping[Callable, Callable]] = (),
) -> History:
    """Pull a training generator to its end and return its `History`.

    The run ends when the generator does, when `seconds` of wall-clock time have passed, or when
    you interrupt it (the stop button, Ctrl-C). In each case the agent keeps what it learned and
    you get every record so far; `history.stopped` says which it was. An error inside the
    generator is raised again.

    Args:
        updates: a generator such as `dqn.train(...)`; each item is a dict of floats.
        total_steps: length of the bar, in the unit of the records' "steps" (updates where a
            record has none). It measures progress only and stops nothing.
        seconds: time budget. The update in which it runs out is completed.
        show: the metrics beside the bar; the first one gets a sparkline.
        label: name of the run, used in the bar and in plots.
        use: your functions, or mistakes, that the library calls instead of its own until this
            run ends; see `use`. What the generator did before this call it did without them.
    """
    if seconds is not None and seconds <= 0:
        raise ValueError(f"seconds must be positive, got {seconds}")
    if isinstance(show, str):
        raise ValueError(f"show must be a sequence of metric names, got the string {show!r}")
    progress = _Progress(total_steps, seconds, tuple(show), label)
    stopped = "finished"
    try:
        with in_place(*use):
            for record in updates:
                progress.add(record)
                if seconds is not None and progress.elapsed >= seconds:
                    stopped = "time budget"
                    break
    except KeyboardInterrupt:
        stopped = "interrupted"
    except BaseException:
        progress.finish("error")
        raise
    finally:
        if hasattr(updates, "close"):  # lets the generator release what it holds
            updates.close()
    progress.finish(stopped)
    return History(progress.columns, label, stopped)


class _Progress:
    """Collects the records and shows how far the run is."""

    def __init__(self, total, seconds, show, label):
        self.total, self.seconds, self.show, self.label = total, seconds, show, label
        self.columns: dict[str, list[float]] = {"steps": [], "seconds": []}
        self.count = 0
        self.elapsed = 0.0
        self.start = time.perf_counter()
        self.next_draw = _DRAW_EVERY
        self.view = _NotebookView() if in_notebook() else _TerminalView(total, label)
        self.view.draw(self, "running")

    def add(self, record: Mapping[str, float]) -> None:
        self.elapsed = time.perf_counter() - self.start
        row = {"steps": self.count + 1, "seconds": self.elapsed, **record}
        for name, value in row.items():
            column = self.columns.get(name)
            if column is None:  # a metric that appears late: NaN until now
                column = self.columns[name] = [math.nan] * self.count
            column.append(_number(name, value))
        self.count += 1
        if len(row) < len(self.columns):
            for column in self.columns.values():
                if len(column) < self.count:
                    column.append(math.nan)
        if self.elapsed >= self.next_draw:
            self.view.draw(self, "running")
            cost = time.perf_counter() - self.start - self.elapsed
            self.next_draw = self.elapsed + max(_DRAW_EVERY, cost / _DRAW_SHARE)

    def finish(self, stopped: str) -> None:
        # An interrupt can fall inside `add`: cut all columns back to the complete records.
        complete = min(len(c) for c in self.columns.values())
        for column in self.columns.values():
            del column[complete:]
        self.count = complete
        self.elapsed = time.perf_counter() - self.start
        self.view.draw(self, stopped)
        self.view.close()

    @property
    def steps(self) -> int:
        return int(self.columns["steps"][-1]) if self.count else 0

    @property
    def fraction(self) -> float | None:
        """How far the run is, by steps or by time, whichever ends it first."""
        parts = []
        if self.total:
            parts.append(self.steps / self.total)
        if self.seconds:
            parts.append(self.elapsed / self.seconds)
        return min(1.0, max(parts)) if parts else None

    def counts(self, state: str) -> str:
        """Steps and time in words."""
        steps = f"{self.steps:,}"
        if self.total:
            steps += f" of {self.total:,}"
        text = f"{steps} steps · {_duration(self.elapsed)}"
        if state == "running" and self.fraction:
            text += f", about {_duration(self.elapsed / self.fraction - self.elapsed)} left"
        return text

    def metrics(self) -> list[tuple[str, str, str]]:
        """Name, latest value and sparkline (first metric only) of the metrics to show."""
        rows = []
        for name in self.show:
            column = self.columns.get(name)
            if column:
                recent = next((v for v in reversed(column[-2000:]) if v == v), math.nan)
                rows.append((name, _short(recent), "" if rows else sparkline(column)))
        return rows


class _NotebookView:
    """One output cell, updated in place; its last state is what the notebook stores."""

    def __init__(self):
        self.handle = None

    def draw(self, progress: _Progress, state: str) -> None:
        from IPython.display import display

        bundle = {"text/plain": _as_text(progress, state), "text/html": _as_html(progress, state)}
        if self.handle is None:
            self.handle = display(bundle, raw=True, display_id=True)
        else:
            self.handle.update(bundle, raw=True)

    def close(self) -> None:
        pass


class _TerminalView:
    """A tqdm bar on stderr; silent when stderr is not a terminal."""

    def __init__(self, total: int | None, label: str):
        from tqdm import tqdm

        # 80 columns hold the bar and the metrics once the speed is left out.
        layout = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
        self.bar = tqdm(
            total=total,
            desc=label,
            unit=" steps",
            file=sys.stderr,
            disable=None,
            bar_format=layout if total else None,
        )

    def draw(self, progress: _Progress, state: str) -> None:
        if state != "running":
            short = "interrupted" if state == "interrupted" else _REASONS[state]
            self.bar.set_description_str(f"{progress.label}, {short}", refresh=False)
        metrics = ", ".join(f"{name} {value}" for name, value, _ in progress.metrics())
        self.bar.set_postfix_str(metrics, refresh=False)
        self.bar.n = progress.steps
        self.bar.refresh()

    def close(self) -> None:
        self.bar.close()


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """A curve in block characters, lowest value to highest; NaN entries are skipped."""
    size = max(1, math.ceil(len(values) / width))
    means = []
    for start in range(0, len(values), size):
        # At most 16 entries per block: the cost stays the same however long the run is.
        part = [v for v in values[start : start + size : max(1, size // 16)] if math.isfinite(v)]
        if part:
            means.append(sum(part) / len(part))
    if len(means) < 2:
        return ""
    low, high = min(means), max(means)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((m - low) * scale)] for m in means)


def _as_text(progress: _Progress, state: str) -> str:
    lines = [f"{progress.label}: {_REASONS[state]} · {progress.counts(state)}"]
    metrics = progress.metrics()
    if metrics:
        lines.append("   ".join(f"{n} {v} {s}".rstrip() for n, v, s in metrics))
    return "\n".join(lines)


def _as_html(progress: _Progress, state: str) -> str:
    fraction = progress.fraction
    if fraction is None:
        fraction = 0.0 if state == "running" else 1.0
    if state == "finished":
        fraction = 1.0
    cells = " &emsp; ".join(
        f"{html.escape(n)} <b>{v}</b> {s}".rstrip() for n, v, s in progress.metrics()
    )
    label, reason = html.escape(progress.label), _REASONS[state]
    return (
        '<div style="line-height: 1.6; max-width: 60em">'
        f'<div><b>{label}</b> <progress value="{fraction:.3f}" max="1" style="width: 12em" '
        f'title="{label}: {fraction:.0%}">{fraction:.0%}</progress> '
        f"{reason} · {progress.counts(state)}</div>"
        f"<div>{cells}</div></div>"
    )


def _number(name: str, value: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise TypeError(f"a record holds numbers only, got {name} of type {kind}") from None


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "-" if math.isnan(value) else str(value)
    if value == 0 or 0.01 <= abs(value) < 1e5:
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:.1e}"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
