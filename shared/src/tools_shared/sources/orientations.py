"""Tables as `DataFrame.to_json` writes them: by columns (its default), by index, or split into names and data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def rows_of_table(data: Any) -> list[dict[str, Any]] | None:
    """The rows of a table in one of pandas' orientations, None for any other object.

    Columns and index both nest objects: the side whose keys are the row numbers of a default index decides, so a table
    with another index is not recognised, nor is one without rows.
    """
    if not isinstance(data, Mapping) or not data:
        return None
    if data.keys() <= {"columns", "index", "data"} and {"columns", "data"} <= data.keys():
        return _split(data["columns"], data["data"])
    if not all(isinstance(part, Mapping) and part for part in data.values()):
        return None
    inner = [list(part) for part in data.values()]
    if any(keys != inner[0] for keys in inner):
        return None
    if _numbers(inner[0]) and not _numbers(list(data)):
        return [{name: column[number] for name, column in data.items()} for number in inner[0]]
    return [dict(row) for row in data.values()] if _numbers(list(data)) and not _numbers(inner[0]) else None


def _split(columns: Any, data: Any) -> list[dict[str, Any]] | None:
    if not isinstance(columns, list) or not isinstance(data, list) or len(set(map(str, columns))) < len(columns):
        return None
    if not all(isinstance(row, list) and len(row) == len(columns) for row in data):
        return None
    return [dict(zip(map(str, columns), row, strict=True)) for row in data]


def _numbers(keys: list[str]) -> bool:
    """Whether these are the numbers of rows that a filter may have thinned out: digits, rising."""
    if not all(key.isdecimal() and len(key) < 19 for key in keys):
        return False
    numbers = [int(key) for key in keys]
    return numbers == sorted(set(numbers))
