"""For people: exercises, quizzes, progress bars, plots and videos in the notebook.

    from course_lib.classroom import exercise, plots, progress, project, quiz, track, use, video

The functions `exercise`, `project`, `quiz`, `track` and `use` share their names with their modules.
Importing them here, after their modules, makes the name in this package mean the function; the
modules stay reachable as `from course_lib.classroom.track import ...`. `plots` and `video` are
modules, loaded when you import them.
"""

from course_lib.classroom.exercise import exercise, progress
from course_lib.classroom.history import History
from course_lib.classroom.project import project
from course_lib.classroom.quiz import Quiz, quiz
from course_lib.classroom.track import track
from course_lib.classroom.use import use

__all__ = ["History", "Quiz", "exercise", "progress", "project", "quiz", "track", "use"]
