"""Copies of lessons: nothing of an answer is left in one, every check passes in the other."""

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from torch import Tensor, tensor

import course_lib.lessons  # noqa: F401, it hands the classroom its exercises
from course_lib.classroom.assign import (
    emptied,
    exercises_in,
    files_named,
    solution,
    solved_copy,
    student_copy,
)
from course_lib.classroom.check import check
from course_lib.classroom.exercise import find
from course_lib.classroom.grade import notebook as reader
from course_lib.classroom.grade.worker import load
from course_lib.commands import assign
from course_lib.commands.bootstrap import SetupError
from course_lib.worlds import grid

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def exercises(notebook):
    return reader.read(nbformat.writes(notebook).encode())


@each_notebook
def test_a_solved_copy_passes_all_its_checks(path):
    found = exercises(solved_copy(nbformat.read(path, as_version=4)))
    assert found
    for name, each in found.items():
        function = load(each.program, each.function, name)
        for seed in (0, 1):
            verdict = check(function, find(name), seed)
            assert verdict.status == "right", (name, verdict)


@each_notebook
def test_a_student_copy_is_empty(path):
    for change in (lambda notebook: notebook, solved_copy):  # as it is, and with answers in it
        copy = student_copy(change(nbformat.read(path, as_version=4)))
        code = [cell for cell in copy.cells if cell.cell_type == "code"]
        assert all(not cell.outputs and cell.execution_count is None for cell in code)
        found = exercises(copy)
        assert found and all(each.untouched for each in found.values())
        nbformat.validate(copy)


@each_notebook
def test_what_a_notebook_refers_to_is_beside_its_copy(path, tmp_path, capsys):
    assert assign.main([path.stem, "--out", str(tmp_path / "class")]) == 0
    copy = nbformat.read(tmp_path / "class" / path.name, as_version=4)
    for cell in copy.cells:
        words = re.split(r"[\s\"'`()<>\[\]=,]+", cell.source)
        named = [word.removeprefix("notebooks/").rstrip(".") for word in words if "/" in word]
        named += re.findall(r'Path\("([^"]+)"\) / "([^"]+)"', cell.source)
        for each in named:
            each = Path(*each) if isinstance(each, tuple) else Path(each)
            if (path.parent / each).exists() and not each.is_absolute():
                assert (tmp_path / "class" / each).exists(), each
        if cell.cell_type == "markdown":
            for link in re.findall(r"\]\(([^)#:]+)\)", cell.source):
                assert (tmp_path / "class" / link).exists(), link


def test_links_between_lessons_that_are_handed_out_together_stay(tmp_path, capsys):
    assert assign.main(["00", "01", "--out", str(tmp_path / "class")]) == 0
    text = (tmp_path / "class" / "00_start_here.ipynb").read_text("utf-8")
    assert "](01_q_learning.ipynb)" in text and "](02_dqn.ipynb)" not in text


def test_every_kind_of_reference_is_copied(tmp_path):
    names = ["a/one.png", "b/two.json", "c/three.csv", "d e/four.bin", "f.txt", "g/h/five.md"]
    for name in [*names, "unnamed/six.png", "other.ipynb"]:
        (tmp_path / "nb" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "nb" / name).touch()
    (tmp_path / "secret.txt").touch()
    text = "![x](a/one.png) <img src='g/h/five.md'> [y](other.ipynb) `../secret.txt`"
    code = "open('f.txt'); Path('b') / 'two.json'; read(f\"c/three.csv\", 'd e/four.bin', '/', '.')"
    cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell(code)]
    found = files_named(nbformat.v4.new_notebook(cells=cells), tmp_path / "nb")
    assert [file.relative_to(tmp_path / "nb").as_posix() for file in found] == names


def test_a_sentence_between_two_words_in_quotes_is_no_file(tmp_path):
    text = "`next_values` holds " + "what comes. " * 40 + "It is the `value`."
    cells = [nbformat.v4.new_markdown_cell(text)]
    assert files_named(nbformat.v4.new_notebook(cells=cells), tmp_path) == []


def test_a_solution_imports_what_it_uses():
    def three():
        return torch.tensor([3.0]), tensor([3.0]), Tensor, np.zeros(1)

    lines, _ = solution(three, "three")
    found = {}
    exec("\n".join(lines), found)
    assert (found["tensor"], found["torch"], found["Tensor"]) == (tensor, torch, Tensor)


def test_a_solution_imports_an_array_from_where_it_stands():
    lines, _ = solution(grid.pick_up_or_drop, "pick_up_or_drop")
    assert "from course_lib.worlds.grid import PORTABLE" in lines
    assert f"PICKUP = {grid.PICKUP}" in lines


