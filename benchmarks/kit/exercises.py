"""Exercises: how many a lesson has, and whether each named mistake is diagnosed as itself.

Every mistake of every exercise is checked with the cases that a student sees and with hidden
seeds. It counts as diagnosed when each of these checks rejects it and names it.
"""

from __future__ import annotations

from benchmarks.harness import Goal
from course_lib.classroom.check import check
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
            right = all(check(exercise.reference, exercise, s).status == "right" for s in seeds)
            runs.append(
                {
                    "lesson": lesson,
                    "exercise": name,
                    "mistakes": len(exercise.mistakes),
                    "diagnosed": told,
                    "reference_right": right,
                }
            )
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    runs = result["runs"]
    per_lesson: dict[str, int] = {}
    for run in runs:
        per_lesson[run["lesson"]] = per_lesson.get(run["lesson"], 0) + 1
    lessons = {lesson: n for lesson, n in per_lesson.items() if lesson != TOUR}
    total = sum(run["mistakes"] for run in runs)
    told = sum(run["diagnosed"] for run in runs)
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
    ]
