"""What comes out of grading: tables for the instructor, a page for each student, a class summary.

A student's page shows the hint for the mistake that was made, never the solution.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from course_lib.classroom import cards
from course_lib.classroom.grade.submission import MISSING, PASSED, UNTOUCHED, Grade

MARKS = {PASSED: "✓", "wrong": "✗", UNTOUCHED: "○", MISSING: "·", "error": "!"}


@dataclass
class Student:
    """A student with the grades of all submitted notebooks."""

    name: str
    grades: dict[str, Grade] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)  # of files that could not be graded
    number: str = ""  # in the learning system

    @property
    def passed(self) -> int:
        return sum(grade.status == PASSED for grade in self.grades.values())


def write(students: list[Student], out: Path) -> None:
    """All reports into ``out``: grades.csv, details.csv, feedback/NAME.html, summary.html."""
    names = list(dict.fromkeys(name for student in students for name in student.grades))
    _write_table(students, names, out / "grades.csv")
    _write_details(students, out / "details.csv")
    (out / "feedback").mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    pages = [f"feedback/{_file_name(student.name, taken)}.html" for student in students]
    for student, page in zip(students, pages, strict=True):
        _write(out / page, feedback(student))
    named = zip(students, pages, strict=True)
    _write_csv(
        out / "feedback" / "pages.csv",
        [["student", "page"], *([student.name, page] for student, page in named)],
    )
    _write(out / "summary.html", summary(students, names, pages))


def _write_table(students: list[Student], names: list[str], path: Path) -> None:
    """A row per student, a column per exercise: passed, not attempted, which mistake, error."""
    rows = [["student", "passed", "of", *names, "problems"]]
    for student in students:
        cells = [_cell(student.grades.get(name)) for name in names]
        rows.append([student.name, student.passed, len(names), *cells, " ".join(student.problems)])
    _write_csv(path, rows)


def _write_details(students: list[Student], path: Path) -> None:
    """A row per student and exercise, with the sentence."""
    rows = [["student", "exercise", "status", "mistake", "note", "case", "expected", "got"]]
    for student in students:
        for grade in student.grades.values():
            rows.append([student.name, *vars(grade).values()])
    _write_csv(path, rows)


def _cell(grade: Grade | None) -> str:
    if grade is None:
        return "not submitted"
    if grade.status == PASSED and grade.note:
        return "passed (see details)"
    return f"mistake: {grade.mistake}" if grade.mistake else grade.status


def _write_csv(path: Path, rows: list[list]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([[_harmless(cell) for cell in row] for row in rows])
    _write(path, "\ufeff" + text.getvalue())  # Excel wants the mark


def _write(path: Path, text: str) -> None:
    """Text of students may hold halves of characters, which UTF-8 does not have."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def _harmless(cell: object) -> object:
    """Text that a spreadsheet would take for a formula gets an apostrophe before it.

    Where numbers have a decimal comma, spreadsheets begin a new cell at each semicolon.
    """
    if isinstance(cell, str):
        return re.sub(r"(^|[;\t\r\n])(?=[=+@\t\r-])", r"\1'", cell)
    return cell


STYLE = """<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:52em;margin:2em auto;padding:0 1em;color:#222}
h1,h2,p,li,td{overflow-wrap:anywhere}
section{border-left:5px solid #777;padding:.2em 1em;margin:1em 0}
.passed{border-color:#009E73}.wrong{border-color:#D55E00}.error{border-color:#D55E00}
table{border-collapse:collapse;display:block;overflow-x:auto}
td,th{padding:.2em .8em;text-align:left;vertical-align:top;border-bottom:1px solid #ddd}
td{min-width:2em}td:first-child{min-width:7em}
pre{background:#f4f4f4;padding:.5em;white-space:pre-wrap;overflow-wrap:anywhere}
img{max-width:100%}abbr{text-decoration:none;margin-right:.3em}
@media(max-width:30em){
body{margin:1em auto}h1{font-size:1.4em}h2{font-size:1.1em}section{padding:.2em .6em}
td,th{padding:.2em .4em}img{display:none} /* the list below the picture says the same */
}
</style>"""


def _page(title: str, body: str) -> str:
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
    head += f"<title>{html.escape(title)}</title>{STYLE}"
    return f"<!doctype html><html lang='en'>{head}<h1>{html.escape(title)}</h1>{body}</html>\n"


