"""Multiple choice: every answer explains itself, with and without a kernel."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from traitlets.config import Config

import course_lib.lessons  # noqa: F401, it hands the classroom its exercises
from course_lib.classroom import quiz
from course_lib.classroom.assign import solved_copy, student_copy

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXAMPLE = sorted((ROOT / "tests" / "contributing" / "lesson" / "notebooks").glob("*.ipynb"))

ANSWERS = {
    "the best next action, `max`": "That is Q-learning's target.",
    "the action it **takes** next": "On-policy: it learns about what it does.",
    "none, if $x < 3$": "Then it would look one step ahead only.",
}
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def question():
    return quiz("q_learning.1", "Whose value does SARSA use?", ANSWERS, right="B")


def test_a_wrong_answer_gets_its_own_explanation(question):
    for letter, explanation in (("A", "That is Q-learning's"), ("C", "one step ahead")):
        feedback = question.answer(letter)
        assert not feedback.right
        assert explanation in feedback.explanation
        assert str(feedback).startswith(f"{letter}: Not quite.")
    assert not question.solved


def test_the_right_answer_solves_it_and_is_explained(question):
    assert question.status() == "Choose an answer."
    question.answer("A")
    assert question.status() == "1 answer so far, not solved yet."
    feedback = question.answer("B")
    assert feedback.right and "On-policy" in feedback.explanation
    assert question.solved
    assert question.status() == "Solved with 2 answers."


def test_clicks_mark_the_button_and_show_the_explanation(question):
    head, a, b, _c, below, status = question.widget().children
    assert "Whose value does SARSA use?" in head.value
    wrong, right = a.children[0], b.children[0]
    wrong.click()
    assert wrong.description == "A ✗"
    assert "Not quite" in below.value and "Q-learning" in below.value
    right.click()
    assert right.description == "B ✓"
    assert "Right" in below.value and "On-policy" in below.value
    assert status.value == "Solved with 2 answers."
    assert [f.letter for f in question.given] == ["A", "B"]


def test_the_stored_output_reads_without_a_kernel_and_never_changes(question):
    first = question._repr_mimebundle_()
    question.answer("A")
    second = question._repr_mimebundle_()
    for kind in ("text/plain", "text/html"):
        assert first[kind] == second[kind]
    assert first[VIEW]["model_id"]
    text = first["text/plain"]
    assert text.splitlines()[0] == "Whose value does SARSA use?"
    assert "  A. the best next action, max" in text
    assert "Q-learning" not in text  # the answer is not given away
    page = first["text/html"]
    assert page.count("<details>") == 3 and "open" not in page.split("<details>")[1][:9]
    assert "<code>max</code>" in page and "<b>takes</b>" in page and "$x &lt; 3$" in page
    for explanation in ("That is Q-learning's target.", "one step ahead only."):
        assert explanation in page


@pytest.mark.parametrize(
    ("answers", "right", "sentence"),
    [
        ({"only one": "why"}, "A", "a quiz has 2 to 8 answers, got 1"),
        (ANSWERS, "D", "right must be one of A, B, C, got 'D'"),
        (ANSWERS, "", "right must be one of A, B, C, got ''"),
        ({"yes": "because", "no": " "}, "A", "every answer needs an explanation, 'no' has none"),
    ],
)
def test_an_incomplete_quiz_is_refused(answers, right, sentence):
    with pytest.raises(ValueError, match=sentence):
        quiz("x.1", "?", answers, right=right)


def test_an_answer_that_is_not_there_is_refused(question):
    with pytest.raises(ValueError, match="answer with one of A, B, C, got 'E'"):
        question.answer("E")


def quizzes_of(path):
    """The cells of a notebook that show a quiz."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [c for c in cells if c["cell_type"] == "code" and "quiz(" in "".join(c["source"])]


@pytest.mark.parametrize("path", LESSONS + EXAMPLE, ids=lambda path: path.stem)
def test_the_source_which_names_the_right_answer_is_folded_away(path):
    """JupyterLab folds it, builders of sites and prints leave it out; the cell still runs."""
    cells = quizzes_of(path)
    assert cells
    for cell in cells:
        assert cell["metadata"]["jupyter"]["source_hidden"] is True
        assert "remove-input" in cell["metadata"]["tags"]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_stored_quiz_is_the_one_that_the_cell_shows(path):
    for cell in quizzes_of(path):
        asked = eval("".join(cell["source"]), {"quiz": quiz})
        stored = cell["outputs"][0]["data"]
        assert "".join(stored["text/html"]) == asked.as_html()
        assert "".join(stored["text/plain"]) == repr(asked)


def test_a_printed_or_built_page_asks_without_answering():
    """What builders of sites do, by nbconvert's own means."""
    path = LESSONS[0]
    exporter = HTMLExporter(
        config=Config(
            TagRemovePreprocessor={"enabled": True, "remove_input_tags": {"remove-input"}},
        )
    )
    page, _ = exporter.from_filename(str(path))
    (cell,) = quizzes_of(path)
    assert "What happens?" in page and "<details>" in page
    assert "@exercise" in re.sub("<[^>]+>", "", page), "other cells keep their source"
    assert "start_here.1" in "".join(cell["source"]) and "start_here.1" not in page


def test_handing_out_keeps_the_source_folded():
    notebook = nbformat.read(LESSONS[0], as_version=4)
    for copy in (student_copy, solved_copy):
        cells = [c for c in copy(notebook).cells if c.source.startswith("quiz(")]
        assert [c.metadata.jupyter.source_hidden for c in cells] == [True]
        assert [c.metadata.tags for c in cells] == [["remove-input"]]


def test_italic_is_no_asterisk():
    asked = quiz("x.1", "Is *this* italic?", {"*yes*": "It *is*.", "no": "It is."}, right="A")
    assert "<em>this</em>" in asked.as_html() and "It <em>is</em>." in asked.as_html()
    assert repr(asked).splitlines() == ["Is this italic?", "  A. yes", "  B. no"]
