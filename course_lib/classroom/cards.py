"""What the learner sees: verdicts, hints, sources and standings, as HTML and as plain text."""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import quote

from course_lib.classroom.front_end import in_notebook

if TYPE_CHECKING:
    from course_lib.classroom.check import Verdict
    from course_lib.classroom.course_map import Lesson

# A mark and a word beside each colour: colour alone must not carry the meaning. White on each has a
# contrast of 4.5; as text, no colour would have that in the light and in the dark theme.
BADGE = "color:#ffffff;padding:0 .3em;background:"
LOOKS = {
    "right": ("✓", "#007d5a"),
    "wrong": ("✗", "#b34e00"),
    "not attempted": ("○", "#0072B2"),
    "not reached": ("·", "#6b6b6b"),
    "solved earlier": ("✓", "#007d5a"),
    "wrong now, solved earlier": ("✗", "#b34e00"),
    "hint": ("→", "#8f6400"),
}


def show_verdict(
    name: str, verdict: Verdict, uses_own: bool, solved: str = "", note: str = ""
) -> None:
    """One card per check: what was found, the failing case, and which version is used next.

    ``solved`` is the day on which an answer was right that is not now; ``note`` is added.
    """
    if verdict.status == "right":
        body = ["Right. From here on the notebook uses your version."]
    elif verdict.status == "not attempted":
        body = [
            "Not attempted yet. The notebook goes on with the library's version, so nothing "
            f"breaks. Replace the `...`, or ask `{name.split('.')[1]}.hint()`."
        ]
    else:
        body = [f"Not yet. {reason(verdict.reason, verdict.expected, verdict.got)}"]
        if verdict.case:
            body.append(f"Case: {verdict.case}")
        if verdict.expected is not None:
            body.append(f"Expected: {verdict.expected}")
            body.append(f"Got: {verdict.got}")
        version = "your" if uses_own else "the library's"
        body.append(f"Until it is right the notebook goes on with {version} version.")
    if solved:
        body.append(f"You solved it on {solved}, and that is remembered.")
    if note:
        body.append(note)
    _display(verdict.status, name, body)


def reason(sentence: str, expected: str | None, got: str | None) -> str:
    """What is wrong, without the two values where lines of their own say them."""
    return sentence.replace(f" (expected {expected}, got {got})", "")


def show_hint(name: str, number: int, total: int, text: str) -> None:
    """One hint, numbered, and how to get the next."""
    short = name.split(".")[1]
    more = f"Next: `{short}.hint()`." if number < total else f"Last resort: `{short}.solution()`."
    _display("hint", f"{name}, hint {number} of {total}", [text, more])


def show_source(name: str, file: str, source: str) -> None:
    """The library's source of an answer, highlighted where there is a notebook."""
    from IPython.display import Code, display

    _display("hint", "The library's version", [f"It is `{name}` in `{file}`."])
    if in_notebook():
        display(Code(source, language="python"))
    else:
        print(source)


def show_progress(rows: list[tuple[str, str, int, int]]) -> None:
    """A table of (exercise, status, attempts, hints)."""
    if not rows:
        _display("not reached", "Progress", ["No exercise has been run in this notebook yet."])
        return
    right = sum(status == "right" for _, status, _, _ in rows)
    earlier = sum(status.endswith("solved earlier") for _, status, _, _ in rows)
    title = f"{right} of {len(rows)} exercises right"
    if earlier:
        title += f", {earlier} solved earlier"
    width = max(len(row[0]) for row in rows)
    text = [title] + [
        f"{LOOKS[status][0]} {name:{width}}  {status}, attempts: {attempts}, hints: {hints}"
        for name, status, attempts, hints in rows
    ]
    cells = "".join(
        f"<tr><td style='text-align:left'><code>{name}</code></td>"
        f"<td style='text-align:left'>{_badge(status)}"
        f" {status}</td><td>{attempts}</td><td>{hints}</td></tr>"
        for name, status, attempts, hints in rows
    )
    head = "<tr><th style='text-align:left'>exercise</th><th>status</th>"
    head += "<th>attempts</th><th>hints</th></tr>"
    table = f"<table>{head}{cells}</table>"
    done = all(status in ("right", "solved earlier") for _, status, _, _ in rows)
    look = "right" if done else "not attempted"
    _emit("\n".join(text), _frame(look, title, table))