def test_the_first_lesson_runs_in_a_copy_elsewhere(tmp_path, capsys):
    from nbclient import NotebookClient

    assert assign.main(["00", "--out", str(tmp_path / "class")]) == 0
    copy = nbformat.read(tmp_path / "class" / "00_start_here.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path / "class")}}
    NotebookClient(copy, timeout=300, resources=resources).execute()  # raises where a cell does


def test_signature_docstring_and_comments_stay():
    source = (
        "import math\n\n"
        '@exercise("start_here.success_rate")\n'
        "def success_rate(\n    returns,\n    goal,\n):\n"
        '    """Say how often."""\n'
        "    # returns (N,)\n"
        "    share = returns >= goal  # mine\n"
        "    return share.mean()\n\n"
        "print(success_rate)"
    )
    left = emptied(source, *exercises_in(source))
    assert left == (
        "import math\n\n"
        '@exercise("start_here.success_rate")\n'
        "def success_rate(\n    returns,\n    goal,\n):\n"
        '    """Say how often."""\n'
        "    # returns (N,)\n"
        "    ...  # your code here\n\n"
        "print(success_rate)"
    )


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("def f(x, y): return 2 * x", "def f(x, y):"),
        ("def f(x, y):  # shapes\n    return 2 * x", "def f(x, y):  # shapes"),
        (
            "def f(x) -> dict[\n    str, int\n]:  # a\n    return 2",
            "def f(x) -> dict[\n    str, int\n]:  # a",
        ),
        ("def f(x=lambda a: a):\n    return 2", "def f(x=lambda a: a):"),
        ('def f(x): "Twice."; return 2 * x', "def f(x):"),
        ('def f(x):\n    """Twice: é."""; return 2 * x', 'def f(x):\n    """Twice: é."""'),
    ],
)
def test_an_answer_on_the_line_of_its_signature_is_taken_out(written, left):
    line = '@exercise("start_here.success_rate")\n'
    source = line + written
    assert emptied(source, *exercises_in(source)) == line + left + "\n    ...  # your code here"


RATE = '@exercise("start_here.success_rate")\ndef success_rate(returns, goal):\n    {}\n'
ANSWER = RATE.format("return (returns >= goal).mean()")


@pytest.mark.parametrize(
    "before",
    [
        "%%time\n",
        "!pip list \\\n    --quiet\n",
        "files = !ls\n%matplotlib inline\n",
        "success_rate?\n",
        "if True:\n    x = 1\n",
        '@exercise("start_here.discounted_return")\ndef other(rewards, gamma):\n    return 0.0\n\n',
    ],
)
def test_answers_are_taken_out_of_cells_that_only_ipython_can_read(before):
    copy = student_copy(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(before + ANSWER)])
    )
    (cell,) = copy.cells
    assert "mean" not in cell.source and "0.0" not in cell.source
    assert cell.source.startswith(before.split("\n")[0])
    assert all(each.untouched for each in exercises(copy).values())
    solved = exercises(solved_copy(copy))["start_here.success_rate"]
    function = load(solved.program, solved.function, solved.name)
    assert check(function, find(solved.name)).status == "right"


def test_indented_cells_and_tabs_stay_as_they_are():
    line = '@exercise("start_here.success_rate")\n'
    tabs = line + 'def f(x):\n\t"""Twice."""\n\treturn 2 * x'
    assert emptied(tabs, *exercises_in(tabs)) == (
        line + 'def f(x):\n\t"""Twice."""\n\t...  # your code here'
    )
    moved = (
        '    @exercise("start_here.success_rate")\n    def f(x):\n        """é"""\n        return 1'
    )
    left = emptied(moved, *exercises_in(moved))
    assert left.endswith('"""é"""\n        ...  # your code here') and "return" not in left
    (found,) = exercises_in(left)
    assert found.name == "f"


@pytest.mark.parametrize(
    "cell",
    [
        "from course_lib.classroom import exercise as ex\n@ex('a.b')\ndef f(x):\n    return 1",
        "NAME = 'a.b'\n@exercise(NAME)\ndef f(x):\n    return 1",
        "class Mine:\n    @exercise('a.b')\n    def f(x):\n        return 1",
        "f = exercise('a.b')(lambda x: 1)",
    ],
)
def test_no_copy_is_made_where_an_answer_would_stay_in_it(cell):
    with pytest.raises(ValueError, match="An answer could stay in the copy"):
        exercises_in(cell)


def test_a_long_line_elsewhere_hinders_nobody():
    assert exercises_in("DATA = '" + 6000 * "x" + "'") == []


def test_a_nested_answer_is_taken_out_and_an_unreadable_cell_is_no_copy():
    nested = "if True:\n    " + ANSWER.replace("\n", "\n    ") + "print(1)"
    assert emptied(nested, *exercises_in(nested)) == nested.replace(
        "return (returns >= goal).mean()", "...  # your code here"
    )
    with pytest.raises(ValueError, match="is not valid Python"):
        exercises_in(ANSWER + "return (")


def test_the_command_writes_copies_and_never_over_the_lessons(tmp_path, capsys):
    assert assign.main(["00", "--out", str(tmp_path / "class")]) == 0
    written = {path.name: path for path in (tmp_path / "class").iterdir()}
    assert sorted(written) == ["00_start_here.ipynb", "glossary.md"]
    assert json.loads(written["00_start_here.ipynb"].read_text("utf-8"))["cells"]
    with pytest.raises(SetupError, match="holds the lessons themselves"):
        assign.parse(["00", "--out", str(NOTEBOOKS[0].parent)])
    with pytest.raises(SetupError, match="There is no notebook"):
        assign.parse(["77", "--out", str(tmp_path)])
