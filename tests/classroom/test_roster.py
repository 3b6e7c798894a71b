"""A learning system's table gets one column filled in and is otherwise left alone."""

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
        (b"Full name,Grade\n\xff\xfe,", "Grade", "no text in UTF-8"),
        (b"Full name,Grade\nBob,\nBob,\n", "Grade", "line 3: a second row for 'Bob'"),
    ],
)
def test_a_table_that_does_not_fit_is_a_sentence(tmp_path, text, column, sentence):
    (tmp_path / "in.csv").write_bytes(text)
    with pytest.raises(RosterError, match=sentence):
        fill(tmp_path / "in.csv", tmp_path / "out.csv", {"Bob": 1.0}, "Full name", column)
    assert not (tmp_path / "out.csv").exists()


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
