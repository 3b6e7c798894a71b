"""Grading: what is found, what is run, what is contained, what is reported."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import psutil
import pytest
import torch

from course_lib.classroom import record
from course_lib.classroom.answer import Answer, answer as ask_all
from course_lib.classroom.check import Case
from course_lib.classroom.exercise import find
from course_lib.classroom.grade import (
    codec,
    notebook,
    reader,
    reports,
    sandbox,
    state,
    submission,
    submissions,
)
from course_lib.classroom.grade.reports import Student
from course_lib.classroom.grade.submission import Grade, grade, hidden_seeds
from course_lib.commands import grade as command
from course_lib.commands.bootstrap import SetupError
from tests.classroom import hostile
from tests.classroom.hostile import DISCOUNT, RATE, RIGHT, cell

ROOT = Path(__file__).parents[2]
SEEDS = (0, *hidden_seeds(0))
LIMITS = sandbox.Limits(start=120, exercise=12)
confined = pytest.mark.skipif(not sandbox.available(), reason="needs bubblewrap")


def graded(data: bytes) -> dict[str, Grade]:
    return {g.exercise: g for g in grade(data, SEEDS, confined=sandbox.available(), limits=LIMITS)}


# --- reading ------------------------------------------------------------------------------------


def test_a_program_holds_what_the_function_needs_and_nothing_else():
    found = notebook.read(
        hostile.notebook(
            "import math\nimport os\nLIMIT = 3\nreturns = sum(range(10**12))",
            "def helper(x):\n    return x * LIMIT\ndef unused():\n    pass",
            cell(RATE, "returns = helper(returns)\nreturn math.floor(returns)"),
        )
    )
    program = found[RATE].program
    assert "helper" in program and "LIMIT = 3" in program and "import math" in program
    assert "unused" not in program and "import os" not in program
    assert "range(10" not in program  # `returns` is the function's own name, not the notebook's


def test_a_large_file_is_told_by_the_limit_and_not_by_what_was_read_of_it(tmp_path):
    with open(tmp_path / "ada_01_q_learning.ipynb", "wb") as file:
        file.truncate(60_000_000)
    with pytest.raises(notebook.UnreadableNotebook, match="larger than 50 MB, the most that is"):
        notebook.code_cells(submissions.find(tmp_path)[0].data())


def test_magics_do_not_make_a_cell_unreadable():
    source = "%matplotlib inline\n!ls\n" + cell(RATE, RIGHT[RATE])
    assert not notebook.read(hostile.notebook(source))[RATE].problem


def test_the_last_cell_of_a_name_counts_and_a_stub_is_untouched():
    twice = hostile.notebook(cell(RATE, "return 1"), cell(RATE, "..."))
    assert notebook.read(twice)[RATE].untouched


# --- values that travel --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2.5,
        float("inf"),
        "text",
        (1, [2.0, "x"]),
        {"a": 1, "b": (None,)},
        np.arange(6).reshape(2, 3),
        np.float32(1.5),
        torch.arange(4.0).reshape(2, 2),
        torch.tensor([True, False]),
        torch.ones(3, dtype=torch.bfloat16),
        torch.tensor(2),
    ],
    ids=repr,
)
def test_values_arrive_as_they_left(value):
    from course_lib.classroom.compare import same

    (back,) = codec.loads(codec.dumps([Answer(value)]))
    assert type(back.value) is type(value)
    assert same(back.value, value)


def test_other_values_arrive_as_a_picture_that_equals_nothing():
    class Liar:
        def __eq__(self, other):
            return True

    (back,) = codec.loads(codec.dumps([Answer(Liar())]))
    assert isinstance(back.value, codec.Opaque)
    assert back.value != 1.0 and back.value != Liar


@pytest.mark.parametrize("line", [b"", b"{}", b'[{"value": ["float", "x"]}]', b"[" * 100_000])
def test_what_is_no_answer_is_refused(line):
    with pytest.raises(ValueError, match="not a list of answers"):
        codec.loads(line)


# --- grading ------------------------------------------------------------------------------------


def test_right_wrong_and_untouched_answers():
    found = graded(hostile.good())
    assert {g.status for g in found.values() if g.exercise in RIGHT} == {"passed"}
    found = graded(
        hostile.notebook(cell(RATE, "return (returns > goal).mean()"), cell(DISCOUNT, "..."))
    )
    assert found[RATE].status == "wrong" and found[RATE].mistake and found[RATE].note
    assert found[DISCOUNT].status == "not attempted"


def test_an_answer_fitted_to_the_cases_shown_fails_the_hidden_ones():
    from course_lib.classroom.exercise import find

    shown = find(RATE).cases(np.random.default_rng(0))
    table = [(list(case.args[0]), case.args[1], case.expected) for case in shown]
    fitted = (
        f"for a, b, e in {table!r}:\n"
        "    if list(returns) == a and goal == b:\n        return e\nreturn 0.123"
    )
    assert graded(hostile.notebook(cell(RATE, fitted)))[RATE].status == "wrong"


@confined
def test_hostile_submissions_are_contained(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    secret = tmp_path / "other.ipynb"
    secret.write_bytes(hostile.good())
    secret.chmod(0o666)
    folder = tmp_path / "submissions"
    attacks = hostile.hostile(outside, secret)
    for name, data in {**attacks, "good student": hostile.good()}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "00_start_here.ipynb").write_bytes(data)
    before = _processes()
    assert _run(folder, tmp_path / "out").returncode == 0
    rows = _table(tmp_path / "out")
    assert rows["good student"][RATE] == rows["good student"][DISCOUNT] == "passed"
    for name in attacks:
        assert rows[name][RATE] != "passed", name
        # a sentence for everybody
        details = [r for r in _details(tmp_path / "out") if r["student"] == name]
        assert rows[name]["problems"] or any(r["note"] for r in details), name
    alone = [n for n in attacks if n not in UNREADABLE]
    assert {name: rows[name][DISCOUNT] for name in alone} == dict.fromkeys(alone, "passed")
    assert list(outside.iterdir()) == []
    # Other tests grade at the same time: theirs end soon, what a submission left behind would not.
    others = [psutil.Process(pid) for pid in _processes() - before if psutil.pid_exists(pid)]
    assert not psutil.wait_procs(others, timeout=120)[1]


def test_the_worker_is_told_arguments_and_nothing_to_compare_them_with():
    cases = [Case("a", (1.25,), 7.125)] * 2
    task = submission._task(notebook.Found(RATE, "program", "f"), [cases])
    told = b"".join(base64.b64decode(each) for each in task["cases"])
    assert struct.pack(">d", 1.25) in told
    assert struct.pack(">d", 7.125) not in told
    assert not task.keys() & {"seed", "seeds", "expected"}


def test_fewer_answers_than_cases_are_no_answer():
    asked = find(RATE).cases(np.random.default_rng(0))
    answers = ask_all(find(RATE).reference, asked)
    whole, part = (sandbox.Sent((codec.dumps(rows),)) for rows in (answers, answers[:1]))
    assert submission._judge(RATE, [asked], whole).status == "passed"
    assert submission._judge(RATE, [asked], part).status == "error"


@pytest.mark.parametrize(
    "part",
    [
        {"error": ["x"]},
        {"error": "x" * 10_000},
        {"gradient_error": 1.5},
        {"fits": "yes"},
        {"out_of_time": None},
        {"changed_inputs": []},
        {"gradients": ["float", "1.0"]},
    ],
    ids=str,
)
def test_parts_of_another_kind_are_no_answer(part):
    row = {"value": ["none"], "gradients": ["tuple", []]}
    assert codec.loads(json.dumps([row]).encode())
    with pytest.raises(ValueError, match="not a list of answers"):
        codec.loads(json.dumps([row | part]).encode())


def test_a_process_that_never_starts_is_not_the_students_fault(monkeypatch, tmp_path):
    monkeypatch.setattr(sandbox.sys, "executable", "/bin/false")
    assert "does not work" in sandbox.fault(confined=False)
    with pytest.raises(sandbox.NotStarted):
        grade(hostile.good(), SEEDS, confined=False, limits=LIMITS)


def test_rights_that_cannot_be_given_up_are_the_machines_fault(monkeypatch):
    """The trial begins as every submission does, up to the point where its own code would run."""
    monkeypatch.setattr(sandbox, "NOBODY", 2**40)  # no user has such a number
    problem = sandbox.fault(confined=True)
    assert problem is None if os.geteuid() else "does not work" in problem


@pytest.mark.parametrize("text", ["\n" * 300_000, "x" * 300_000 + " ?", ">>> %ls\n" * 20_000])
def test_no_text_keeps_the_reader_busy(text):
    """These took minutes to hours: time grew with the square of a line, or of its blank lines."""
    found = notebook.read(hostile.notebook(text, cell(RATE, RIGHT[RATE])))
    assert found[RATE].program


def test_the_seed_is_drawn_once_and_kept_beside_the_grades(tmp_path):
    drawn = state.seed(tmp_path, None)
    assert state.seed(tmp_path, None) == drawn
    assert state.seed(tmp_path, 2026) == 2026 == state.seed(tmp_path, None)
    other = tmp_path / "other"
    other.mkdir()
    assert state.seed(other, None) != drawn


@confined
def test_a_trial_comes_before_grading(monkeypatch, tmp_path):
    assert sandbox.fault(confined=True) is None
    monkeypatch.setattr(sandbox, "ROOT", tmp_path)
    assert "another copy" in sandbox.fault(confined=False)


@confined
def test_half_an_answer_is_untouched_a_leftover_above_a_right_one_does_no_harm():
    half = "share = ...  # your code here\nreturn share"
    above = "...  # your code here\n" + hostile.RIGHT[DISCOUNT]
    found = graded(hostile.notebook(cell(RATE, half), cell(DISCOUNT, above)))
    assert found[RATE].status == "not attempted"
    assert found[DISCOUNT].status == "passed"


@confined
def test_an_answer_that_names_the_librarys_own_is_marked(tmp_path):
    borrowed = "from course_lib.classroom.exercise import find\n" + cell(
        DISCOUNT, f"return find({DISCOUNT!r}).reference(rewards, gamma)"
    )
    data = hostile.notebook(cell(RATE, RIGHT[RATE]), borrowed)
    folder = tmp_path / "submissions" / "ada"
    folder.mkdir(parents=True)
    (folder / "00_start_here.ipynb").write_bytes(data)
    assert _run(folder.parent, tmp_path / "out").returncode == 0
    row = _table(tmp_path / "out")["ada"]
    assert (row[RATE], row[DISCOUNT]) == ("passed", "passed (see details)")


def test_the_name_of_an_exercise_may_stand_in_a_variable():
    source = cell(RATE, RIGHT[RATE]).replace(f'"{RATE}"', "NAME")
    found = notebook.read(hostile.notebook(f"NAME = {RATE!r}", source))
    assert list(found) == [RATE]


def test_a_reader_of_its_own_finds_the_same_and_tells_the_same():
    data = hostile.good()
    assert reader.read_apart(data) == notebook.read(data)
    with pytest.raises(notebook.UnreadableNotebook, match="no Jupyter notebook"):
        reader.read_apart(b"{}")


def test_a_lesson_that_one_of_many_sent_changes_nobodys_share():
    class_ = [
        Student(str(i), {"dqn.td_target": Grade("dqn.td_target", "passed")}) for i in range(9)
    ]
    class_[3].grades["ppo.approx_kl"] = Grade("ppo.approx_kl", "missing")
    state.keep_lessons(class_, set())
    assert {name for student in class_ for name in student.grades} == {"dqn.td_target"}
    assert "ppo" in class_[3].problems[0]
    state.keep_lessons(class_, {"ppo"})
    assert not any(student.grades for student in class_)


# --- folders, files, reports ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "students"),
    [
        (["ada/02_dqn.ipynb", "bob/02_dqn.ipynb", "bob/03_ppo.ipynb"], ["ada", "bob", "bob"]),
        (["submitted/ada/dqn/02_dqn.ipynb", "submitted/bob/dqn/02_dqn.ipynb"], ["ada", "bob"]),
        (["ada_02_dqn.ipynb", "bob.ipynb"], ["ada", "bob"]),
        (["submitted/ada/hw/02_dqn.ipynb"], ["ada"]),
        (["ada/02_dqn/02_dqn.ipynb"], ["ada"]),
        (["class/ada/02_dqn.ipynb", "class/bob/02_dqn.ipynb"], ["ada", "bob"]),
        (["s07_02_dqn.ipynb", "s08_02_dqn.ipynb", "s1-02_dqn.ipynb"], ["s07", "s08", "s1"]),
        (["lovelaceada_47_815_02_dqn-1.ipynb", "x_02_dqn (2).ipynb"], ["lovelaceada_47_815", "x"]),
        (["Ada L_47_assignsubmission_file/02_dqn.ipynb", "B/x.ipynb"], ["Ada L", "B"]),
        (
            ["ada/02_dqn.ipynb", "ada/.ipynb_checkpoints/02_dqn.ipynb", "__MACOSX/._a.ipynb"],
            ["ada"],
        ),
    ],
)
def test_students_are_found_in_every_layout(tmp_path, paths, students):
    for path in paths:
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_bytes(hostile.good())
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in paths:
            archive.write(tmp_path / "in" / path, path)
    for top in ("in", "in.zip"):
        found = submissions.find(tmp_path / top)
        assert [submission.student for submission in found] == students
        assert {submission.data() for submission in found} == {hostile.good()}


def test_the_folder_submitted_of_nbgrader_may_hold_one_student(tmp_path):
    path = tmp_path / "submitted" / "ada" / "hw1" / "02_dqn.ipynb"
    path.parent.mkdir(parents=True)
    path.write_bytes(hostile.good())
    assert [each.student for each in submissions.find(tmp_path / "submitted")] == ["ada"]


def test_a_link_that_leads_out_is_not_read_and_a_path_that_climbs_is_no_submission(tmp_path):
    (tmp_path / "secret.ipynb").write_bytes(hostile.good())
    (tmp_path / "in" / "eve").mkdir(parents=True)
    (tmp_path / "in" / "eve" / "x.ipynb").symlink_to(tmp_path / "secret.ipynb")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("../../eve/x.ipynb", hostile.good())
    assert submissions.find(tmp_path / "in.zip") == []
    (link,) = submissions.find(tmp_path / "in")
    with pytest.raises(notebook.UnreadableNotebook, match="It is a link"):
        link.data()


def test_a_run_that_was_killed_goes_on_and_a_second_one_gives_the_same_tables(tmp_path):
    wrong = hostile.notebook(cell(RATE, "return (returns > goal).mean()"), cell(DISCOUNT, "..."))
    for i in range(6):
        (tmp_path / "in" / f"student{i}").mkdir(parents=True)
        data = hostile.good() if i % 2 else wrong
        (tmp_path / "in" / f"student{i}" / "00_start_here.ipynb").write_bytes(data)
    out, state = tmp_path / "out", tmp_path / "out" / "state"
    options = [] if sandbox.available() else ["--trusted"]
    line = [sys.executable, "-m", "course_lib", "grade", "--here", "--jobs", "1", *options]
    first = subprocess.Popen(
        [*line, str(tmp_path / "in"), "--out", str(out)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while len(list(state.glob("*.json"))) < 2:
        assert first.poll() is None
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = {file: file.stat().st_mtime_ns for file in state.glob("*.json")}
    assert 2 <= len(done) < 6
    assert _run(tmp_path / "in", out).returncode == 0
    assert all(file.stat().st_mtime_ns == when for file, when in done.items())  # none graded twice
    assert len(list(state.glob("*.json"))) == 6
    assert _run(tmp_path / "in", tmp_path / "again").returncode == 0
    for name in ("grades.csv", "details.csv", "summary.html"):
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    rows = _table(out)
    assert [row["passed"] for row in rows.values()] == ["0", "2"] * 3
    page = (out / "feedback" / "student0.html").read_text(encoding="utf-8")
    assert "Not attempted" in page and "Expected" in page and "def success_rate" not in page
    assert "Common mistakes" in (out / "summary.html").read_text(encoding="utf-8")


def test_two_notebooks_of_one_student_with_the_same_exercises_are_reported(tmp_path):
    (tmp_path / "in" / "ada").mkdir(parents=True)
    for name in ("00_start_here", "copy"):
        (tmp_path / "in" / "ada" / f"{name}.ipynb").write_bytes(hostile.good())
    assert _run(tmp_path / "in", tmp_path / "out").returncode == 0
    row = _table(tmp_path / "out")["ada"]
    assert row["passed"] == "2"
    assert "ada/copy.ipynb" in row["problems"]


def test_a_cell_that_a_spreadsheet_would_execute_is_made_harmless(tmp_path):
    student = reports.Student(
        "=cmd|' /C calc'!A0", {RATE: Grade(RATE, "wrong", note="@x", got="a;=1+2;b")}
    )
    reports.write([student], tmp_path)
    assert "'=cmd" in (tmp_path / "grades.csv").read_text("utf-8-sig")
    details = (tmp_path / "details.csv").read_text("utf-8-sig")
    assert "'@x" in details and "a;'=1+2;b" in details


def test_pages_show_what_students_wrote_as_text(tmp_path):
    grade_ = Grade(RATE, "wrong", note="`x` <script>", got="<img src=x onerror=alert(1)>")
    page = reports.feedback(reports.Student("<b>eve</b>", {RATE: grade_}))
    assert "<script>" not in page and "<img" not in page and "<b>eve" not in page


def test_the_summary_lists_the_students_and_links_their_pages(tmp_path):
    students = [
        Student("Ada", {RATE: Grade(RATE, "passed"), DISCOUNT: Grade(DISCOUNT, "wrong")}),
        Student("ada", {RATE: Grade(RATE, "not attempted")}),
        Student("<b>'é #1", problems=["x.pdf: It is no notebook."]),
    ]
    reports.write(students, tmp_path)
    page = (tmp_path / "summary.html").read_text(encoding="utf-8")
    links = re.findall(r"<a href='([^']*)'>(.*?)</a></td><td>(.*?)</td>", page)
    assert [words for _, *words in links] == [
        ["Ada", "1 of 2"],
        ["ada", "0 of 2"],
        ["&lt;b&gt;&#x27;é #1", "0 of 2"],
    ]
    for link, name, _ in links:
        there = (tmp_path / unquote(link)).read_text(encoding="utf-8")
        assert f"<h1>Feedback for {name}</h1>" in there
    assert f"<abbr title='{DISCOUNT}: wrong'>✗</abbr>" in page
    assert f"<abbr title='{DISCOUNT}: not submitted'>–</abbr>" in page


def test_a_page_says_its_two_values_once_and_fits_a_telephone():
    note = "The values are off (expected 5, got 7.5). Look at the *last* one."
    wrong = Grade(RATE, "wrong", note=note, expected="5", got="7.5")
    page = reports.feedback(Student("Ada", {RATE: wrong}))
    assert page.count("7.5") == 1 and "off. Look at the <em>last</em> one." in page
    assert "<meta name='viewport' content='width=device-width'>" in page


def test_grading_leaves_no_progress_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(record, "_folder", tmp_path)
    assert {grade_.status for grade_ in graded(hostile.good()).values()} == {"passed"}
    assert not list(tmp_path.rglob("course_progress*")) and record.solved() == {}


def test_what_cannot_start_says_why(tmp_path, capsys):
    with pytest.raises(SetupError, match="There is no folder or zip file"):
        command.parse([str(tmp_path / "none"), "--out", str(tmp_path)])
    (tmp_path / "in").mkdir()
    for option, value, words in (
        ("--seed", "-1", "--seed must be at least 0, got -1"),
        ("--seed", "x", "invalid int value: 'x'.*grade SUBMISSIONS"),
        ("--jobs", "0", "--jobs must be at least 1, got 0"),
        ("--points", "-5", "--points must be a number above 0.*got -5"),
        ("--points", "nan", "got nan"),
        ("--points", "inf", "got inf"),
    ):
        with pytest.raises(SetupError, match=words):
            command.parse([str(tmp_path / "in"), "--out", str(tmp_path), option, value])
    line = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--trusted"]
    assert command.main(line) == 2
    assert "There is no notebook in" in capsys.readouterr().err


UNREADABLE = ("broken JSON", "no notebook", "no cells", "everything deleted", "too large")


def _processes() -> set[int]:
    return {
        p.pid
        for p in psutil.process_iter(["cmdline"])
        if "course_lib.classroom.grade.worker" in (p.info["cmdline"] or ())
    }


def _run(folder: Path, out: Path, *options: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "course_lib", "grade", "--here", str(folder), "--out", str(out)]
    if not sandbox.available():
        options = (*options, "--trusted")
    return subprocess.run([*line, *options], cwd=ROOT, capture_output=True, text=True, check=False)


def _table(out: Path) -> dict[str, dict[str, str]]:
    text = (out / "grades.csv").read_text(encoding="utf-8-sig")
    return {row["student"]: row for row in csv.DictReader(io.StringIO(text))}


def _details(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / "details.csv").read_text("utf-8-sig"))))
