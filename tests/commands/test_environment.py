"""environment.yml, pyproject.toml and constraints.txt name the same packages and versions."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from course_lib.commands.bootstrap import EXTRAS, normalise, pins, requirements

ROOT = Path(__file__).parents[2]
SPECS = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
CONSTRAINTS = pins(ROOT / "constraints.txt")
MODELS = pins(ROOT / "requirements-models.txt")
ALL_EXTRAS = ("test", "slides", "browser", "hub", "peers")
# conda's names for what pip calls otherwise; pygame is what gymnasium's pip extras bring
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
ONLY_CONDA = {"python", "pip", "pygame"}
BY_POSTBUILD = {"minigrid"}  # by pip on Binder, too


def conda_specs():
    """{name: version part} of environment.yml."""
    parts = (re.split(r"[= ]+", spec) for spec in SPECS)
    return {part[0]: part[1] if len(part) > 1 else "" for part in parts}


def test_every_match_spec_parses():
    from rattler import MatchSpec

    for spec in SPECS:
        assert MatchSpec(spec).name is not None
    with pytest.raises(Exception):  # noqa: B017 (the parser's own error type is not public)
        MatchSpec("numpy=>=1,,")


def test_conda_and_pip_install_the_same_packages():
    wanted = {Requirement(r).name for r in requirements()}
    named = {CONDA_NAMES.get(name, name) for name in wanted - BY_POSTBUILD}
    assert named == conda_specs().keys() - ONLY_CONDA
    script = (ROOT / "postBuild").read_text(encoding="utf-8")
    assert all(f" {name} " in script for name in wanted & BY_POSTBUILD)


def test_conda_versions_are_the_tested_ones():
    for name in {Requirement(r).name for r in requirements()} - BY_POSTBUILD:
        version = conda_specs()[CONDA_NAMES.get(name, name)].removesuffix(".*")
        tested = CONSTRAINTS[normalise(name)]
        assert not version or tested == version or tested.startswith(f"{version}."), name


@pytest.mark.parametrize("extras", [(), *((extra,) for extra in ALL_EXTRAS)], ids=str)
def test_the_tested_versions_are_allowed(extras):
    for requirement in map(Requirement, requirements(extras)):
        tested = CONSTRAINTS[normalise(requirement.name)]
        assert requirement.specifier.contains(tested), f"{requirement} against {tested}"


def test_python_is_the_one_that_is_allowed():
    assert SpecifierSet(">=3.11").contains(conda_specs()["python"])


def test_commands_ask_only_for_extras_that_exist():
    for extras in EXTRAS.values():
        assert {*extras} <= {*ALL_EXTRAS}
        requirements(extras)


def test_the_physics_engines_of_pip_reach_binder_too():
    script = (ROOT / "postBuild").read_text(encoding="utf-8")
    extras = next(Requirement(r).extras for r in requirements() if r.startswith("gymnasium"))
    for engine in extras & {"box2d", "mujoco"}:
        assert f" {engine} " in script and engine in CONSTRAINTS
    assert "-c constraints.txt" in script


def test_the_course_itself_is_installed_by_postbuild_and_not_by_conda():
    script = (ROOT / "postBuild").read_text(encoding="utf-8")
    assert "--no-deps -e ." in script and "requirements-models.txt" in script
    assert not any("-e" in str(spec) or isinstance(spec, dict) for spec in SPECS)
    assert script.index("requirements-models.txt") < script.index("pretrained.prepare()")
    assert MODELS, "exact versions, each on a line"


def test_repo2docker_accepts_the_repository(tmp_path):
    """The dry build: prints the Dockerfile that Binder would build, without Docker."""
    here = tmp_path / "repo"
    here.mkdir()
    for name in ("environment.yml", "postBuild", "pyproject.toml", "README.md"):
        shutil.copy2(ROOT / name, here)
    done = subprocess.run(
        [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(here)],
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-2000:]
    assert "environment.yml" in printed and "./postBuild" in printed