def feedback(student: Student) -> str:
    """The page that a student gets."""
    parts = [f"<p>{student.passed} of {len(student.grades)} exercises passed.</p>"]
    parts += [f"<p>{html.escape(problem)}</p>" for problem in student.problems]
    for name, grade in student.grades.items():
        text = cards.markup(cards.reason(grade.note, grade.expected, grade.got))
        if grade.status == PASSED:
            text = "Right, also in cases that the notebook does not show."
        elif grade.status == UNTOUCHED:
            text = "Not attempted."
        shown = [("Case", grade.case), ("Expected", grade.expected), ("Got", grade.got)]
        lines = "".join(
            f"<div>{label}:<pre>{html.escape(value)}</pre></div>" for label, value in shown if value
        )
        parts.append(
            f"<section class='{grade.status.split()[0]}'><h2>{MARKS[grade.status]} "
            f"{_breakable(name)}: {grade.status}</h2><p>{text}</p>{lines}</section>"
        )
    return _page(f"Feedback for {student.name}", "".join(parts))


def summary(students: list[Student], names: list[str], pages: list[str]) -> str:
    """The page for the instructor: each exercise, common mistakes, each student and their page."""
    rows = []
    for name in names:
        grades = [s.grades[name] for s in students if name in s.grades]
        count = Counter(grade.status for grade in grades)
        rows.append(
            f"<tr><td>{_breakable(name)}</td>"
            + "".join(f"<td>{count[status]}</td>" for status in MARKS)
            + "</tr>"
        )
    head = "<tr><th>exercise</th>" + "".join(f"<th>{m} {s}</th>" for s, m in MARKS.items())
    table = f"<table>{head}</tr>{''.join(rows)}</table>"
    common = mistakes(students)
    words = "".join(
        f"<li>{_breakable(exercise)}: {html.escape(mistake)} ({count})</li>"
        for (exercise, mistake), count in common
    )
    problems = "".join(
        f"<li>{html.escape(s.name)}: {html.escape(p)}</li>" for s in students for p in s.problems
    )
    body = f"<p>{len(students)} students.</p>{table}"
    if common:
        picture = base64.b64encode(_chart(common)).decode()
        alt = "How many students made each of the most common mistakes; the list below has it all."
        body += f"<h2>Common mistakes</h2><img alt='{alt}' src='data:image/png;base64,{picture}'>"
        body += f"<ul>{words}</ul>"
    body += f"<h2>Students</h2>{_students(students, names, pages)}"
    if problems:
        body += f"<h2>Files that could not be graded</h2><ul>{problems}</ul>"
    return _page("The class", body)


def _students(students: list[Student], names: list[str], pages: list[str]) -> str:
    """A row per student: a link to the page, how many passed, a mark per exercise."""
    rows = []
    for student, page in zip(students, pages, strict=True):
        marks = ""
        for name in names:
            grade = student.grades.get(name)
            mark, status = (MARKS[grade.status], grade.status) if grade else ("–", "not submitted")
            marks += f"<abbr title='{html.escape(name)}: {status}'>{mark}</abbr>"
        rows.append(
            f"<tr><td><a href='{html.escape(quote(page))}'>{html.escape(student.name)}</a></td>"
            f"<td>{student.passed} of {len(names)}</td><td>{marks}</td></tr>"
        )
    head = "<tr><th>student</th><th>passed</th><th>by exercise, in the order above</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def mistakes(students: list[Student], most: int = 15) -> list[tuple[tuple[str, str], int]]:
    """((exercise, mistake), how many students), the most common first."""
    made = Counter(
        (name, grade.mistake)
        for student in students
        for name, grade in student.grades.items()
        if grade.mistake
    )
    return sorted(made.items(), key=lambda item: (-item[1], item[0]))[:most]


def _chart(common: list[tuple[tuple[str, str], int]]) -> bytes:
    from course_lib.classroom import plots

    plots.use_style()
    figure, ax = plots.plt.subplots(figsize=(9, 0.8 + 0.4 * len(common)))
    labels = [f"{exercise}\n{mistake}" for (exercise, mistake), _ in common][::-1]
    ax.barh(labels, [count for _, count in common][::-1], color=plots.COLORS[0])
    ax.set(xlabel="students")
    ax.xaxis.get_major_locator().set_params(integer=True)
    return plots.figure_png(figure)


def _breakable(name: str) -> str:
    """The name of an exercise, which may break after a dot or an underscore."""
    return re.sub(r"([._])", r"\1<wbr>", html.escape(name))


def _file_name(name: str, taken: set[str]) -> str:
    """A name for a file, whatever characters the student's has; no two are the same."""
    plain = re.sub(r"[^\w.-]+", "_", name).strip("._") or "student"
    unique, number = plain[:50], 2
    while unique.lower() in taken:
        unique, number = f"{plain[:50]}-{number}", number + 1
    taken.add(unique.lower())
    return unique
