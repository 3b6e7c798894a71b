"""Whose a file is, which of several counts, what is said of a file that cannot be graded.

No student's code runs here.
"""

import csv
import io
import json
import os
import random
import unicodedata
import zipfile
from pathlib import Path

import pytest

from course_lib.classroom.grade import notebook, reports, state, submissions
from course_lib.classroom.grade.submission import PASSED, UNTOUCHED, WRONG, Grade
from course_lib.commands import grade as command
from tests.classroom import hostile
from tests.classroom.hostile import RATE, cell

GOOD = hostile.notebook(cell(RATE, "return 'good'"))
BAD = hostile.notebook(cell(RATE, "return 'bad'"))
STUB = hostile.notebook(cell(RATE, "..."))


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Grade files, a folder or a zip, by reading alone; the rows of grades.csv by student."""

    def by_reading(data, seeds, slot, *, confined):
        return [
            Grade(name, UNTOUCHED if f.untouched else PASSED if "good" in f.program else WRONG)
            for name, f in notebook.read(data).items()
        ]

    monkeypatch.setattr(state, "grade", by_reading)

    def rows(files, *options):
        top = tmp_path / "in"
        if isinstance(files, dict):
            for path, data in files.items():
                (top / path).parent.mkdir(parents=True, exist_ok=True)
                (top / path).write_bytes(data)
        else:
            top = files
        line = [str(top), "--out", str(tmp_path / "out"), "--trusted", "--jobs", "1", *options]
        assert command.main(line) == 0
        text = (tmp_path / "out" / "grades.csv").read_text(encoding="utf-8-sig")
        return {row["student"]: row for row in csv.DictReader(io.StringIO(text))}

    return rows


@pytest.mark.parametrize(
    "files",
    [
        {"02_dqn.ipynb": STUB, "02_dqn-Copy1.ipynb": GOOD},
        {"02_dqn.ipynb": GOOD, "02_dqn-Copy1.ipynb": STUB},
        {"02_dqn.ipynb": BAD, "02_dqn (1).ipynb": GOOD},
        {"02_dqn-2.ipynb": BAD, "02_dqn-10.ipynb": GOOD},
        {"attempt 9/02_dqn.ipynb": BAD, "attempt 10/02_dqn.ipynb": GOOD},
        {"02_dqn.ipynb": GOOD, "old/02_dqn.ipynb": BAD},
        {"02_dqn.ipynb": GOOD, "03_ppo.ipynb": b"{"},
    ],
    ids=str,
)
def test_of_several_attempts_the_last_answered_one_counts(table, files):
    both = {f"ada/{path}": data for path, data in files.items()} | {"bob/02_dqn.ipynb": BAD}
    rows = table(both)
    assert {name: row[RATE] for name, row in rows.items()} == {"ada": "passed", "bob": "wrong"}
    assert rows["ada"]["problems"]  # names the other file


WHOSE = """
group_01_alpha_02_dqn.ipynb | group_02_beta_02_dqn.ipynb -> group_01_alpha | group_02_beta
hw02_ada.ipynb | hw02_bob.ipynb -> hw02_ada | hw02_bob
lab_1_4711_dqn.ipynb | lab_1_4712_dqn.ipynb -> lab_1_4711_dqn | lab_1_4712_dqn
team-07_x_02_dqn.ipynb | team-08_y_02_dqn.ipynb -> team-07_x | team-08_y
ada_02_dqn-Copy1.ipynb | ada_02_dqn - final.ipynb | ada 02_DQN.ipynb -> ada | ada | ada
student07_02_dqn.ipynb | 02_dqn_ada.ipynb -> 02_dqn_ada | student07
class/01_ada/02_dqn.ipynb | class/02_bob/02_dqn.ipynb -> 01_ada | 02_bob
class/ada/a.ipynb | class/bob/a.ipynb | class/99_smith/a.ipynb -> 99_smith | ada | bob
class/ada/a.ipynb | class/bob/a.ipynb | class/example.ipynb -> ada | bob | example
class/ada/a.ipynb | class/bob/a.ipynb | key.ipynb -> ada | bob | key
all/ada_02_dqn.ipynb | all/bob_02_dqn.ipynb -> ada | bob
all/love_4711_815_a.ipynb | all/tudor_9_816_a.ipynb -> love_4711_815 | tudor_9_816
all/Ada L_47_assignsubmission_a.ipynb | all/Eve T_9_assignsubmission_a.ipynb -> Ada L | Eve T
ada/drafts/02_dqn.ipynb -> ada
ada/02_dqn/02_dqn.ipynb | ada/01_q_learning/01_q_learning.ipynb -> ada | ada
submitted/ada/02_dqn/a.ipynb | source/02_dqn/a.ipynb | release/a.ipynb -> ada
submitted/bob/02_dqn/feedback/a.ipynb | submitted/cy/source/a.ipynb -> bob | cy
ada/source/a.ipynb | source/a.ipynb | dan/.02_dqn.ipynb -> ada | dan | source
ada/a.ipynb | __MACOSX/ada/._a.ipynb | ada/.ipynb_checkpoints/a.ipynb -> ada
"""


@pytest.mark.parametrize("line", WHOSE.strip().split("\n"))
def test_whose_a_file_is(tmp_path, line):
    paths, students = (side.split(" | ") for side in line.split(" -> "))
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(GOOD)
    assert sorted(each.student for each in submissions.find(tmp_path)) == students


def test_what_a_student_writes_into_a_name_takes_nobodys_number(tmp_path):
    name = "Eve T_9_assignsubmission_file_Ada L_4711_assignsubmission_x.ipynb"
    (tmp_path / name).write_bytes(GOOD)
    (found,) = submissions.find(tmp_path)
    assert (found.student, found.number) == ("Eve T", "9")


def test_a_link_to_anothers_work_is_not_followed(tmp_path, table):
    (tmp_path / "in" / "eve").mkdir(parents=True)
    (tmp_path / "in" / "eve" / "02_dqn.ipynb").symlink_to("../ada/02_dqn.ipynb")
    rows = table({"ada/02_dqn.ipynb": GOOD})
    assert rows["ada"][RATE] == "passed" and rows["eve"][RATE] == "not submitted"
    assert "It is a link to another file" in rows["eve"]["problems"]


def test_of_very_many_notebooks_the_last_are_graded(tmp_path):
    (tmp_path / "ada").mkdir()
    for number in range(submissions.MOST + 3):
        (tmp_path / "ada" / f"02_dqn-{number}.ipynb").write_bytes(GOOD)
    refused = [each.path for each in submissions.find(tmp_path) if each.refused]
    assert refused == [f"ada/02_dqn-{number}.ipynb" for number in range(3)]


def test_several_notebooks_side_by_side_are_named(tmp_path):
    for path in ("A/ada/02_dqn.ipynb", "A/bob/02_dqn.ipynb", "B/cy/02_dqn.ipynb"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(GOOD)
    (sentence,) = submissions.doubtful(submissions.find(tmp_path))
    assert sentence.startswith("A has 2 notebooks of 02_dqn, such as A/ada/02_dqn.ipynb and A/bob/")


@pytest.mark.parametrize(
    ("path", "student"),
    [
        ("eve/02_dqn.ipynb.txt", "eve"),
        ("eve/homework.zip", "eve"),
        ("eve/answer.pdf", "eve"),
        ("Eve T_9_assignsubmission_onlinetext/onlinetext.html", "Eve T"),
        ("tudoreve_4711_815_answer.docx", "tudoreve_4711_815"),
        ("tudoreve_4711_text.html", "tudoreve_4711"),
        ("eve_02_dqn.ipynb.txt", "eve"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_student_without_a_notebook_has_a_row_that_says_what_was_found(
    table, tmp_path, path, student, packed
):
    files = {"bob/02_dqn.ipynb": GOOD, "README.md": b"", path: b"x"}
    if packed:
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        files = tmp_path / "in.zip"
    rows = table(files)
    assert rows.keys() == {"bob", student}
    assert "only .ipynb is graded" in rows[student]["problems"]
    assert rows["bob"]["problems"] == ""


def test_an_archive_beside_a_notebook_is_named_and_other_files_are_not(table):
    files = {
        "ada/02_dqn.ipynb": GOOD,
        "ada/rest.ZIP": b"",
        "ada/plot.pdf": b"",
        "bob/a.IPYNB": GOOD,
    }
    rows = table(files)
    assert {row[RATE] for row in rows.values()} == {"passed"}
    assert "rest.ZIP" in rows["ada"]["problems"] and "plot" not in rows["ada"]["problems"]


def test_namesakes_are_two_and_two_files_of_one_student_are_one(table):
    rows = table(
        {
            "Al Smith_104_assignsubmission_file/02_dqn.ipynb": GOOD,
            "Al Smith_105_assignsubmission_file/02_dqn.ipynb": BAD,
            "Al Smith_105_assignsubmission_onlinetext/onlinetext.html": b"",
            "Mary_Ann_107_assignsubmission_file/02_dqn.ipynb": GOOD,
        }
    )
    assert {name: row[RATE] for name, row in rows.items()} == {
        "Al Smith (104)": "passed",
        "Al Smith (105)": "wrong",
        "Mary_Ann": "passed",
    }


def test_a_canvas_student_is_told_by_number_whatever_the_file_is_called(table, tmp_path):
    roster = tmp_path / "gradebook.csv"
    roster.write_text("Student,ID,Points\nA,4711,\nB,4712,\nC,4713,\n")
    rows = table(
        {
            "lovelaceada_4711_815_02_dqn.ipynb": STUB,
            "lovelaceada_LATE_4711_816_my homework final (3).ipynb": GOOD,
            "boole_4712_4711_4713_999_Copy of 02_dqn-1.ipynb": BAD,
        },
        *("--roster", str(roster), "--match", "ID", "--column", "Points"),
    )
    assert {name: row[RATE] for name, row in rows.items()} == {
        "lovelaceada_4711_815": "passed",
        "boole_4712_4711": "wrong",
    }
    filled = (tmp_path / "out" / "filled_gradebook.csv").read_text()
    assert filled == "Student,ID,Points\nA,4711,100\nB,4712,0\nC,4713,\n"


def test_names_in_any_encoding_are_read(table, tmp_path):
    folder = os.fsencode(tmp_path / "in") + b"/Jos\xe9"
    os.makedirs(folder)
    Path(os.fsdecode(folder), "02_dqn.ipynb").write_bytes(GOOD)
    decomposed = unicodedata.normalize("NFD", "Zoë")
    rows = table({f"{decomposed}/02_dqn.ipynb": GOOD, "\U0001d49c" * 60 + "/02_dqn.ipynb": GOOD})
    assert rows.keys() == {"José", "Zoë", "\U0001d49c" * 60}


def test_archives_of_macos_and_windows_are_read(table, tmp_path):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("Zoe/02_dqn.ipynb", GOOD)
        archive.writestr("Bob\\02_dqn.ipynb", BAD)
    data = (tmp_path / "in.zip").read_bytes().replace(b"Zoe", "Zö".encode())
    (tmp_path / "in.zip").write_bytes(data)
    rows = table(tmp_path / "in.zip")
    assert {name: row[RATE] for name, row in rows.items()} == {"Zö": "passed", "Bob": "wrong"}


def test_a_file_is_measured_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "LARGEST", 1000)
    with zipfile.ZipFile(tmp_path / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ada/02_dqn.ipynb", b" " * 1001)
    (tmp_path / "in" / "ada").mkdir(parents=True)
    (tmp_path / "in" / "ada" / "02_dqn.ipynb").write_bytes(b" " * 1001)
    found = [*submissions.find(tmp_path / "in"), *submissions.find(tmp_path / "in.zip")]
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    monkeypatch.setattr("builtins.open", None)
    for each in found:
        with pytest.raises(notebook.UnreadableNotebook, match="larger than 50 MB"):
            each.data()


ODD = {  # what stands in a cell or a file: a sentence's part, or "" where it can be graded
    "duplicate argument": cell(RATE, "return 1").replace("goal", "returns"),
    "global parameter": cell(RATE, "global goal\nreturn 1"),
    "star inside": cell(RATE, "from math import *\nreturn 1"),
    "yield in a comprehension": cell(RATE, "return [(yield 1) for _ in goal]"),
    "walrus in a comprehension": cell(RATE, "return [goal := 1 for goal in returns]"),
    "thousands of terms": cell(RATE, "return 0" + " + 0" * 9000),
    "half a character": cell(RATE, "return '\ud800'"),
    "null": cell(RATE, "return '\0'"),
    "a thousand magics": "%time\n" * 1000 + cell(RATE, "return 1"),
    "parentheses": cell(RATE, "return " + "(" * 300 + ")" * 300),
    "minus": cell(RATE, "return " + "-" * 5000 + "1"),
    "lambdas": cell(RATE, "return " + "lambda: " * 5000 + "1"),
}
FILES = {
    "nested": b'{"cells": ' + b"[" * 100_000,
    "values": b"[" + b"0," * 3_000_001 + b"0]",
    "a number": b"3",
    "cells of another kind": b'{"cells": [3]}',
    "latin-1": '{"cells": "é"}'.encode("latin-1"),
    "digits": b'{"cells": [' + b"1" * 5000 + b"]}",
    "code": hostile.notebook("x = 1\n" * 100_000),
}


def test_what_is_odd_about_one_submission_costs_only_itself(table):
    files = {name: hostile.notebook(source) for name, source in ODD.items()} | FILES
    rows = table({f"{name}/02_dqn.ipynb": data for name, data in files.items()} | _others())
    for name in files:
        assert rows[name]["problems"] or rows[name][RATE] == "wrong", name
    assert "more than the 3000000" in rows["values"]["problems"]
    assert "500000" in rows["code"]["problems"]
    assert rows["a good one"][RATE] == "passed" and rows["a stub"][RATE] == "not attempted"


def test_what_is_odd_but_valid_is_graded(table):
    nested = json.loads(GOOD)
    for _ in range(450):
        nested["metadata"] = {"x": nested["metadata"]}
    terms = hostile.notebook(cell(RATE, "good = 0" + " + 0" * 400 + "\nreturn 'good'"))
    files = {"nested": json.dumps(nested).encode(), "terms": terms}
    files |= {"utf-16": GOOD.decode().encode("utf-16"), "mark": b"\xef\xbb\xbf" + GOOD}
    rows = table({f"{name}/02_dqn.ipynb": data for name, data in files.items()})
    assert {row[RATE] for row in rows.values()} == {"passed"}


def test_an_error_of_our_own_costs_one_submission_and_is_tried_again(table, monkeypatch):
    def fails(data, *args, **kwargs):
        raise OSError("no more \ud800 processes") if data == BAD else RuntimeError

    real = state.grade
    monkeypatch.setattr(state, "grade", fails)
    rows = table({"ada/02_dqn.ipynb": BAD})
    assert "It was not graded: OSError" in rows["ada"]["problems"]
    monkeypatch.setattr(state, "grade", real)
    assert table({"ada/02_dqn.ipynb": BAD})["ada"][RATE] == "wrong"


def _others():
    return {"a good one/02_dqn.ipynb": GOOD, "a stub/02_dqn.ipynb": STUB}


def _mutated(draw: random.Random, data: bytes) -> bytes:
    """A notebook with a few bytes, or a few characters of its code, changed, lost or doubled."""
    text = bytearray(data)
    if draw.random() < 0.5:  # a valid file with odd code
        parts = [
            "(",
            ")",
            '"""',
            "\\",
            "\n",
            "%",
            "!",
            "?",
            "%%time\n",
            "@",
            "\ud800",
            "\0",
            "\U0001d49c",
            ":",
        ]
        code = list(cell(RATE, "return [x for x in returns if x] + [{'a': goal}]"))
        for _ in range(draw.randint(1, 6)):
            place = draw.randrange(len(code))
            code[place : place + draw.randint(0, 3)] = draw.choice([*parts, *code])
        return hostile.notebook("".join(code))
    for _ in range(draw.randint(1, 6)):
        begin = draw.randrange(len(text))
        piece = text[begin : begin + draw.randint(1, 40)]
        change = draw.choice(
            [b"", piece * 2, draw.randbytes(3), b'{"', b"[" * 50, b"null", b"1e999"]
        )
        text[begin : begin + len(piece)] = change
    return bytes(text)


