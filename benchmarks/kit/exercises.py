"""Exercises: how many a lesson has, whether each named mistake is diagnosed as itself, and slips.

Every mistake of every exercise is checked with the cases that a student sees and with hidden
seeds. It counts as diagnosed when each of these checks rejects it and names it. Every slip, an
automatic small change of a reference, is checked until a seed refuses it; it is told if the verdict
names a mistake or the slip. Python's own errors, a name that does not exist, count as not told. A
test lists those that no seed refuses, with the reason why they make no difference.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.harness import Goal, at_least, reported
from course_lib.classroom.check import Exercise, Verdict, check
from course_lib.lessons import NAMES, exercises_of

TOUR = "start_here"  # the tour shows how exercises work; the lessons have at least four


def measure(quick: bool) -> dict:
    seeds = list(range(3 if quick else 20))
    runs = []
    for lesson in NAMES:
        for name, exercise in exercises_of(lesson).items():
            told = sum(
                all(check(m.function, exercise, seed).mistake == m.name for seed in seeds)
                for m in exercise.mistakes
            )
            slips = [_refused(slip.function, exercise, seeds) for slip in exercise.slips]
            right = all(check(exercise.reference, exercise, s).status == "right" for s in seeds)
            runs.append(
                {
                    "lesson": lesson,
                    "exercise": name,
                    "mistakes": len(exercise.mistakes),
                    "diagnosed": told,
                    "reference_right": right,
                    "slips": len(slips),
                    "slips_refused": sum(verdict is not None for verdict in slips),
                    "slips_told": sum(bool(verdict and verdict.mistake) for verdict in slips),
                }
            )
    return {"seeds": seeds, "runs": runs}


def _refused(function: Callable, exercise: Exercise, seeds: list[int]) -> Verdict | None:
    """The first verdict that is not "right", if there is one."""
    verdicts = (check(function, exercise, seed) for seed in seeds)
    return next((verdict for verdict in verdicts if verdict.status != "right"), None)


def judge(result: dict) -> list[Goal]:
    runs = result["runs"]
    per_lesson: dict[str, int] = {}
    for run in runs:
        per_lesson[run["lesson"]] = per_lesson.get(run["lesson"], 0) + 1
    lessons = {lesson: n for lesson, n in per_lesson.items() if lesson != TOUR}
    total = sum(run["mistakes"] for run in runs)
    told = sum(run["diagnosed"] for run in runs)
    slips, refused, told_slips = (
        sum(run[key] for run in runs) for key in ("slips", "slips_refused", "slips_told")
    )
    fewest = min(run["mistakes"] for run in runs)
    counts = ", ".join(f"{lesson} {n}" for lesson, n in lessons.items())
    return [
        Goal("exercises per lesson", ">= 4", counts, min(lessons.values()) >= 4),
        Goal("named mistakes per exercise", ">= 3", f"at least {fewest}", fewest >= 3),
        Goal(
            f"mistakes diagnosed as themselves on {len(result['seeds'])} of "
            f"{len(result['seeds'])} seeds",
            "all",
            f"{told} of {total}",
            told == total and all(run["reference_right"] for run in runs),
        ),
        reported(
            "slips of the references: refused; the others make no difference (a test says why)",
            f"{refused} of {slips}",
        ),
        at_least(
            "slips that are refused: told by a mistake's name or the slip's",
            0.5,
            told_slips / refused,
            f"{told_slips} of {refused}",
        ),
    ]
