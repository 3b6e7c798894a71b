"""What the machine, another run or a neighbour does to a grade: nothing that stays."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from course_lib.classroom.answer import WAITED
from course_lib.classroom.grade import (
    bubblewrap,
    notebook,
    reader,
    sandbox,
    state,
    submission,
    submissions,
    worker,
)
from course_lib.classroom.grade.submission import Grade
from course_lib.commands import grade as command
from tests.classroom import hostile
from tests.classroom.hostile import DISCOUNT, RATE, RIGHT, cell

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root")
confined = pytest.mark.skipif(not sandbox.available(), reason="needs bubblewrap")


@pytest.mark.parametrize(
    ("ended_by", "error"),
    [
        (signal.SIGSEGV, notebook.UnreadableNotebook),
        (signal.SIGABRT, notebook.UnreadableNotebook),
        (signal.SIGXCPU, notebook.UnreadableNotebook),
        (signal.SIGKILL, reader.NotStarted),
        (signal.SIGINT, reader.NotStarted),
        (signal.SIGTERM, reader.NotStarted),
    ],
)
def test_a_reader_that_others_ended_is_no_fault_of_the_notebook(monkeypatch, ended_by, error):
    told = {}

    def run(args, **options):
        told.update(options)
        return subprocess.CompletedProcess(args, -ended_by, b"", b"")

    monkeypatch.setattr(reader.subprocess, "run", run)
    with pytest.raises(error):
        reader.read_apart(b"{}")
    assert told["start_new_session"]  # Ctrl-C does not reach it


def test_a_clock_that_ran_out_is_the_machines(monkeypatch):
    def run(args, **options):
        raise subprocess.TimeoutExpired(args, options["timeout"])

    monkeypatch.setattr(reader.subprocess, "run", run)
    with pytest.raises(reader.NotStarted):
        reader.read_apart(hostile.good())


@pytest.mark.parametrize("note", [worker.KILLED, worker.LATE.format(60)])
def test_what_the_machine_may_have_spoilt_is_graded_once_more_after_the_others(
    monkeypatch, tmp_path, note
):
    answers, calls = {"bob": [Grade(RATE, "error", note=note), Grade(RATE, "passed")]}, []

    def grade(data, seeds, slot, *, confined):
        calls.append(data.decode())
        left = answers.get(calls[-1])
        return [left.pop(0) if left else Grade(RATE, "error", note=note)]

    monkeypatch.setattr(state, "grade", grade)
    found = _class(tmp_path, "ada", "bob")
    for _ in range(2):
        for _ in state.grade_all(found, tmp_path, 0, 1, confined=True):
            pass
    assert calls == ["ada", "bob", "ada", "bob"]  # and the second run has nothing to do
    status = {s.name: s.grades[RATE].status for s in state.students(found, tmp_path)}
    assert status == {"ada": "error", "bob": "passed"}


def test_a_run_stopped_before_the_second_try_keeps_no_verdict(monkeypatch, tmp_path):
    spoilt = Grade(RATE, "error", note=worker.KILLED)
    monkeypatch.setattr(state, "grade", lambda *_, **__: [spoilt])
    (ada,) = _class(tmp_path, "ada")
    assert not state._grade_one(ada, tmp_path, 0, 0, True, alone=False)
    assert "fingerprint" not in json.loads(state._file(ada, tmp_path).read_text())


@confined
def test_who_only_waited_is_tried_again():
    waited = Grade("a.b", "wrong", note=f"{WAITED} Look for a loop that never ends.")
    assert state._spoilt(waited)
    assert not state._spoilt(Grade("a.b", "wrong", note="It computed for 5 s and did not return."))


def test_a_class_that_tried_nothing_has_its_lesson_all_the_same():
    grades = {"dqn.td_target": Grade("dqn.td_target", "not attempted")}
    students = [state.Student(name, dict(grades)) for name in "abc"]
    state.keep_lessons(students, set())
    assert all(student.grades and not student.problems for student in students)


def test_computing_counts_and_not_the_clock():
    hog = """
        import os
        if os.fork() == 0:
            os.setsid()
            while True:
                pass
        os.wait()
    """
    slow = "import time\ntime.sleep(0.4)\n" + RIGHT[DISCOUNT]
    limits = sandbox.Limits(exercise=1.5, patience=300)
    data = hostile.notebook(cell(RATE, hog), cell(DISCOUNT, slow))
    found = {g.exercise: g for g in submission.grade(data, (0,), limits=limits)}
    assert found[RATE].note.startswith("It computed for more than 1.5 s")
    assert found[DISCOUNT].status == "passed"


@linux
def test_two_runs_never_share_a_user():
    with sandbox._user() as one, sandbox._user() as other:
        assert one != other
    with sandbox._user() as again:
        assert again == one


@root
@linux
def test_the_trial_needs_a_thread_as_the_exercises_do():
    assert not worker.can_give_up({"uid": 61_999, "processes": 1})
    assert worker.can_give_up({"uid": 61_999, "processes": 48})


@linux
def test_no_other_network_and_no_limits_of_other_processes():
    told = subprocess.run(
        [sys.executable, "-c", DOORS], capture_output=True, text=True, check=True, cwd="/"
    ).stdout.split()
    assert told == ["open", "open", "open", "open", "closed", "closed", "closed"]


DOORS = """
import os, resource, socket
from course_lib.classroom.grade import rights
rights.give_up(None, 100_000)
limit = resource.RLIMIT_NOFILE
for door in (
    lambda: socket.socket(socket.AF_UNIX),
    lambda: socket.socket(socket.AF_INET),
    socket.socketpair,
    lambda: resource.prlimit(0, limit),
    lambda: socket.socket(40, socket.SOCK_STREAM),  # AF_VSOCK
    lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    lambda: resource.prlimit(os.getpid() if os.getuid() else os.getppid(), limit),
):
    try:
        door()
        print("open")
    except PermissionError:
        print("closed")
