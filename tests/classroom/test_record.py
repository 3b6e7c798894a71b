"""What was solved outlives the kernel, is shown across lessons, and never gets in the way."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from course_lib.classroom import cards, course_map, quiz, record
from course_lib.classroom.exercise import exercise, progress
from course_lib.commands import refresh
from course_lib.lessons import exercises_of

ROOT = Path(__file__).parents[2]
RIGHT = {"right": "B", "answers": {"a": "No.", "b": "Yes."}}


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """As in a kernel whose notebook lies in an empty folder; a call starts another kernel."""

    def start():
        monkeypatch.setattr(record, "_mine", {})
        monkeypatch.setattr(record, "_told", set())
        monkeypatch.setattr(sys.modules[exercise.__module__], "_seen", {})

    start()
    monkeypatch.setattr(record, "in_notebook", lambda: True)
    monkeypatch.setattr(record, "_folder", tmp_path)
    monkeypatch.delenv(record.OFF, raising=False)
    return start


def file(folder):
    return folder / record.FILE


def names(folder):
    return set(json.loads(file(folder).read_text(encoding="utf-8"))["solved"])


def solve(answer=lambda rewards, gamma: sum(gamma**k * r for k, r in enumerate(rewards))):
    def discounted_return(rewards, gamma):
        return answer(rewards, gamma)

    return exercise("start_here.discounted_return")(discounted_return)


def untouched():
    @exercise("start_here.discounted_return")
    def discounted_return(rewards, gamma): ...


def ask(key="start_here.1"):
    return quiz(key, "Which?", RIGHT["answers"], right=RIGHT["right"])


def notebook(path, *code, title="# 01 · A lesson"):
    cells = [nbformat.v4.new_markdown_cell(title), *map(nbformat.v4.new_code_cell, code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def test_what_is_solved_is_known_to_the_next_kernel(kernel, tmp_path, capsys):
    solve()
    ask().answer("A")
    ask().answer("B")
    data = json.loads(file(tmp_path).read_text(encoding="utf-8"))
    assert set(data["solved"]) == {"start_here.discounted_return", "start_here.1"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", data["solved"]["start_here.1"])
    assert [path.name for path in tmp_path.iterdir()] == [record.FILE]
    kernel()
    capsys.readouterr()
    untouched()
    assert "You solved it on" in capsys.readouterr().out
    progress()
    shown = capsys.readouterr().out
    assert "✓ start_here.discounted_return  solved earlier" in shown
    assert "The course: 1 exercise and 1 quiz solved" in shown
    assert ask().status().startswith("You solved this one on")
    assert "Choose an answer." not in ask("start_here.2").status()[:3]


def test_an_answer_that_was_right_and_is_wrong_now_is_both(kernel, capsys):
    solve()
    kernel()
    capsys.readouterr()
    solve(lambda rewards, gamma: -1.0)
    shown = capsys.readouterr().out
    assert "Not yet." in shown and "You solved it on" in shown
    progress()
    shown = capsys.readouterr().out
    assert "0 of 2 exercises right, 1 solved earlier" in shown
    assert "✗ start_here.discounted_return  wrong now, solved earlier, attempts: 1" in shown
    solve()
    capsys.readouterr()
    progress()
    assert "1 of 2 exercises right\n" in capsys.readouterr().out


def test_nobody_who_solved_nothing_sees_or_leaves_a_trace(kernel, tmp_path, capsys):
    untouched()
    solve(lambda rewards, gamma: -1.0)
    ask().answer("A")

    @exercise("start_here.success_rate")  # lesson 00 shows this answer itself
    def success_rate(returns, goal):
        return float((returns >= goal).mean())

    capsys.readouterr()
    progress()
    shown = capsys.readouterr().out
    assert "1 of 2 exercises right\n" in shown and "The course" not in shown
    assert list(tmp_path.iterdir()) == []
    ask().answer("B")
    assert names(tmp_path) == {"start_here.1", "start_here.success_rate"}


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_notebook_answers_no_exercise_but_the_shown_one(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = [
        str(o.get("data", {}).get("text/plain", "")) for c in cells for o in c.get("outputs", [])
    ]
    right = {name for t in texts for name in re.findall(r"✓ ([a-z_]+\.\w+): Right\.", t)}
    assert right <= record.GIVEN


def test_outside_a_notebook_and_while_lessons_are_stored_nothing_happens(
    kernel, tmp_path, monkeypatch, capsys
):
    solve()
    before = file(tmp_path).read_bytes()
    monkeypatch.setenv(record.OFF, "off")
    ask().answer("B")
    assert record.solved() == {} and file(tmp_path).read_bytes() == before
    monkeypatch.delenv(record.OFF)
    monkeypatch.setattr(record, "in_notebook", lambda: False)
    ask().answer("B")
    assert record.solved() == {} and file(tmp_path).read_bytes() == before


def test_two_notebooks_at_once_lose_nothing_of_each_other(kernel, tmp_path, monkeypatch):
    solve()
    write, others = record._write, iter([{"dqn.td_target": "2026-01-01"}, {}, {}, {}])

    def overtaken(data):
        write(data)  # and at once the other notebook writes what it read before
        if other := next(others):
            write({"about": record.ABOUT, "solved": other})

    monkeypatch.setattr(record, "_write", overtaken)
    ask().answer("B")
    assert names(tmp_path) == {"dqn.td_target", "start_here.1", "start_here.discounted_return"}


def test_what_others_put_into_the_file_stays_there(kernel, tmp_path):
    kept = {"note": "mine", "solved": {"dqn.td_target": "2026-01-01", "x.y": 7}}
    file(tmp_path).write_text(json.dumps(kept), encoding="utf-8")
    solve()
    data = json.loads(file(tmp_path).read_text(encoding="utf-8"))
    assert data["note"] == "mine" and data["solved"]["x.y"] == 7
    assert data["solved"]["dqn.td_target"] == "2026-01-01"
    assert "x.y" not in record.solved()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"solved": 3}', b"\xff\xfe", b"[" * 200_000, b'"\\ud800"', b"null"],
    ids=["empty", "cut", "list", "number", "bytes", "deep", "surrogate", "null"],
)
def test_a_file_that_cannot_be_read_is_set_aside_and_said_once(kernel, tmp_path, capsys, content):
    file(tmp_path).write_bytes(content)
    progress()
    untouched()
    assert file(tmp_path).read_bytes() == content, "looking changes nothing"
    capsys.readouterr()
    solve()
    shown = capsys.readouterr().out
    assert "could not be read. It is now `course_progress-unreadable-1.json`" in shown
    assert (tmp_path / "course_progress-unreadable-1.json").read_bytes() == content
    assert names(tmp_path) == {"start_here.discounted_return"}
    solve()
    assert "could not be read" not in capsys.readouterr().out
    file(tmp_path).write_bytes(b"{")
    ask().answer("B")
    assert (tmp_path / "course_progress-unreadable-2.json").read_bytes() == b"{"
    assert names(tmp_path) == {"start_here.discounted_return", "start_here.1"}


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_or_read_only_disk_costs_a_sentence_and_no_progress(
    kernel, tmp_path, monkeypatch, capsys, where
):
    ask("dqn.1").answer("B")
    before = file(tmp_path).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(record.os, where, full)
        capsys.readouterr()
        solve()
        shown = capsys.readouterr().out
        assert "remembered only until the kernel ends" in shown
        assert "(No space left on device)" in shown
        again = ask()
        again.answer("B")
        assert again.status() == "Solved with 1 answer."
        progress()
        shown = capsys.readouterr().out
        assert "No space left" not in shown and "1 exercise and 2 quizzes" in shown
    assert file(tmp_path).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [record.FILE], "no half-written file"
    ask("dqn.2").answer("B")  # there is room again
    assert len(names(tmp_path)) == 4


def test_a_folder_in_its_place_or_gone_costs_a_sentence(kernel, tmp_path, monkeypatch, capsys):
    file(tmp_path).mkdir()
    solve()
    assert "cannot be written" in capsys.readouterr().out
    monkeypatch.setattr(record, "_folder", tmp_path / "gone")
    kernel()
    solve()
    assert "cannot be written" in capsys.readouterr().out
    progress()
    assert "1 of 2 exercises right" in capsys.readouterr().out


def test_the_map_lists_every_lesson_in_the_folder(kernel, tmp_path, capsys):
    notebook(
        tmp_path / "01_walk.ipynb",
        '@exercise("walk.step")\ndef step(x): ...',
        '@exercise("walk.run", keep_mine=True)\ndef run(x): ...',
        'quiz(\n    "walk.1",\n    "?",\n    {"a": "b"})',
        title="# 01 · Walk *on*",
    )
    notebook(
        tmp_path / "02_swim.ipynb",
        '@exercise("swim.crawl")\ndef crawl(x): ...',
        title="# 02 · Swim",
    )
    notebook(
        tmp_path / "01_walk-Copy1.ipynb", '@exercise("walk.step")\ndef step(x): ...', title="# Mine"
    )
    notebook(tmp_path / "a.ipynb", '@exercise("walk.step")\ndef step(x): ...', title="# Scribble")
    notebook(tmp_path / "empty.ipynb", "1 + 1")
    (tmp_path / "broken.ipynb").write_text("{", encoding="utf-8")
    (tmp_path / "odd.ipynb").write_text('{"cells": [3]}', encoding="utf-8")
    file(tmp_path).write_text(
        json.dumps({"solved": dict.fromkeys(["walk.step", "swim.crawl", "<b>.x", "dqn.1"], "d")})
    )
    lessons = course_map.course(tmp_path, record.solved())
    assert [(each.name, each.file) for each in lessons] == [
        ("walk", "01_walk.ipynb"),
        ("swim", "02_swim.ipynb"),
        ("<b>", ""),
        ("dqn", ""),
    ]
    progress()
    assert capsys.readouterr().out.splitlines() == [
        "The course: 3 exercises and 1 quiz solved",
        "○ 01 · Walk on: begun, exercises: 1 of 2, quizzes: 0 of 1",
        "✓ 02 · Swim: complete, exercises: 1 of 1, quizzes: 0 of 0",
        "○ <b>: not in this folder, exercises: 1, quizzes: 0",
        "○ dqn: not in this folder, exercises: 0, quizzes: 1",
    ]


def test_the_map_links_the_lessons_and_escapes_what_the_file_says(kernel, tmp_path, monkeypatch):
    pages = []
    monkeypatch.setattr(cards, "_emit", lambda text, rich: pages.append(rich))
    notebook(tmp_path / "01 it's.ipynb", '@exercise("walk.step")\ndef step(x): ...', title="# <i>A")
    cards.show_course(course_map.course(tmp_path, ["<b>.x"]), ["<b>.x"])
    assert "<a href='01%20it%27s.ipynb'>&lt;i&gt;A</a>" in pages[0]
    assert "&lt;b&gt;" in pages[0] and "<b>.x" not in pages[0]


def test_the_map_knows_the_exercises_and_quizzes_of_this_course():
    lessons = course_map.find(ROOT / "notebooks")
    files = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert [lesson.file for lesson in lessons] == files
    for lesson in lessons:
        assert lesson.file == f"{lesson.file[:2]}_{lesson.name}.ipynb"
        assert lesson.title.startswith(lesson.file[:2])
        assert set(lesson.exercises) == {f"{lesson.name}.{n}" for n in exercises_of(lesson.name)}
        assert lesson.quizzes


def test_a_real_kernel_writes_beside_its_notebook_and_a_new_one_reads(tmp_path):
    head = "import os\nfrom course_lib import lessons\n"
    head += "from course_lib.classroom import exercise, progress\nos.chdir('/')"
    answer = '@exercise("start_here.discounted_return")\ndef discounted_return(rewards, gamma):\n'
    right = answer + "    return sum(gamma**k * r for k, r in enumerate(rewards))"
    folder, path = tmp_path / "learner", tmp_path / "learner" / "01_a.ipynb"
    folder.mkdir()

    def run(*code, execute):
        notebook(path, head, *code)
        execute(path)
        cells = nbformat.read(path, as_version=4).cells
        return [o.data["text/plain"] for c in cells for o in c.get("outputs", []) if "data" in o]

    def as_a_learner(path):
        book = nbformat.read(path, as_version=4)
        NotebookClient(book, resources={"metadata": {"path": str(folder)}}, timeout=120).execute()
        nbformat.write(book, path)

    assert "Right." in run(right, execute=refresh.execute)[0]
    assert not file(folder).exists(), "what `refresh` stores is nobody's progress"
    assert "Right." in run(right, execute=as_a_learner)[0]
    assert names(folder) == {"start_here.discounted_return"}
    stub = answer + "    ..."
    shown = run(stub, "progress()", execute=as_a_learner)
    assert "solved earlier" in shown[1] and "The course: 1 exercise" in shown[2]
    assert len(run(stub, "progress()", execute=refresh.execute)) == 2


def test_a_script_writes_nothing(tmp_path):
    code = (
        "from course_lib import lessons\n"
        "from course_lib.classroom import exercise, quiz\n"
        "quiz('a.1', '?', {'a': 'b', 'c': 'd'}, right='A').answer('A')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert list(tmp_path.iterdir()) == []
