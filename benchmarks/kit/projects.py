"""The projects that lessons end with: the number to beat, and what a reference answer reaches.

Ten seeds that no setting was chosen on. Learners measure theirs on the same seeds.
"""

from __future__ import annotations

from benchmarks.harness import Goal, by, fresh_seeds
from course_lib import lessons
from course_lib.classroom.project import BASELINE, REFERENCE
from course_lib.evaluation import over_seeds, t_interval


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    runs = []
    for lesson in lessons.WITH_PROJECT:
        project = lessons.project_of(lesson)
        for who, answer in ((BASELINE, project.baseline), (REFERENCE, project.reference)):
            runs += [
                {"project": lesson, "answer": who, "seed": seed, "metric": metric}
                for seed in seeds
                for metric in [project.metric(answer, seed)]
            ]
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    goals = []
    for lesson, runs in by(result["runs"], "project").items():
        project = lessons.project_of(lesson)
        theirs, mine = (
            [run["metric"] for run in runs if run["answer"] == who] for who in (BASELINE, REFERENCE)
        )
        gain = [(m - t) * (1 if project.more else -1) for m, t in zip(mine, theirs, strict=True)]
        goals.append(
            Goal(
                f"project of {lesson}: {project.unit}, {len(mine)} seeds",
                "the reference above the baseline, t interval off 0",
                f"reference {over_seeds(mine)}, baseline {over_seeds(theirs)}, "
                f"difference {over_seeds(gain)}",
                len(gain) > 1 and bool(t_interval(gain)[1] > 0),
            )
        )
    return goals
