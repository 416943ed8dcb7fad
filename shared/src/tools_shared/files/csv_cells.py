"""CSV files that people open in spreadsheets: a cell that would be a formula there begins with an apostrophe.

The characters are those of OWASP's "CSV Injection" with their full-width forms. Numbers stay as they are. What is
written and read with this module comes back as it was: a cell that looks guarded already gets one apostrophe more.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]+)*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s?%?")


def guarded(cell: Any) -> Any:
    """The cell as it is written."""
    is_formula = isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if is_formula else cell


def unguarded(cell: str) -> str:
    """The cell as it was before it was written."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


class Writer:
    """`csv.writer` with guarded cells. Lines end as RFC 4180 says: Python 3.11 quotes a carriage return in a cell only
    when the line end holds one too."""

    def __init__(self, file: IO[str], line_end: str = "\r\n") -> None:
        self._writer = csv.writer(file, lineterminator=line_end)

    def row(self, cells: Iterable[Any]) -> None:
        self._writer.writerow([guarded(cell) for cell in cells])

    def rows(self, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        """A header and one line a mapping, which has exactly these columns."""
        self.row(columns)
        for row in rows:
            self.row(row[name] for name in columns)


def read_dicts(file: IO[str]) -> Iterator[dict[str, str]]:
    """`csv.DictReader` over a file that this module wrote, or that has no such cells."""
    csv.field_size_limit(2**31 - 1)
    for row in csv.DictReader(file):
        yield {name: unguarded(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
