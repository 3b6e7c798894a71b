"""One file per command of `python -m course_lib`."""