SHAPES = [
    *("{}/02_dqn.ipynb", "{}_4711_815_02_dqn.ipynb", "{}_7_assignsubmission_file/{}.IPYNB"),
    *("{}.ipynb", "{}/{}.zip", "{}/{}.txt", "{}", "{}/{}/02_dqn-{}.ipynb", "/../{}.ipynb"),
]


def test_500_mutated_notebooks_and_names_leave_the_others_as_they_are(table, tmp_path):
    draw = random.Random(0)
    alphabet = "aZ0_-. (),;=ßé\u0301\ud83d\U0001d49c\udcff\n'\"%" + "名"
    archive = tmp_path / "in.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path, data in _others().items():
            zipped.writestr(path, data)
        for number in range(500):
            folder = "".join(draw.choices(alphabet, k=draw.randint(1, 12)))
            name = draw.choice(SHAPES).replace("{}", folder)
            member = zipfile.ZipInfo(f"{number}{name}".encode(errors="replace").decode())
            zipped.writestr(member, _mutated(draw, GOOD))
    roster = tmp_path / "roster.csv"
    roster.write_text("Name;Points\na good one;\n" + "\n".join(alphabet[:9]), "utf-8")
    options = ("--roster", str(roster), "--match", "Name", "--column", "Points")
    rows = table(archive, *options)
    assert len(rows) > 300
    assert rows["a good one"][RATE] == "passed" and rows["a stub"][RATE] == "not attempted"
    assert rows["a good one"]["problems"] == rows["a stub"]["problems"] == ""
    filled = (tmp_path / "out" / "filled_roster.csv").read_text("utf-8")
    assert filled.startswith("Name;Points\na good one;") and "one;\n" not in filled


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (["a", "a", "a", "a", "ab"], "a"),  # one exercise of another lesson among five students
        (["a", "ab", "ab"], "ab"),
        (["a", "b"], "ab"),  # nothing that two have sent
        (["ab"], "ab"),
    ],
)
def test_a_lesson_of_one_student_alone_counts_for_nobody(sent, kept):
    students = [
        reports.Student(
            str(number), {f"{lesson}.x": Grade(f"{lesson}.x", PASSED) for lesson in lessons}
        )
        for number, lessons in enumerate(sent)
    ]
    state.keep_lessons(students, set())
    assert {name[0] for student in students for name in student.grades} == set(kept)


