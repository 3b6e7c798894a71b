"""One room per lesson: its exercises, its widget, its project, and what no other lesson uses.

The classroom does not know the lessons. Importing any of them hands it the look-up below, so that
`@exercise("dqn.td_target")` finds `td_target` in `lessons/dqn/exercises.py`.
"""

import importlib
from pathlib import Path

from course_lib.classroom.check import Exercise
from course_lib.classroom.exercise import set_look_up
from course_lib.classroom.project import Project, set_look_up as set_project_look_up

NAMES = sorted(path.parent.name for path in Path(__file__).parent.glob("*/exercises.py"))
WITH_PROJECT = sorted(path.parent.name for path in Path(__file__).parent.glob("*/project.py"))


def exercises_of(lesson: str) -> dict[str, Exercise]:
    """The exercises of a lesson in the order in which its file defines them."""
    if lesson not in NAMES:
        raise KeyError(f"no lesson named {lesson!r}; there are: {', '.join(NAMES)}")
    module = importlib.import_module(f"course_lib.lessons.{lesson}.exercises")
    return {name: value for name, value in vars(module).items() if isinstance(value, Exercise)}


def project_of(lesson: str) -> Project:
    """The project at the end of a lesson."""
    if lesson not in WITH_PROJECT:
        known = ", ".join(WITH_PROJECT)
        raise KeyError(f"no lesson named {lesson!r} has a project; these have: {known}")
    return importlib.import_module(f"course_lib.lessons.{lesson}.project").PROJECT


set_look_up(exercises_of)
set_project_look_up(project_of)
