"""A learning system's table gets one column filled in and is otherwise left alone."""

import unicodedata

import pytest

from course_lib.classroom.grade.roster import RosterError, fill
from course_lib.commands import grade as command
from course_lib.commands.bootstrap import SetupError
from tests.classroom import hostile

CANVAS = (
    "\ufeffStudent,ID,Section,Lesson 02 (99)\r\n"
    ",,,Manual Posting\r\n"
    "    Points Possible,,,10\r\n"
    '"Lovelace, Ada",4711,A,\r\n'
    "Grace,4712,A,3\r\n"
)
MOODLE = "Identifier;Full name;Grade;Feedback\nParticipant 1;Ada Lovelace;;\nParticipant 2;Bob;;x\n"


def test_canvas_by_the_number_in_the_file_name(tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(CANVAS.encode())
    points = {"lovelaceada_4711_815": 7.5, "nobody_1_2": 1.0}
    assert fill(source, target, points, "ID", "Lesson 02 (99)") == ["nobody_1_2"]
    assert target.read_bytes().decode() == CANVAS.replace("4711,A,", "4711,A,7.5")


def test_moodle_by_the_full_name_and_with_its_own_separator(tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(MOODLE.encode())
    assert fill(source, target, {"Ada Lovelace": 10.0, "Bob": 0.0}, "Full name", "Grade") == []
    lines = target.read_text(encoding="utf-8").splitlines()
    assert lines[1:] == ["Participant 1;Ada Lovelace;10;", "Participant 2;Bob;0;x"]


@pytest.mark.parametrize(
    ("text", "column", "sentence"),
    [
        (MOODLE.encode(), "Mark", "has no column 'Mark'; there are: 'Identifier', 'Full name'"),
        (b"", "Grade", "is empty"),
        (b'Full name,Grade\n"' + b"x" * 200_000, "Grade", "is no table in CSV: field larger"),
    ],
)
def test_a_table_that_does_not_fit_is_a_sentence(tmp_path, text, column, sentence):
    (tmp_path / "in.csv").write_bytes(text)
    with pytest.raises(RosterError, match=sentence):
        fill(tmp_path / "in.csv", tmp_path / "out.csv", {"Bob": 1.0}, "Full name", column)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_every_encoding_and_separator_is_kept(tmp_path, encoding, separator):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    lines = [["Full name", "Grade"], ["Zoë Ångström", ""], ["Bob", "1"]]
    table = "".join(separator.join(line) + "\r\n" for line in lines)
    source.write_bytes(table.encode(encoding))
    decomposed = unicodedata.normalize("NFD", "ZOË ÅNGSTRÖM")
    assert fill(source, target, {decomposed: 7.5}, "Full name", "Grade") == []
    after = table.replace(f"Ångström{separator}", f"Ångström{separator}7.5")
    assert target.read_bytes() == after.encode(encoding)


def test_an_odd_row_leaves_the_others_filled(tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("Full name,Grade\n\nBob,\nBob,\nAda\nEve,,more\n")
    points = {"Bob": 1.0, "Ada": 2.0, "Eve": 3.0}
    assert fill(source, target, points, "Full name", "Grade") == ["Bob"]
    assert target.read_text() == "Full name,Grade\n\nBob,\nBob,\nAda,2\nEve,3,more\n"


def test_numbers_of_students_and_of_files_are_not_confused(tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("Student,ID,Points\nAda,4711,\nMarie,4715,\n")
    points = {"curiemarie_4715_4711": 1.0, "lovelaceada_LATE_4711_815": 2.0}
    assert fill(source, target, points, "ID", "Points") == []
    assert target.read_text() == "Student,ID,Points\nAda,4711,2\nMarie,4715,1\n"


def test_namesakes_are_two(tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("Identifier,Full name,Grade\nParticipant 4,Al,\nParticipant 5,Al,\n")
    for points in ({"Al (4)": 1.0, "Al (5)": 2.0}, {"Al (5)": 2.0}, {"Al": 2.0}):
        numbers = dict(zip(points, ["4", "5"] if len(points) == 2 else ["5"], strict=True))
        for column in ("Full name", "Identifier"):
            assert fill(source, target, points, column, "Grade", numbers) == []
            first = "1" if len(points) == 2 else ""
            assert target.read_text().splitlines()[1:] == [
                f"Participant 4,Al,{first}",
                "Participant 5,Al,2",
            ]
    assert fill(source, target, {"Al": 2.0}, "Full name", "Grade") == ["Al"]  # which one?


def test_the_command_fills_it_in(tmp_path, capsys):
    (tmp_path / "in" / "Bob").mkdir(parents=True)
    (tmp_path / "in" / "Bob" / "00_start_here.ipynb").write_bytes(hostile.attack("return 0.0"))
    roster = tmp_path / "moodle.csv"
    roster.write_text(MOODLE, encoding="utf-8")
    words = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--roster", str(roster)]
    with pytest.raises(SetupError, match="--roster needs --match and --column"):
        command.parse(words)
    words += ["--match", "Full name", "--column", "Grade", "--points", "20", "--trusted"]
    assert command.main(words) == 0
    filled = (tmp_path / "out" / "filled_moodle.csv").read_text(encoding="utf-8")
    assert "Participant 2;Bob;10;x" in filled
    assert "Ada" in filled
    capsys.readouterr()


def test_a_name_that_ends_in_anothers_number_takes_nothing_from_them(tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("Full name,Points\nAda Lovelace,\nEve 4711,\n", encoding="utf-8")
    points = {"Ada Lovelace": 10.0, "Eve 4711": 1.0}
    assert fill(source, target, points, "Full name", "Points", {"Ada Lovelace": "4711"}) == []
    assert target.read_text("utf-8").splitlines()[1:] == ["Ada Lovelace,10", "Eve 4711,1"]
