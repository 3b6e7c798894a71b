"""The gate bites: a poisoned output, an unexecuted cell, an error, a broken link each fail it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.notebooks import gate

ROOT = Path(__file__).parents[2]


def write(path, *cells):
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def ran(source, text, count=1, **data):
    output = new_output(
        "execute_result", {"text/plain": text, **data}, execution_count=count, metadata={}
    )
    return new_code_cell(source, execution_count=count, outputs=[output])


def nbval(path):
    """Strict nbval over one notebook, in a process of its own; pytest's exit status and output."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval"),
            *("--nbval-current-env", f"--nbval-sanitize-with={ROOT / 'tests' / 'sanitize.cfg'}"),
            *("--rootdir", str(path.parent), "-c", os.devnull, str(path)),
        ],
        capture_output=True,
        text=True,
        cwd=path.parent,
        check=False,
    )
    return done.returncode, done.stdout


def test_an_honest_notebook_passes_and_a_poisoned_output_fails(tmp_path):
    honest = write(tmp_path / "honest.ipynb", ran("1 + 1", "2"))
    assert nbval(honest)[0] == 0
    assert gate.not_executed(honest) == []
    poisoned = write(tmp_path / "poisoned.ipynb", ran("1 + 1", "3"))
    status, printed = nbval(poisoned)
    assert status == 1 and "1 failed" in printed


def test_an_error_that_is_not_stored_fails(tmp_path):
    status, printed = nbval(write(tmp_path / "error.ipynb", ran("1 / 0", "1")))
    assert status == 1 and "ZeroDivisionError" in printed


def test_a_kernel_that_takes_too_much_memory_fails(tmp_path):
    honest = write(tmp_path / "honest.ipynb", ran("1 + 1", "2"))
    plugin = (ROOT / "conftest.py").read_text(encoding="utf-8")
    (tmp_path / "conftest.py").write_text(plugin, encoding="utf-8")
    status, printed = nbval(honest)
    assert status == 0 and "peak memory of the kernel" in printed
    small = plugin.replace("PEAK_MB = 1500", "PEAK_MB = 10")
    (tmp_path / "conftest.py").write_text(small, encoding="utf-8")
    status, printed = nbval(honest)
    assert status == 1 and "kernel peaked at" in printed


def test_an_unexecuted_cell_passes_nbval_but_not_the_gate(tmp_path):
    stripped = write(tmp_path / "stripped.ipynb", new_code_cell("1 + 1"))
    assert nbval(stripped)[0] == 0, "nbval itself does not notice, hence the gate"
    assert "not one run" in gate.not_executed(stripped)[0]


@pytest.mark.parametrize("counts", [(2, 1), (1, 3), (1, 1), (2, 3)])
def test_cells_run_out_of_order_fail(tmp_path, counts):
    cells = [ran("1", "1", count) for count in counts]
    assert gate.not_executed(write(tmp_path / "order.ipynb", *cells))


def test_a_stored_error_fails(tmp_path):
    error = new_output("error", ename="NameError", evalue="x", traceback=[])
    cell = new_code_cell("x", execution_count=1, outputs=[error])
    assert "stores an error" in gate.not_executed(write(tmp_path / "e.ipynb", cell))[0]


def test_svg_and_script_animations_fail(tmp_path):
    svg = ran("plot()", "figure", **{"image/svg+xml": "<svg/>"})
    film = ran("film()", "film", 2, **{"text/html": "<script>_animation()</script>"})
    assert len(gate.unsuitable_outputs(write(tmp_path / "s.ipynb", svg, film))) == 2


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[next](02_nothing.ipynb)", "no such file"),
        ("[part](#nowhere)", "no such heading"),
        ("[file](other.md#nowhere)", "no such heading"),
        ("![picture](gone.png)", "no such file"),
        ("[outside](../../secret.md)", "no such file"),
    ],
)
def test_a_broken_link_fails(tmp_path, text, part):
    (tmp_path / "other.md").write_text("# Here\n", encoding="utf-8")
    notebook = write(tmp_path / "links.ipynb", new_markdown_cell(text))
    assert part in gate.broken_links(notebook, tmp_path)[0]


def test_good_links_pass(tmp_path):
    (tmp_path / "other.md").write_text("# Over here!\n", encoding="utf-8")
    good = "# A title\n[a](other.md#over-here) [b](#a-title) [c](https://example.org) `[d](x)`"
    notebook = write(tmp_path / "links.ipynb", new_markdown_cell(good))
    assert gate.broken_links(notebook, tmp_path) == []


def test_a_figure_needs_words(tmp_path):
    bare = ran("plot()", "<Figure size 1x1 with 1 Axes>", **{"image/png": "AAAA"})
    told = ran("plot()", "A curve that rises.", 2, **{"image/png": "AAAA"})
    text = new_markdown_cell("![](x.png)")
    complaints = gate.figures_without_words(write(tmp_path / "f.ipynb", bare, told, text))
    assert len(complaints) == 2 and "code cell 1" in complaints[1]


def test_a_lesson_without_its_form_fails(tmp_path):
    bare = write(tmp_path / "03_bare.ipynb", new_markdown_cell("Hello"), ran("1", "1"))
    complaints = "\n".join(gate.broken_form(bare))
    for part in ("title", "measured", "further reading", "quiz", "exercises", "cells"):
        assert part in complaints


def test_a_number_of_an_older_measurement_is_seen(tmp_path):
    goals = [{"measured": "mean 0.988 [0.980, 0.994]"}]
    (tmp_path / "quiz.json").write_text(json.dumps({"goals": goals}), encoding="utf-8")
    text = "`python -m benchmarks quiz` gives 0.988, not 0.98, and 0.961.\n\nElsewhere 0.123 may."
    path = write(tmp_path / "x.ipynb", new_markdown_cell(text))
    stale = [f"{number} is not among the results of quiz" for number in ("0.98", "0.961")]
    assert gate.stale_numbers(path, tmp_path) == stale
