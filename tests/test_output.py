"""What the course prints reaches streams that have no ✓."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CARDS = """
from course_lib.classroom import cards
from course_lib.classroom.check import Verdict
from course_lib.evaluation import claim
for status in ("right", "wrong", "not attempted"):
    cards.show_verdict("a.b", Verdict(status, reason="ε − 1"), uses_own=False)
cards.show_hint("a.b", 1, 2, "It’s …")
cards.show_progress([("a.b", "right", 1, 0), ("a.c", "not attempted", 0, 0)])
claim("One is one", 1, "==", 1)
"""


def run(encoding, *argv):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    call = [sys.executable, *argv]
    done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode(encoding)
    return done.stdout.decode(encoding), done.stderr.decode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_cards_and_claims_print_on_every_stream(encoding):
    printed, _ = run(encoding, "-c", CARDS)
    marks = [line[0] for line in printed.splitlines() if line[0] in "+xo-✓✗○→"]
    expected = "✓✗○→✓○✓" if encoding == "utf-8" else "+xo-+o+"
    assert "".join(marks) == expected
    assert ("ε − 1" if encoding == "utf-8" else "\\u03b5 - 1") in printed


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_commands_print_on_every_stream(encoding):
    printed, _ = run(encoding, "-m", "course_lib", "doctor", "--here")
    assert printed.splitlines()[0].startswith(("+ Python", "! Python"))
    _, told = run(encoding, "-m", "course_lib", "grade", "--here", "no ✓ here", "--out", "x")
    assert told == "There is no folder or zip file no + here.\n"
