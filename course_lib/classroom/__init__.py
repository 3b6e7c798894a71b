"""For people: exercises, quizzes, progress bars, plots and videos in the notebook.

    from course_lib.classroom import exercise, plots, progress, quiz, track, video

The functions `exercise`, `quiz` and `track` share their names with the modules that define them.
Importing them here, after their modules, makes the name in this package mean the function; the
modules stay reachable as `from course_lib.classroom.track import ...`. `plots`, `video` and
`widgets` are modules, loaded when you import them.
"""

from course_lib.classroom.exercise import exercise, progress
from course_lib.classroom.quiz import Quiz, quiz
from course_lib.classroom.track import History, track

__all__ = ["History", "Quiz", "exercise", "progress", "quiz", "track"]
