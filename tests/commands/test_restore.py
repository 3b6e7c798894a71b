"""restore: nothing is lost, answers arrive in the fresh lesson, and wrong input is a sentence."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib.commands import bootstrap, refresh, restore
from course_lib.commands.bootstrap import SetupError

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

STUB = '@exercise("small.half")\ndef half(x):\n    """Return half of x."""\n    ...'
ANSWER = STUB.replace("...", "return x / 2  # mine: ½")
SHOWN = '@exercise("small.shown")\ndef shown(x):\n    return {}'


def notebook(*sources):
    cells = [
        {
            "cell_type": "code" if "@" in source or "=" in source else "markdown",
            "id": f"c{number}",
            "metadata": {},
            "source": source.splitlines(keepends=True),
        }
        for number, source in enumerate(sources)
    ]
    for cell in cells:
        if cell["cell_type"] == "code":
            cell.update(outputs=[{"output_type": "stream"}], execution_count=3)
    content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def sources(path):
    return ["".join(cell["source"]) for cell in json.loads(path.read_bytes())["cells"]]


def git(folder, *arguments):
    name = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(["git", *name, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def commit(folder, content, message):
    path = folder / "notebooks" / "02_small.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)


FIRST = notebook("# Small", SHOWN.format("x"), SHOWN.format("x + 1"), STUB, "y = 1")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A clone of a course with one lesson, and the repository that it was cloned from."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    origin.mkdir()
    git(origin, "init", "-q", "-b", "main")
    commit(origin, FIRST, "first")
    git(tmp_path, "clone", "-q", str(origin), str(clone))
    monkeypatch.setattr(restore, "ROOT", clone)
    monkeypatch.setattr(refresh, "NOTEBOOKS", clone / "notebooks")
    return clone


def mine(course):
    return sorted((course / "notebooks").glob("*.mine-*.ipynb"))


def test_answers_move_and_the_file_stays(course, capsys):
    path = course / "notebooks" / "02_small.ipynb"
    edited = notebook("# Small", SHOWN.format("x"), SHOWN.format("x + 1"), ANSWER, "y = 2", "notes")
    path.write_bytes(edited)
    assert restore.main(["02"]) == 0
    (kept,) = mine(course)
    assert kept.read_bytes() == edited
    assert kept.name.startswith("02_small.mine-20")
    assert sources(path) == ["# Small", SHOWN.format("x"), SHOWN.format("x + 1"), ANSWER, "y = 1"]
    cells = json.loads(path.read_bytes())["cells"]
    assert [bool(cell.get("outputs")) for cell in cells] == [False, True, True, False, True]
    printed = capsys.readouterr().out
    assert kept.name in printed and "small.half" in printed and "small.shown" not in printed
    assert [p.name for p in refresh.lessons()] == ["02_small.ipynb"], "what is kept is no lesson"


def test_a_second_time_on_the_same_day_keeps_both_files(course):
    path = course / "notebooks" / "02_small.ipynb"
    for word in ("one", "two", "three"):
        path.write_bytes(notebook(word))
        assert restore.main(["2"]) == 0
    assert [sources(each)[0] for each in mine(course)] == ["two", "three", "one"]
    assert path.read_bytes() == FIRST


def test_a_lesson_as_it_was_shipped_is_left_alone(course, capsys):
    path = course / "notebooks" / "02_small.ipynb"
    path.write_bytes(FIRST.replace(b"\n", b"\r\n"))  # as git on Windows may write it
    assert restore.main(["02_small"]) == 0
    assert "nothing to restore" in capsys.readouterr().out and mine(course) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"cells": [{}]}', b"\xff\xfe"])
def test_a_file_that_is_no_notebook_any_more_is_kept_as_well(course, content, capsys):
    path = course / "notebooks" / "02_small.ipynb"
    path.write_bytes(content)
    assert restore.main(["02"]) == 0
    assert path.read_bytes() == FIRST and mine(course)[0].read_bytes() == content
    assert "no notebook that can be read" in capsys.readouterr().out


def test_what_was_restored_already_makes_no_more_files(course, capsys):
    path = course / "notebooks" / "02_small.ipynb"
    path.write_bytes(notebook("# Small", ANSWER))
    assert restore.main(["02"]) == 0
    (kept,), restored = mine(course), path.read_bytes()
    for argv in (["02"], ["--pull"]):
        assert restore.main(argv) == 0
        assert "holds your answers and nothing else" in capsys.readouterr().out
        assert mine(course) == [kept] and path.read_bytes() == restored


def test_a_lesson_that_was_deleted_comes_back(course):
    path = course / "notebooks" / "02_small.ipynb"
    path.unlink()
    assert restore.main(["02_small.ipynb"]) == 0
    assert path.read_bytes() == FIRST and mine(course) == []


def test_answers_that_were_committed_are_not_taken_for_the_shipped_lesson(course):
    commit(course, notebook("# Small", ANSWER), "my answers")
    assert restore.main(["02"]) == 0
    path = course / "notebooks" / "02_small.ipynb"
    assert sources(path) == ["# Small", SHOWN.format("x"), SHOWN.format("x + 1"), ANSWER, "y = 1"]


def test_pull_gets_the_new_lesson_with_the_old_answers(course, tmp_path, capsys):
    path = course / "notebooks" / "02_small.ipynb"
    gone = '@exercise("small.gone")\ndef gone(x):\n    return 1'
    path.write_bytes(notebook("mine", SHOWN.format("x"), SHOWN.format("x + 1"), ANSWER, gone))
    clearer = SHOWN.format("x + 2  # clearer")
    new = notebook("# Small, second edition", SHOWN.format("x"), clearer, STUB)
    commit(tmp_path / "origin", new, "second")
    assert restore.main(["--pull"]) == 0
    assert sources(path) == ["# Small, second edition", SHOWN.format("x"), clearer, ANSWER]
    assert sources(mine(course)[0])[0] == "mine"
    printed = capsys.readouterr().out
    assert "no place for them: small.gone" in printed


def test_a_pull_that_fails_leaves_the_answers_in_place(course, tmp_path, capsys):
    path = course / "notebooks" / "02_small.ipynb"
    path.write_bytes(notebook("# Small", ANSWER))
    shutil.rmtree(tmp_path / "origin")
    assert restore.main(["--pull"]) != 0
    assert ANSWER in sources(path) and len(mine(course)) == 1
    assert "could not get the new version" in capsys.readouterr().out


def test_without_git_another_copy_serves(course, tmp_path):
    shutil.rmtree(course / ".git")
    path = course / "notebooks" / "02_small.ipynb"
    path.write_bytes(notebook(ANSWER))
    with pytest.raises(SetupError, match=r"git knows no shipped 02_small\.ipynb.*--from FOLDER"):
        restore.main(["02"])
    with pytest.raises(SetupError, match="nothing to pull from"):
        restore.main(["--pull"])
    assert mine(course) == [], "an error changes nothing"
    assert restore.main(["02", "--from", str(tmp_path / "origin")]) == 0
    assert ANSWER in sources(path) and sources(path)[0] == "# Small"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([], "Which lesson.*restore 02"),
        (["77"], "There is no notebook `77`; there are: 02_small"),
        (["02_smal1"], "There is no notebook `02_smal1`"),
        (["02", "--pull"], "stands alone"),
        (["02", "--from", "nowhere"], "nowhere is no copy of the course"),
        (["02", "--form", "x"], "unrecognized arguments.*restore 02"),
    ],
)
def test_wrong_input_is_a_sentence(course, argv, sentence):
    with pytest.raises(SetupError, match=sentence):
        restore.parse(argv)


def test_it_needs_no_package_and_installs_nothing(monkeypatch):
    """-S hides every installed package."""
    command = [sys.executable, "-S", "-m", "course_lib", "restore", "--from", "nowhere", "02"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no copy of the course" in done.stderr
    monkeypatch.setattr(bootstrap, "prepare", lambda *_, **__: pytest.fail("it installed"))
    assert bootstrap.run("restore", []) == 2
