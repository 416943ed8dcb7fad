"""CSV and TSV: the header names the fields; a record may span lines and keeps the line where it begins."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from typing import IO, Any

from tools_shared.errors import ToolError
from tools_shared.records import Origin, Row
from tools_shared.sources.json_text import Rows, rejected
from tools_shared.sources.streams import LIMITS, BrokenStreamError, lines

_QUOTED = re.compile(r'"[^"]*"')


class _LongLineError(Exception):
    """A physical line over the limit, inside or outside a record."""


class _Lines:
    """Decoded lines for csv.reader, counting them. Bytes that are not UTF-8 become lone surrogates, found later."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._lines, self.number, self.last = lines(stream), 0, ""

    def __iter__(self) -> Iterator[str]:
        return self

    def delimiter(self) -> str:
        """What divides the first line outside of quotes: a comma where there is one, else the most frequent sign."""
        try:
            first = next(self._lines, None)
        except BrokenStreamError as error:
            self._lines = _broken(error)
            return ","
        self._lines = itertools.chain([] if first is None else [first], self._lines)
        text = _QUOTED.sub("", ((first[1] if first else None) or b"").decode("utf-8", "surrogateescape"))
        return "," if "," in text else max(DELIMITERS, key=text.count)

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        if line is None:
            raise _LongLineError(LIMITS.too_long())
        self.last = line.decode("utf-8", "surrogateescape")
        return self.last


def _broken(error: BrokenStreamError) -> Iterator[tuple[int, bytes]]:
    """Lines of which the first cannot be read, for whoever reads them next."""
    raise error
    yield


DELIMITERS = (",", ";", "\t", "|")


def read_csv(path: str, stream: IO[bytes], delimiter: str | None) -> Rows:
    """Records as rows of text. `delimiter` None: what divides the header, a comma where nothing does.

    Columns without a name, as spreadsheets leave behind the last one, are left out where they are empty throughout a
    record; a record with a value in one is rejected. Raises ToolError on a header that cannot be used (broken, or a
    name twice).
    """
    csv.field_size_limit(LIMITS.row)
    source = _Lines(stream)
    reader = csv.reader(source, delimiter=delimiter or source.delimiter(), strict=True)
    header: list[str] | None = None
    while True:
        start = source.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except BrokenStreamError as error:
            yield rejected(path, source.number + 1, str(error))
            return
        except (csv.Error, _LongLineError) as error:
            if header is None:
                raise ToolError(f"{path}:{start}: the header cannot be read ({error}); fix the first line") from error
            yield rejected(path, start, _csv_reason(error, start, source.number), source.last)
            continue
        if not any(cell.strip() for cell in cells) and len(cells) <= 1:
            continue
        if header is None:
            header = _check_header(path, start, cells)
        else:
            yield _record(path, start, header, cells)


def _csv_reason(error: Exception, start: int, end: int) -> str:
    span = f" (it spans lines {start} to {end})" if end > start else ""
    return f"{error}{span}" if isinstance(error, _LongLineError) else f"not CSV: {error}{span}"


def _check_header(path: str, line: int, names: list[str]) -> list[str]:
    twice = sorted({n for n in names if n.strip() and names.count(n) > 1})
    if twice:
        raise ToolError(f"{path}:{line}: the column '{twice[0]}' occurs twice in the header; rename one")
    if not _is_utf8(names):
        raise ToolError(f"{path}:{line}: the header is not UTF-8; save the file as UTF-8")
    return names


def _record(path: str, line: int, header: list[str], cells: list[str]) -> Any:
    raw = ",".join(cells)[:200]
    if len(cells) != len(header):
        return rejected(path, line, f"{len(cells)} fields where the header has {len(header)}", raw)
    if not _is_utf8(cells):
        return rejected(path, line, "not UTF-8", raw)
    unnamed = [i for i, (name, cell) in enumerate(zip(header, cells, strict=True), 1) if not name.strip() and cell]
    if unnamed:
        return rejected(path, line, f"column {unnamed[0]} has a value and no name in the header", raw)
    return Row({k: v for k, v in zip(header, cells, strict=True) if k.strip()}, Origin(path, line))


def _is_utf8(cells: list[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True
