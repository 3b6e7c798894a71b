"""Projects: an open question at the end of a lesson, a number to beat, and how an answer is read.

A project has no right answer to compare with, so nothing grades it but its metric and a reader:

    task = project("q_learning")  # shows question, number to beat, and what a good answer has
    task.measure(mine)            # your function on ten seeds, against the baseline on the same

Each lesson defines its own in ``lessons/LESSON/project.py``. Baseline and a reference answer are
measured by the benchmark ``projects``: the number to beat can be had again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from course_lib.classroom import cards
from course_lib.evaluation import committed_result, over_seeds, t_interval

LEVELS = ("pass", "good", "excellent")
BASELINE, REFERENCE = "baseline", "reference"  # whose runs they are in the benchmark
BENCHMARK = "projects"


@dataclass(frozen=True)
class Project:
    """What a lesson leaves open. ``metric(answer, seed)`` is a number; ``more`` of it is better."""

    lesson: str  # its room, such as "q_learning"
    question: str
    begin: str  # what to do in the next ten minutes
    answer: str  # the function that is asked for, in words
    metric: Callable[[Any, int], float]
    unit: str  # of the metric, in words
    rubric: Mapping[str, str]  # what a pass, a good and an excellent answer show
    baseline: Callable
    reference: Callable  # for instructors: `python -m course_lib assign --solutions`
    more: bool = True

    def __post_init__(self) -> None:
        if tuple(self.rubric) != LEVELS:
            raise ValueError(f"rubric must name {', '.join(LEVELS)}, got {', '.join(self.rubric)}")

    def runs(self, who: str = BASELINE) -> dict[int, float]:
        """The committed numbers of the baseline or of the reference, by seed."""
        runs = committed_result(BENCHMARK)["runs"]
        mine = [r for r in runs if (r["project"], r["answer"]) == (self.lesson, who)]
        return {run["seed"]: run["metric"] for run in mine}

    def measure(self, answer: Callable, seeds: Sequence[int] | None = None) -> list[float]:
        """Measure an answer on the seeds of the baseline, and say how the two compare.

        Returns the metric of each seed. Verdicts need all seeds; pass fewer to try something.
        """
        from tqdm.auto import tqdm

        theirs = self.runs()
        seeds = list(theirs) if seeds is None else list(seeds)
        if unknown := set(seeds) - set(theirs):
            known = ", ".join(map(str, theirs))
            raise ValueError(f"the baseline has no run with seed {min(unknown)}; it has {known}")
        values = [self.metric(answer, s) for s in tqdm(seeds, desc="seeds", leave=False)]
        print(self.compared(values, [theirs[seed] for seed in seeds]))
        return values

    def compared(self, mine: Sequence[float], theirs: Sequence[float]) -> str:
        """The metric over seeds, the baseline's, and whether their difference is off zero."""
        words = f"{over_seeds(mine)} {self.unit}; baseline {over_seeds(theirs)}"
        if len(mine) < 2:
            return f"{words}. One seed tells little: measure more."
        gain, low, high = t_interval(np.subtract(mine, theirs) * (1 if self.more else -1))
        verdict = "better" if low > 0 else "worse" if high < 0 else "no clear difference"
        return f"{words}. Per seed {gain:+.3g} [{low:+.3g}, {high:+.3g}]: {verdict}."

    def lines(self) -> list[str]:
        """The card, line by line."""
        theirs = list(self.runs().values())
        return [
            self.question,
            f"**You write** {self.answer}",
            f"**To beat:** {over_seeds(theirs)} {self.unit} over {len(theirs)} seeds "
            f"(`python -m benchmarks {BENCHMARK}`).",
            f"**The first ten minutes:** {self.begin}",
            *(f"**{level.capitalize()}:** {text}" for level, text in self.rubric.items()),
        ]

    def __repr__(self) -> str:
        return "\n".join(["Project", *map(cards.plain, self.lines())])

    def _repr_html_(self) -> str:
        inside = "".join(f"<p>{cards.markup(line)}</p>" for line in self.lines())
        return f'<div style="max-width: 46em; line-height: 1.6"><p><b>Project</b></p>{inside}</div>'


_look_up: Callable[[str], Project] | None = None  # handed over by `course_lib.lessons`


def set_look_up(look_up: Callable[[str], Project]) -> None:
    """Say where the projects of the lessons are."""
    global _look_up
    _look_up = look_up


def project(lesson: str) -> Project:
    """The project of a lesson; end a cell with it to show its card."""
    if _look_up is None:
        raise LookupError("no lessons are known yet: `import course_lib.lessons` comes first")
    return _look_up(lesson)
