"""The kit's commands, `python -m course_lib COMMAND`: lab, test, doctor, slides, and others.

This file keeps to syntax that old Pythons parse, so that they can say what is wrong
instead of showing a traceback.
"""

import sys

USAGE = """usage: python -m course_lib COMMAND [options]

  lab      open JupyterLab on the first notebook       [--port N] [--no-browser]
  test     run the whole test suite, notebooks too     [options of pytest]
  doctor   say what works on this machine, and what to do about the rest
  slides   build the slide decks                       [--pdf] [NAME ...]
  assign   copies of lessons for students              [NAME ...] --out DIR [--solutions]
  grade    grade a folder of submitted notebooks       SUBMISSIONS --out DIR
  binder   the link that opens a lesson on Binder      OWNER/REPO [--lesson NAME]
  restore  a lesson as it was shipped, with your answers in it
                                                       NAME ... [--from DIR], or --pull
  refresh  run notebooks again and store their outputs [NAME ...]

Every command but doctor, binder and restore prepares `.venv` first, if anything is missing there.
  --fresh  make `.venv` anew
  --here   use the Python that runs this command as it is, and install nothing
"""


def main(argv):
    """Run one command; return its exit code (2: it could not start)."""
    if sys.version_info < (3, 11):
        sys.stderr.write(
            "The course kit needs Python 3.11 or newer, and this is Python %d.%d (%s).\n"
            "Install a newer one and name it, for example: python3.12 -m course_lib lab\n"
            % (sys.version_info[0], sys.version_info[1], sys.executable)
        )
        return 2
    if not argv or argv[0] in ("-h", "--help", "help"):
        sys.stdout.write(USAGE)
        return 0
    from course_lib.commands import bootstrap

    return bootstrap.run(argv[0], argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
