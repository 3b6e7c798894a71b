"""The commands behind `python -m course_lib`, one file each."""
