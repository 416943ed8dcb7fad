"""Stored replies, read one by one: where each lies in a run's per-example CSV, and what it says.

A record is found by its bytes, so that a page of replies is read without what comes before it. What is read there is
compared with what the index noted, and shown only if it is the same reply.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tools_bench.grading.metrics import METRICS
from tools_bench.report.entries import LONGEST_TEXT, cut, evaluated, is_good
from tools_shared.answers import Status
from tools_shared.errors import ToolError
from tools_shared.files.csv_cells import unguarded

LONGEST_RECORD = 32 * 2**20
"""Bytes of one record; a file with a longer one is not read."""
_BENCHMARK = {"task", "id", "sample", "kind", "outcome", "question", "gold", "answer", "text"}
_EVALUATION = {"id", "question", "labeled_answer", "generated_text", "correct", "lenient_correct"}


@dataclass(frozen=True, slots=True)
class Stored:
    """One reply's place and what it is filtered by. `item` is the same for the same question in another run, None for
    further samples of it; `is_right` is None where nothing was to be judged."""

    offset: int
    length: int
    item: int | None
    is_right: bool | None
    outcome: str


def has_replies(path: Path) -> bool:
    """Whether a CSV is that of a benchmark or an evaluation; other stages have columns of their own."""
    try:
        with path.open("rb") as file:
            columns = set(_header(file))
    except (OSError, ToolError):
        return False
    return columns >= _BENCHMARK or columns >= _EVALUATION


def stored_replies(path: Path) -> Iterator[Stored]:
    """Every reply of a file, in its order. Raises ToolError for a record that cannot be read."""
    with path.open("rb") as file:
        columns = _header(file)
        for offset, raw in _records(file, path):
            reply = _reply(_row(raw, columns))
            yield Stored(offset, len(raw), item_of(reply), reply["good"], reply["outcome"])


def read_replies(path: Path, places: Sequence[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """The replies at (offset, length), texts whole."""
    with path.open("rb") as file:
        columns = _header(file)
        for offset, length in places:
            file.seek(offset)
            yield _reply(_row(file.read(min(length, LONGEST_RECORD)), columns))


def item_of(reply: Mapping[str, Any]) -> int | None:
    """64 bits of the question and its gold answer, for the first sample."""
    if reply["sample"] != 0:
        return None
    words = "\0".join((reply["key"], reply["question"].strip(), reply["gold"]))
    return int.from_bytes(hashlib.blake2b(words.encode("utf-8", "replace"), digest_size=8).digest(), signed=True)


def short(reply: Mapping[str, Any]) -> dict[str, Any]:
    """The reply as a list shows it: long texts are cut, and say so."""
    texts = {name: cut(reply[name]) for name in ("question", "gold", "answer", "text")}
    return {**reply, **texts, "cut": any(len(reply[name]) > LONGEST_TEXT for name in texts)}


def _header(file: BinaryIO) -> list[str]:
    for _, raw in _records(file, Path(file.name)):
        return next(csv.reader(io.StringIO(raw.decode("utf-8-sig", "replace"), newline="")), [])
    return []


def _records(file: BinaryIO, path: Path) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each record: it ends at a line's end where its quotation marks are even."""
    offset = file.tell()
    parts: list[bytes] = []
    n_quotes = length = 0
    while line := file.readline(LONGEST_RECORD):
        parts.append(line)
        length += len(line)
        n_quotes += line.count(b'"')
        if length >= LONGEST_RECORD:
            raise ToolError(f"{path}: the record at byte {offset} is longer than {LONGEST_RECORD} bytes")
        if n_quotes % 2 == 0:
            yield offset, b"".join(parts)
            offset, length, n_quotes = offset + length, 0, 0
            parts.clear()
    if parts:
        raise ToolError(f"{path}: the record at byte {offset} has no end")


def _row(raw: bytes, columns: Sequence[str]) -> dict[str, str]:
    csv.field_size_limit(LONGEST_RECORD)
    rows = csv.reader(io.StringIO(raw.decode("utf-8", "replace"), newline=""))
    cells = next(rows, [])
    if len(cells) != len(columns) or not raw.endswith(b"\n") or next(rows, None) is not None:
        raise ToolError(f"a record has {len(cells)} of {len(columns)} columns, or no end")
    return dict(zip(columns, map(unguarded, cells), strict=True))


def _reply(row: Mapping[str, str]) -> dict[str, Any]:
    """One reply of either kind of file, with the same names."""
    if "labeled_answer" in row:
        return _checked(lambda: evaluated(row, whole=True) | {"sample": 0}, row)
    return _checked(lambda: _benchmarked(row), row)


def _checked(make: Any, row: Mapping[str, str]) -> dict[str, Any]:
    try:
        reply = make()
    except (KeyError, ValueError) as error:
        raise ToolError(f"a record is not whole ({type(error).__name__}: {error})") from error
    if reply["outcome"] == Status.GOLD_INVALID:
        reply["good"] = None
    return reply


def _benchmarked(row: Mapping[str, str]) -> dict[str, Any]:
    values = {name: float(row[name]) for name in METRICS if row.get(name)}
    return {
        "key": f"{row['task']}/{row['id']}",
        "sample": int(row["sample"]),
        "kind": row["kind"],
        "question": row["question"],
        "gold": row["gold"],
        "answer": row["answer"],
        "text": row["text"] or row.get("error", ""),
        "outcome": row["outcome"],
        "good": is_good(values) if any(METRICS[name].decides for name in values) else None,
        "truncated": row.get("finish_reason") == "length",
        "values": values,
    }
