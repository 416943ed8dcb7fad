"""Getting at a row's fields: dotted keys, and lists that a CSV cell holds as text."""

from __future__ import annotations

import ast
import io
import json
import tokenize
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
    """A list as it is; text that holds one parsed; else None.

    Read are JSON, Python's form, and numpy's as `to_csv` of pandas and `datasets` writes it, where nothing is
    between two elements (`['a' 'b']`). Only literals are read (`ast.literal_eval`), never code, and never more than
    1 MiB. A list that numpy has shortened (`...`) is none.
    """
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, str) or len(value) > MAX_CELL or not (text := value.strip()).startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = _literal(text)
    return found if isinstance(found, list) else None


def _literal(text: str) -> Any:
    """A Python or numpy literal, None where the text is neither. Python alone would join `'a' 'b'` into one text."""
    try:
        found = ast.literal_eval(_with_commas(text))
        json.dumps(found)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError, tokenize.TokenError):
        return None
    return found


def _with_commas(text: str) -> str:
    """The text with a comma between any two elements that stand side by side."""
    parts: list[str] = []
    ended = False
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in (tokenize.STRING, tokenize.NUMBER, tokenize.NAME, tokenize.OP):
            continue
        if ended and (token.type != tokenize.OP or token.string in ("[", "-")):
            parts.append(",")
        parts.append(token.string)
        ended = token.type != tokenize.OP or token.string == "]"
    return " ".join(parts)
