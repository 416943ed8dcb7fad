"""Getting at a row's fields: dotted keys, and lists that a CSV cell holds as text."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

MAX_CELL = 1 << 20


def lookup(data: Any, key: str) -> Any:
    """The value under `key`, where dots go into objects and numbers into lists (`runs.0.goal`).

    A key that contains the dots itself wins over the path. Raises KeyError(key) when there is nothing there.
    """
    if isinstance(data, Mapping) and key in data:
        return data[key]
    if isinstance(data, list) and key.isdecimal() and int(key) < len(data):
        return data[int(key)]
    position = key.find(".")
    while position >= 0:
        try:
            return lookup(_child(data, key[:position]), key[position + 1 :])
        except KeyError:
            position = key.find(".", position + 1)
    raise KeyError(key)


def _child(data: Any, name: str) -> Any:
    if isinstance(data, Mapping):
        return data[name]
    if isinstance(data, list) and name.isdecimal() and int(name) < len(data):
        return data[int(name)]
    raise KeyError(name)


def as_list(value: Any) -> list[Any] | None:
    """A list as it is; text that holds one (JSON, or Python's form as pandas writes it) parsed; else None.

    Only literals are read (`ast.literal_eval`), never code, and never more than 1 MiB.
    """
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, str) or len(value) > MAX_CELL or not (text := value.strip()).startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return None
    return found if isinstance(found, list) else None
