"""A learning system's own table with one column filled in, ready to be uploaded again."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

# "lovelaceada_4711_815" is Canvas's: the name, the student's number, the file's
NUMBERED = re.compile(r"(?P<name>[^_]+)_(?:LATE_)?(?P<number>\d+)(?:_\d+)?")


class RosterError(ValueError):
    """The table cannot be used; the message is a sentence."""


def fill(
    source: Path,
    target: Path,
    points: Mapping[str, float],
    match: str,
    column: str,
    numbers: Mapping[str, str] | None = None,
) -> list[str]:
    """Copy the CSV file ``source`` to ``target`` with ``points`` in ``column``.

    A row belongs to the student whose name or number it holds in column ``match``; of namesakes,
    to the one whose number stands in the row. ``numbers`` are the learning system's; a name such as
    ``lovelaceada_4711_815`` holds its own. Other rows and columns stay as they are. Returns the
    students whom no row names, or several. Raises `RosterError` where the table does not fit.
    """
    rows, dialect, encoding = _read(source)
    head = rows[0]
    for name in (match, column):
        if name not in head:
            known = ", ".join(repr(h) for h in head)
            raise RosterError(f"{source} has no column {name!r}; there are: {known}.")
    key, place = head.index(match), head.index(column)
    claims = {student: _claims(student, (numbers or {}).get(student, "")) for student in points}
    students: dict[str, list[str]] = {}
    for student, (names, number) in claims.items():
        for claim in {*names, number}:
            students.setdefault(claim, []).append(student)
    cells = {line: row[key] for line, row in enumerate(rows[1:], start=1) if len(row) > key}
    cells = {line: cell for line, cell in cells.items() if cell.strip()}
    pairs = {
        (n, student) for n, cell in cells.items() for student in students.get(_plain(cell), ())
    }
    named = {student for _, student in pairs}  # a number in somebody's name is not for them
    pairs |= {
        (n, student)
        for n, cell in cells.items()
        for student in {*students.get(_number(cell), ())} - named
    }
    sure = _alone(pairs)
    sure |= _alone({(n, s) for n, s in pairs - sure if claims[s][1] in map(_number, rows[n])})
    for line, student in sure:
        row = rows[line]
        row += [""] * (place + 1 - len(row))
        row[place] = f"{points[student]:g}"
    text = io.StringIO(newline="")
    csv.writer(text, dialect).writerows(rows)
    target.write_bytes(text.getvalue().encode(encoding))
    return sorted(points.keys() - {student for _, student in sure})


def _claims(student: str, number: str) -> tuple[set[str], str]:
    """The names that a row may call a student, and the student's number."""
    names = {student, student.removesuffix(f" ({number})")}
    if found := NUMBERED.fullmatch(student):
        names.add(found["name"])
        number = number or found["number"]
    return {_plain(name) for name in names}, number


def _plain(text: str) -> str:
    """Equal for two spellings of a name: composed or not, in capitals or not."""
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


def _number(text: str) -> str | None:
    """`4711`, `Participant 4711`."""
    found = re.fullmatch(r"(?:.*\s)?(\d+)", text.strip())
    return found[1] if found else None


def _alone(pairs: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Rows with one student, who has no other row."""
    rows, students = Counter(row for row, _ in pairs), Counter(student for _, student in pairs)
    return {(row, student) for row, student in pairs if rows[row] == students[student] == 1}


def _read(source: Path) -> tuple[list[list[str]], type[csv.Dialect], str]:
    """The rows, how the file separates and quotes, and its encoding."""
    data = source.read_bytes()
    guesses = ["utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8", "cp1252", "latin-1"]
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        guesses.insert(0, "utf-16")
    for encoding in guesses:
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue  # latin-1 reads anything

    class Dialect(csv.excel):
        delimiter = max(",;\t", key=text.split("\n")[0].count)
        lineterminator = "\r\n" if "\r\n" in text else "\n"

    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), Dialect))
    except csv.Error as error:
        raise RosterError(f"{source} is no table in CSV: {error}.") from error
    if not rows:
        raise RosterError(f"{source} is empty.")
    return rows, Dialect, encoding
