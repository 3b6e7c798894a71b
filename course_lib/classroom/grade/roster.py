"""A learning system's own table with one column filled in, ready to be uploaded again."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path


class RosterError(ValueError):
    """The table cannot be used; the message is a sentence."""


def fill(source: Path, target: Path, points: Mapping[str, float], match: str, column: str) -> list:
    """Copy the CSV file ``source`` to ``target`` with ``points`` in ``column``.

    A row belongs to the student whose name equals what it holds in column ``match``, or whose
    name has that as a part between underscores, as in Canvas's file names
    (``lovelaceada_4711_815``, matched by the column "ID"). Other rows and columns stay as they are.
    Returns the students that no row names. Raises `RosterError` where the table does not fit.
    """
    rows, dialect, mark = _read(source)
    head = rows[0]
    for name in (match, column):
        if name not in head:
            known = ", ".join(repr(h) for h in head)
            raise RosterError(f"{source} has no column {name!r}; there are: {known}.")
    key, place = head.index(match), head.index(column)
    by_key = {part: student for student in points for part in (*student.split("_"), student)}
    waiting = set(points)
    for number, row in enumerate(rows[1:], start=2):
        if len(row) <= max(key, place):
            continue
        student = by_key.get(row[key].strip()) if row[key].strip() else None
        if student is None:
            continue
        if student not in waiting:
            raise RosterError(f"{source}, line {number}: a second row for {student!r}.")
        waiting.remove(student)
        row[place] = f"{points[student]:g}"
    text = io.StringIO(newline="")
    csv.writer(text, dialect).writerows(rows)
    target.write_text(mark + text.getvalue(), encoding="utf-8", newline="")
    return sorted(waiting)


def _read(source: Path) -> tuple[list[list[str]], csv.Dialect, str]:
    """The rows, how the file separates and quotes, and the mark that it begins with or not."""
    try:
        text = source.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise RosterError(f"{source} is no text in UTF-8; export it as CSV (UTF-8).") from error
    mark, text = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    try:
        dialect = csv.Sniffer().sniff(text.split("\n")[0], ",;\t")
    except csv.Error:
        dialect = csv.excel
    dialect.doublequote, dialect.quoting = True, csv.QUOTE_MINIMAL
    rows = [row for row in csv.reader(io.StringIO(text), dialect) if row]
    if not rows:
        raise RosterError(f"{source} is empty.")
    return rows, dialect, mark
