"""Every entry of the glossary is in its place, names a lesson, and its term occurs there."""

import json
import re
from typing import NamedTuple

from course_lib.classroom.assign import unlinked
from course_lib.commands import assign
from course_lib.commands.refresh import NOTEBOOKS, lessons
from tests.notebooks import gate

PATH = NOTEBOOKS / "glossary.md"
TEXT = PATH.read_text(encoding="utf-8")
LESSON = re.compile(r"\*In\* \[(\d\d) · [^\]]+\]\((\d\d_\w+\.ipynb)#[^)]+\)\.$")


class Entry(NamedTuple):
    term: str
    letter: str
    text: str

    @property
    def names(self):
        """The term and its other names."""
        also = re.match(r"\*Also: (.+?)\.\* ", self.text)
        return [self.term, *(also[1].split(", ") if also else ())]


def entries():
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        letter, _, rest = section.partition("\n")
        for block in re.split(r"^### ", rest, flags=re.MULTILINE)[1:]:
            term, _, text = block.partition("\n")
            yield Entry(term.strip(), letter, text.strip())


ENTRIES = list(entries())


def plain(text):
    return re.sub(r"[*`]", "", text).lower()


PROSE = {
    path.name: plain("\n".join("".join(cell["source"]) for cell in json.loads(raw)["cells"]))
    for path in lessons()
    if (raw := path.read_text(encoding="utf-8"))
}


def place(term):
    """Where a term stands in the order: case, hyphens and signs do not count."""
    return re.sub(r"[^a-z0-9 ]", "", term.lower().replace("λ", "lambda").replace("-", " "))


def test_each_names_the_lesson_in_which_its_term_occurs():
    complaints = []
    for entry in ENTRIES:
        found = LESSON.search(entry.text)
        if not found or found[2] not in PROSE or not found[2].startswith(f"{found[1]}_"):
            complaints.append(f"{entry.term} does not end with the lesson that introduces it")
        elif not any(plain(each) in PROSE[found[2]] for each in entry.names):
            complaints.append(f"{entry.term}: none of {entry.names} occurs in {found[2]}")
    assert complaints == []


def test_each_is_short():
    for entry in ENTRIES:
        words = re.sub(r"\$[^$]*\$", "formula", LESSON.sub("", entry.text)).split()
        assert 4 <= len(words) <= 90 and "\n" not in entry.text, entry.term


def test_entries_are_sorted_under_their_letters_and_named_once():
    order = [place(entry.term) for entry in ENTRIES]
    assert order == sorted(order)
    assert len(set(order)) == len(order)
    assert all(place(entry.term)[0].upper() == entry.letter for entry in ENTRIES)
    index = re.findall(r"\[([A-Z])\]\(#([A-Z])\)", TEXT.split("\n## ")[0])
    assert index == [(letter, letter) for letter in sorted({e.letter for e in ENTRIES})]


def test_links_lead_somewhere_and_in_the_spelling_of_jupyterlab():
    assert gate.broken_links(PATH, NOTEBOOKS.parent) == []
    here = {entry.term.replace(" ", "-") for entry in ENTRIES} | {e.letter for e in ENTRIES}
    assert {*re.findall(r"\]\(#([^)]+)\)", TEXT)} <= here


def test_a_class_gets_it_with_links_to_its_own_lessons_only(tmp_path, capsys):
    assert assign.main(["01", "02", "--out", str(tmp_path / "class")]) == 0
    text = (tmp_path / "class" / "glossary.md").read_text(encoding="utf-8")
    assert text == unlinked(TEXT, {"01_q_learning.ipynb", "02_dqn.ipynb"})
    assert "](02_dqn.ipynb#" in text and "](#TD-error)" in text and "](04_ppo" not in text
