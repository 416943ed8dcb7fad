"""Parquet and Arrow, a batch at a time; the line of a row is its 1-based number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from tools_shared.errors import ToolError
from tools_shared.records import Origin, Rejected, Row
from tools_shared.sources.json_text import Rows, rejected
from tools_shared.sources.streams import require
from tools_shared.sources.values import as_json

if TYPE_CHECKING:
    import pyarrow

BATCH_ROWS = 1024
_IPC_FILE = b"ARROW1"


def read_table(path: str, stream: IO[bytes], suffix: str) -> Rows:
    """Rows of a Parquet, Arrow (file or stream) or Feather (version 2) file.

    Raises ToolError without pyarrow, and where a column's name occurs twice: a row holds only one of them.
    """
    arrow = require("pyarrow", f"{suffix} files")
    number = 0
    try:
        for batch in _parquet(stream) if suffix == ".parquet" else _ipc(stream):
            _check_names(path, batch.schema)
            for data in _rows(batch):
                number += 1
                yield _row(path, number, data)
    except (arrow.ArrowException, OSError) as error:
        yield rejected(path, number + 1, f"not readable as {suffix[1:]} from here on: {str(error).splitlines()[0]}")


def _check_names(path: str, schema: pyarrow.Schema) -> None:
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise ToolError(f"{path}: the column '{twice[0]}' occurs twice; rename one")


def _parquet(stream: IO[bytes]) -> Iterator[pyarrow.RecordBatch]:
    from pyarrow.parquet import ParquetFile

    yield from ParquetFile(stream).iter_batches(batch_size=BATCH_ROWS)


def _ipc(stream: IO[bytes]) -> Iterator[pyarrow.RecordBatch]:
    from pyarrow import ipc

    is_file = stream.read(len(_IPC_FILE)) == _IPC_FILE
    stream.seek(0)
    if is_file:
        table = ipc.open_file(stream)
        yield from (table.get_batch(i) for i in range(table.num_record_batches))
    else:
        yield from ipc.open_stream(stream)


def _rows(batch: pyarrow.RecordBatch) -> Iterator[dict[str, Any] | UnicodeDecodeError]:
    """A batch as objects; where some text is not UTF-8, row by row, so that only those rows are lost."""
    for start in range(0, batch.num_rows, BATCH_ROWS):
        part = batch.slice(start, BATCH_ROWS)
        try:
            yield from part.to_pylist()
        except UnicodeDecodeError:
            yield from (_one(part.slice(i, 1)) for i in range(part.num_rows))


def _one(part: pyarrow.RecordBatch) -> dict[str, Any] | UnicodeDecodeError:
    try:
        return part.to_pylist()[0]
    except UnicodeDecodeError as error:
        return error


def _row(path: str, number: int, data: dict[str, Any] | UnicodeDecodeError) -> Row | Rejected:
    if isinstance(data, UnicodeDecodeError):
        return rejected(path, number, "not UTF-8")
    return Row(as_json(data), Origin(path, number))
