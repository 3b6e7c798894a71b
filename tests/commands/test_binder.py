"""The link builder: the address of every lesson, and a sentence for what no Binder could open."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from course_lib.commands import binder, bootstrap
from course_lib.commands.bootstrap import SetupError

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def link(*argv):
    return binder.link(binder.parse(argv))


def test_the_address_is_the_one_that_binderhub_documents():
    assert link("ada/course", "--lesson", "02").address == (
        "https://mybinder.org/v2/gh/ada/course/main?urlpath=lab%2Ftree%2Fnotebooks%2F02_dqn.ipynb"
    )


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_lesson_opens_in_jupyterlab(path):
    for name in (path.stem[:2], str(int(path.stem[:2])), path.stem, path.name):
        address = urlsplit(link("ada/course", "--lesson", name).address)
        opened = parse_qs(address.query)["urlpath"] == [f"lab/tree/notebooks/{path.name}"]
        assert opened and (ROOT / "notebooks" / path.name).exists()


def test_without_a_lesson_it_opens_the_first():
    assert "00_start_here" in link("ada/course").address


@pytest.mark.parametrize(
    ("provider", "repository", "part"),
    [
        ("gh", "ada/course", "ada/course"),
        ("gh", "ada/course.git", "ada/course"),
        *(
            ("gh", address, "ada/course")
            for address in (
                "https://github.com/ada/course",
                "http://www.github.com/ada/course/",
                "https://GitHub.com/ada/course.git",
                "github.com/ada/course",
                "git@github.com:ada/course.git",
                "ssh://git@github.com/ada/course.git",
            )
        ),
        ("gl", "https://gitlab.com/school/autumn/course", "school%2Fautumn%2Fcourse"),
        ("gl", "ada/course", "ada%2Fcourse"),
        ("gl", "school/autumn/course", "school%2Fautumn%2Fcourse"),
        ("git", "https://git.example.org/c.git", "https%3A%2F%2Fgit.example.org%2Fc.git"),
    ],
)
def test_each_provider_has_its_own_form(provider, repository, part):
    address = link(repository, "--provider", provider, "--ref", "autumn/v1.0").address
    assert address.startswith(f"https://mybinder.org/v2/{provider}/{part}/autumn/v1.0?urlpath=")
    rest = urlsplit(address).path.removeprefix(f"/v2/{provider}/")
    if provider != "gh":  # BinderHub takes the first part, unescapes it, and finds the repository
        assert repository.endswith(unquote(rest.split("/", 1)[0]))


def test_another_host_appears_in_link_and_badge():
    made = link("ada/course", "--host", "https://binder.example.org/")
    assert made.address.startswith("https://binder.example.org/v2/gh/")
    assert made.badge.count("https://binder.example.org/") == 2 and "mybinder" not in made.badge


def test_the_badge_is_markdown_with_words_for_those_who_cannot_see_it():
    made = link("ada/course", "--lesson", "01")
    found = re.fullmatch(r"\[!\[(.+)\]\((\S+)\)\]\((\S+)\)", made.badge)
    assert found and found[1] == "Open on Binder" and found[3] == made.address
    assert found[2] == "https://mybinder.org/badge_logo.svg"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([], "required.*binder OWNER/REPO"),
        (["course"], "name OWNER/REPO"),
        (["ada/course/tree"], "name OWNER/REPO"),
        (["https://example.org/ada/course"], "name OWNER/REPO"),
        (["ada/"], "name OWNER/REPO"),
        (["../course"], "name OWNER/REPO"),
        (["ada/co urse"], "name OWNER/REPO"),
        (["ada/course?x=1"], "name OWNER/REPO"),
        (["course", "--provider", "gl"], "GROUP/SUBGROUP/REPO"),
        (["ada/course", "--provider", "git"], "`git clone` takes"),
        (["http://example.org/c", "--provider", "git"], "`git clone` takes"),
        (["https://ada:pw@example.org/c", "--provider", "git"], "must not hold"),
        (["ada/course", "--provider", "svn"], "invalid choice"),
        (["ada/course", "--ref", ""], "no name of a branch"),
        (["ada/course", "--ref", "a b"], "no name of a branch"),
        (["ada/course", "--ref", "v1..v2"], "no name of a branch"),
        (["ada/course", "--ref", "main/"], "no name of a branch"),
        (["ada/course", "--lesson", "99"], "There is no notebook `99`"),
        (["ada/course", "--lesson", ""], "There is no notebook ``"),
        (["ada/course", "--lesson", "-1"], "expected one argument|no notebook"),
        (["https://github.com/ada"], "name OWNER/REPO"),
        (["https://github.com/ada/course/tree/main"], "name OWNER/REPO"),
        (["https://github.com/"], "name OWNER/REPO"),
        (["https://gitlab.com/ada/course"], "--provider gh, name OWNER/REPO"),
        (["https://github.com/ada/course", "--provider", "gl"], "--provider gl, name GROUP"),
        ([""], "name OWNER/REPO"),
        (["ada/course", "--host", "mybinder.org"], "--host takes an address"),
        (["ada/course", "--branch", "main"], "unrecognized.*binder OWNER/REPO"),
    ],
)
def test_what_no_binder_could_open_is_a_sentence(argv, sentence):
    with pytest.raises(SetupError, match=sentence):
        binder.parse(argv)


def test_it_needs_no_package_and_installs_nothing(monkeypatch, capsys):
    """-S hides every installed package."""
    command = [sys.executable, "-S", "-m", "course_lib", "binder", "ada/course"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == list(link("ada/course"))

    def refuse(*_, **__):
        raise AssertionError("it prepared an environment")

    monkeypatch.setattr(bootstrap, "prepare", refuse)
    assert bootstrap.run("binder", ["ada/course"]) == 0
    assert bootstrap.run("binder", ["course"]) == 2
    assert "name OWNER/REPO" in capsys.readouterr().err