def show_course(lessons: list[Lesson], solved: Collection[str]) -> None:
    """A table of the lessons: how many exercises and quizzes of each are solved."""
    text, cells, sums = [], "", [0, 0]
    for lesson in lessons:
        done = [len({*names} & {*solved}) for names in (lesson.exercises, lesson.quizzes)]
        total = [len(lesson.exercises), len(lesson.quizzes)]
        sums = [a + b for a, b in zip(sums, done, strict=True)]
        look, standing = "not attempted", "begun"
        if not any(done):
            look, standing = "not reached", "not begun"
        elif not lesson.file:
            standing = "not in this folder"
        elif done == total:
            look, standing = "right", "complete"
        known = [f"{k} of {n}" if lesson.file else f"{k}" for k, n in zip(done, total, strict=True)]
        text.append(
            f"{LOOKS[look][0]} {plain(lesson.title)}: {standing}, "
            f"exercises: {known[0]}, quizzes: {known[1]}"
        )
        name = markup(lesson.title)
        if lesson.file:
            name = f"<a href='{html.escape(quote(lesson.file))}'>{name}</a>"
        cells += f"<tr><td style='text-align:left'>{name}</td>"
        cells += f"<td style='text-align:left;white-space:nowrap'>{_badge(look)} {standing}</td>"
        cells += "".join(f"<td>{each}</td>" for each in known) + "</tr>"
    head = "<tr><th style='text-align:left'>lesson</th><th style='text-align:left'>standing</th>"
    table = f"<table>{head}<th>exercises</th><th>quizzes</th></tr>{cells}</table>"
    title = f"The course: {_count(sums[0], 'exercise', 's')} and {_count(sums[1], 'quiz', 'zes')}"
    title += " solved"
    _emit("\n".join([title, *text]), _frame("not attempted", title, table))


def _count(number: int, thing: str, more: str) -> str:
    return f"{number} {thing if number == 1 else thing + more}"


def _display(look: str, title: str, lines: list[str]) -> None:
    mark = LOOKS[look][0]
    text = f"{mark} {title}: " + "\n  ".join(plain(line) for line in lines)
    _emit(text, _frame(look, title, "".join(f"<div>{markup(line)}</div>" for line in lines)))


def _badge(look: str) -> str:
    mark, colour = LOOKS[look]
    return f"<b style='{BADGE}{colour}'>{mark}</b>"


def _frame(look: str, title: str, inside: str) -> str:
    mark, colour = LOOKS[look]
    return (
        f"<div role='status' style='border-left:5px solid {colour};padding:.4em .9em;"
        f"margin:.3em 0;line-height:1.5'><b><span style='{BADGE}{colour}'>{mark}</span> "
        f"{html.escape(title)}</b>{inside}</div>"
    )


# Code and formulas stay as they are, also inside bold and italic. An asterisk that multiplies or
# raises to a power is no mark: it has a word, a bracket or a space on the wrong side.
_KEPT = re.compile(r"`[^`]+`|\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL)
_BOLD = re.compile(r"(?<![\w*)\]])\*\*(?=\S)([^*]+?)(?<=\S)\*\*(?![\w*(])")
_ITALIC = re.compile(r"(?<![\w*)\]])\*(?=\S)([^*]+?)(?<=\S)\*(?![\w*(])")


def markup(text: str) -> str:
    """`code`, **bold** and *italic* as HTML, all else escaped; $maths$ is left to the front end."""
    return _styled(html.escape(text, quote=False), r"<b>\1</b>", r"<em>\1</em>", "<code>{}</code>")


def plain(text: str) -> str:
    """The same text without the asterisks of bold and italic; code keeps its backticks."""
    return _styled(text, r"\1", r"\1", "`{}`")


def _styled(text: str, bold: str, italic: str, code: str) -> str:
    text = text.replace("\0", "\ufffd")  # a zero character keeps the place of what is kept
    kept = iter(_KEPT.findall(text))
    text = _ITALIC.sub(italic, _BOLD.sub(bold, _KEPT.sub("\0", text)))

    def back(_: re.Match) -> str:
        part = next(kept)
        return code.format(part[1:-1]) if part.startswith("`") else part

    return re.sub("\0", back, text)


def _emit(text: str, rich: str) -> None:
    if in_notebook():
        from IPython.display import display

        display({"text/plain": text, "text/html": rich}, raw=True)
    else:
        print(text)