def test_what_a_stopped_run_did_not_come_to_is_named(tmp_path, table):
    table({"ada/02_dqn.ipynb": GOOD, "bob/02_dqn.ipynb": GOOD})
    (tmp_path / "in" / "ada" / "02_dqn.ipynb").write_bytes(BAD)
    found, folder = submissions.find(tmp_path / "in"), tmp_path / "out" / "state"
    old = state.not_reached(found, folder, state.seed(folder, None))
    assert old == {"ada/02_dqn.ipynb"}
    ada, bob = state.students(found, folder, old)
    assert "that of an earlier file" in ada.problems[0] and not bob.problems


@pytest.mark.skipif(os.name == "nt", reason="needs links")
def test_a_link_to_a_folder_is_followed_at_the_top_alone(tmp_path):
    (tmp_path / "elsewhere" / "bob").mkdir(parents=True)
    (tmp_path / "elsewhere" / "bob" / "02_dqn.ipynb").write_text("{}")
    (tmp_path / "in" / "ada").mkdir(parents=True)
    (tmp_path / "in" / "ada" / "02_dqn.ipynb").write_text("{}")
    (tmp_path / "in" / "ada" / "more").symlink_to(tmp_path / "elsewhere" / "bob")
    (tmp_path / "in" / "bob").symlink_to(tmp_path / "elsewhere" / "bob")
    (tmp_path / "in" / "eve").symlink_to(tmp_path / "in" / "ada")
    found = submissions.find(tmp_path / "in")
    assert [(each.student, each.path) for each in found] == [
        ("ada", "ada/02_dqn.ipynb"),
        ("bob", "bob/02_dqn.ipynb"),
    ]


def test_a_folder_that_cannot_be_read_loses_nobody(tmp_path, monkeypatch):
    (tmp_path / "ada").mkdir()

    def walk(top, onerror):
        onerror(PermissionError(13, "Permission denied", f"{top}/ada"))
        return iter(())

    monkeypatch.setattr(os, "walk", walk)
    with pytest.raises(FileNotFoundError, match="ada cannot be read: Permission denied"):
        submissions.find(tmp_path)


def test_one_student_with_files_of_several_names_is_doubtful(tmp_path):
    (tmp_path / "hw0").mkdir()
    for name in ("ada", "bob", "cy"):
        (tmp_path / "hw0" / f"{name}.ipynb").write_text("{}")
    (sentence,) = submissions.doubtful(submissions.find(tmp_path))
    assert "hw0 has notebooks of 3 names in one folder" in sentence