"""


@linux
def test_memory_is_looked_at_only_where_the_kernel_counts_none(monkeypatch):
    monkeypatch.setattr(sandbox, "_memory", lambda _: 10**15)
    child = types.SimpleNamespace(pid=os.getpid())
    for inside in (True, False):
        read_end, write_end = os.pipe()
        os.write(write_end, b"answer x\ndone\n")
        lines = sandbox._lines(read_end, child, sandbox.Limits(), lambda inside=inside: inside)
        with contextlib.nullcontext() if inside else pytest.raises(reader.NotStarted):
            assert list(lines) == [b"answer x"]
        os.close(read_end)
        os.close(write_end)


@linux
def test_tables_of_pages_are_memory():
    import psutil

    with subprocess.Popen(["sleep", "60"]) as child:
        resident = psutil.Process(child.pid).memory_info().rss
        assert sandbox._memory(child.pid) > resident
        child.kill()


def test_a_lost_seed_is_drawn_anew_only_where_no_grade_needs_it(tmp_path):
    (tmp_path / "seed").write_text("")
    assert state.seed(tmp_path, None) == state.seed(tmp_path, None)
    (tmp_path / "seed").write_text("gar bled")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(state.SeedLost, match="--seed"):
        state.seed(tmp_path, None)
    assert state.seed(tmp_path, 2**130) == 2**130 == state.seed(tmp_path, None)
    state._fingerprint(b"", 2**130)


@linux
def test_one_run_at_a_time_in_a_folder(tmp_path):
    with state.held(tmp_path / "state"), pytest.raises(BlockingIOError):
        state.held(tmp_path / "state").__enter__()
    with state.held(tmp_path / "state"):
        pass


@pytest.mark.parametrize("text", ["[1]", "x", '{"grades": [{"exercise": "a.b", "older": 1}]}'])
def test_a_record_of_another_kind_counts_as_none(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    assert state._read(tmp_path / "x.json") == {}


def test_what_cannot_be_written_is_one_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sandbox, "fault", lambda **_: None)
    monkeypatch.setattr(sandbox, "counted", lambda: False)
    monkeypatch.setattr(state, "grade", lambda *_, **__: [Grade(RATE, "passed")])
    _class(tmp_path, "ada")
    (tmp_path / "out" / "grades.csv").mkdir(parents=True)
    line = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--trusted"]
    assert command.main(line) == 2
    said = capsys.readouterr().err
    assert "grades.csv cannot be written" in said
    assert "Nothing here counts the memory" in said


@pytest.mark.parametrize(("free", "jobs"), [(1, 1), (2.5, 2), (100, 8)])
def test_no_more_at_once_than_processors_and_memory_allow(monkeypatch, free, jobs):
    import psutil

    memory = types.SimpleNamespace(available=int(free * sandbox.MEMORY))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert command.usual_jobs() == jobs


def test_a_polite_end_is_as_ctrl_c(capsys):
    before = signal.getsignal(signal.SIGTERM)

    def grading():
        os.kill(os.getpid(), signal.SIGTERM)
        yield

    assert command._interrupted(grading(), 1)
    assert signal.getsignal(signal.SIGTERM) is before
    assert "goes on from here" in capsys.readouterr().err


@linux
def test_python_is_there_under_each_of_its_names(monkeypatch, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "link"))
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda name: f"/far/away/{name}")
    words = bubblewrap.command()
    assert words[0] == "/far/away/bwrap"
    assert {str(tmp_path / "link"), str(tmp_path / "real")} <= set(words)


@linux
@confined
def test_nothing_is_graded_where_submissions_can_read(tmp_path, capsys):
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "00_start_here.ipynb").write_bytes(
        hostile.notebook(cell(RATE, RIGHT[RATE]))
    )
    inside = Path(command.__file__).parent / "grades"
    for folder, out in ((tmp_path, inside), (inside.parent, tmp_path / "out")):
        assert command.main([str(folder), "--out", str(out)]) == 2
        assert "which every submission may read" in capsys.readouterr().err
    assert bubblewrap.readable(tmp_path) is None and not inside.exists()


def test_why_bubblewrap_confines_nothing_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "is missing" in bubblewrap.refusal()
    bwrap = tmp_path / "bwrap"
    bwrap.write_text("#!/bin/sh\necho setting up uid map: Permission denied >&2\nexit 1\n")
    bwrap.chmod(0o755)
    assert "may not make namespaces" in bubblewrap.refusal()
    assert "uid map: Permission denied" in bubblewrap.refusal()


@confined
def test_what_a_failed_trial_says_is_told(monkeypatch):
    monkeypatch.setattr(sandbox.sys, "executable", "/nowhere/python")
    assert "/nowhere/python" in sandbox.fault(confined=True)


def _class(folder: Path, *names: str) -> list[submissions.Submission]:
    for name in names:
        (folder / "in" / name).mkdir(parents=True)
        (folder / "in" / name / "00_start_here.ipynb").write_text(name)
    return submissions.find(folder / "in")


def test_a_notebook_has_a_budget(monkeypatch):
    monkeypatch.setattr(submission, "SECONDS", -60)
    grades = submission.grade(hostile.good(), (0,))
    assert {grade.status for grade in grades} == {"error"}
    assert all("it was not run" in grade.note for grade in grades)
