"""Files that grow by a line as the work goes on, and from which an interrupted run resumes.

Each record is one JSON object on one line, handed to the system at once: it survives the death of the process, and a
power cut is rarer than `kill -9`. A line torn by a kill is removed when the file is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tools_shared.errors import ToolError
from tools_shared.files import whole_lines

T = TypeVar("T")


class LineWriter:
    """The file, open for records to come; a context manager that flushes to the disk at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8", newline="\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def write(self, record: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()


def append(path: Path, records: Iterable[Mapping[str, Any]], sync: bool = False) -> None:
    """Add records to a journal that is not kept open; with `sync` they are on the disk when it returns."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def parsed(path: Path, make: Callable[[dict[str, Any]], T], what: str) -> Iterator[T]:
    """The records of a journal, whole lines only; raises ToolError naming the line that is not `what`."""
    return parse_lines(whole_lines(path), path, make, what)


def parse_lines(lines: Iterable[str], path: Path, make: Callable[[dict[str, Any]], T], what: str) -> Iterator[T]:
    for number, line in enumerate(lines, start=1):
        try:
            yield make(json.loads(line))
        except (json.JSONDecodeError, TypeError, AttributeError) as error:
            raise ToolError(f"{path}:{number}: not {what} ({error}); delete the line") from error
