"""JSON lines and JSON: every object a row with its line, every fault a rejected row with its line and column."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator
from typing import IO, Any

from tools_shared.records import Origin, Rejected, Row
from tools_shared.sources.orientations import rows_of_table
from tools_shared.sources.shapes import detect_shape
from tools_shared.sources.streams import LIMITS, BrokenStreamError, lines, read_all

Rows = Iterator[Row | Rejected]
_SPACE = re.compile(r"[ \t\r\n]*")


def rejected(path: str, line: int, reason: str, raw: bytes | str = "") -> Rejected:
    """A rejected row whose `raw` is the first 200 characters; always encodable as UTF-8, as it will be written."""
    text = raw[:800].decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    return Rejected(Origin(path, line), _encodable(reason), _encodable(text[:200]).rstrip("\r\n"))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _no_number(_name: str) -> None:
    """NaN, Infinity and -Infinity, which Python and others write though JSON has none: null, as in every format."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:40]!r} occurs twice in one object")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:20]} is too large for a float")
    return value


_DECODER = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_object)


def reason_for(error: ValueError | RecursionError) -> str:
    """Why a line of JSON is refused, with the column where the decoder knows it."""
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 (byte 0x{error.object[error.start]:02x} at column {error.start + 1})"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at column {error.colno}"
    if isinstance(error, RecursionError):
        return "not JSON: nested too deeply"
    return f"not JSON: {error}"


def _row(path: str, number: int, data: Any, raw: bytes | str, escaped: bool) -> Row | Rejected:
    if not isinstance(data, dict):
        return rejected(path, number, f"not an object but {_KINDS[type(data)]}", raw)
    if escaped:
        try:
            json.dumps(data, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return rejected(path, number, "the text contains half a surrogate pair (\\ud800 to \\udfff)", raw)
    return Row(data, Origin(path, number))


_KINDS = {list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false", type(None): "null"}


def read_jsonl(path: str, stream: IO[bytes]) -> Rows:
    """One JSON object a line; blank lines are skipped."""
    number = 0
    try:
        for number, line in lines(stream):
            if line is None:
                yield rejected(path, number, LIMITS.too_long())
            elif line.strip():
                yield _parse_line(path, number, line)
    except BrokenStreamError as error:
        yield rejected(path, number + 1, str(error))


def _parse_line(path: str, number: int, line: bytes) -> Row | Rejected:
    try:
        data = _DECODER.decode(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return rejected(path, number, reason_for(error), line)
    return _row(path, number, data, line, escaped=b"\\u" in line)


def read_json(path: str, stream: IO[bytes]) -> Rows:
    """A list of objects, an object that holds one such list, one object, or (as often found) JSON lines.

    Also the orientations columns, index and split of pandas; the line is then the row's number.
    Held in memory as a whole, unlike the other formats. After a fault in a list nothing further can be read.
    """
    try:
        content = read_all(stream)
        if not content.strip():
            return
        if _is_json_lines(content):
            yield from read_jsonl(path, io.BytesIO(content))
            return
        text = content.decode("utf-8")
        yield from _values(path, text, _after_space(text, 0))
    except BrokenStreamError as error:
        yield rejected(path, 1, str(error))
    except UnicodeDecodeError as error:
        yield rejected(path, content.count(b"\n", 0, error.start) + 1, f"not UTF-8 (byte 0x{content[error.start]:02x})")


def _is_json_lines(content: bytes) -> bool:
    """Whether the first line is a whole object and more lines follow."""
    first, _, rest = content.lstrip().partition(b"\n")
    if not first.startswith(b"{") or not rest.strip():
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True


def _values(path: str, text: str, start: int) -> Rows:
    """The rows of a JSON text: the list's elements, or the one value itself."""
    if text[start] == "[":
        yield from _elements(path, text, start, whole=True)
        return
    try:
        data = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        yield rejected(path, getattr(error, "lineno", 1), reason_for(error), text)
        return
    lists = _lists_of_rows(data)
    if (table := rows_of_table(data)) is not None:
        yield from (Row(row, Origin(path, number)) for number, row in enumerate(table, start=1))
    elif len(lists) == 1:
        yield from _elements(path, text, _member_start(text, start, lists[0]), whole=False)
    elif lists:
        yield rejected(
            path, 1, f"the object contains {len(lists)} lists of rows ({', '.join(lists[:5])}); keep one", text
        )
    else:
        yield _row(path, 1, data, text, escaped=True)


def _lists_of_rows(data: Any) -> list[str]:
    """The keys of an object that hold lists of objects; none if it is itself a row, as a conversation is."""
    if not isinstance(data, dict) or detect_shape(data) is not None:
        return []
    return [k for k, v in data.items() if isinstance(v, list) and v and all(isinstance(e, dict) for e in v)]


def _after_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return start if found is None else found.end()


def _member_start(text: str, start: int, wanted: str) -> int:
    """Where the value of the key `wanted` begins in the object at `start`; the text has been decoded before."""
    position, found = start + 1, -1
    while text[position - 1] != "}":
        key, position = _DECODER.raw_decode(text, _after_space(text, position))
        value = _after_space(text, text.index(":", position) + 1)
        found = value if key == wanted else found  # the last one of equal keys, as the decoder takes it
        _, position = _DECODER.raw_decode(text, value)
        position = _after_space(text, position) + 1
    return found


def _elements(path: str, text: str, start: int, whole: bool) -> Rows:
    """The list that begins at `start`, element by element, each with the line where it begins.

    `whole`: the list is all that the text may hold.
    """
    line, counted, position = 1, 0, _after_space(text, start + 1)
    closed = text.startswith("]", position)
    while not closed:
        line, counted = line + text.count("\n", counted, position), position
        raw = text[position : position + 200]
        try:
            data, end = _DECODER.raw_decode(text, position)
            position = _after_space(text, end)
            if text[position : position + 1] not in (",", "]"):
                raise json.JSONDecodeError("expecting ',' or ']'", text, position)
        except (ValueError, RecursionError) as error:
            reason = f"{reason_for(error)}; the rest of the file is not read"
            yield rejected(path, getattr(error, "lineno", line), reason, raw)
            return
        yield _row(path, line, data, raw, escaped="\\u" in text[counted:end])
        closed = text[position] == "]"
        position = position if closed else _after_space(text, position + 1)
    if whole and (more := text[position + 1 :].strip()):
        number = text.count("\n", 0, text.index(more[:200], position + 1)) + 1
        yield rejected(path, number, "more text after the list; the rest of the file is not read", more)
