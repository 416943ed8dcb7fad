"""Replies that come in pieces: server-sent events (`data: {...}`) and one JSON object after another, put together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tools_shared.engines.http.failures import failure_in
from tools_shared.engines.http.replies import reason_of

_JOINED = {
    "content",
    "text",
    "reasoning_content",
    "reasoning",
    "thinking",
    "refusal",
    "response",
    "arguments",
    "summary",
}


class Unfinished(Exception):
    """A stream that ended before the reply did."""


def whole(raw: bytes) -> Any:
    """The JSON that a body is, or the reply that its pieces make, in the form that it would have had in one piece.

    Raises ValueError (RecursionError for absurd nesting) for what is neither, and Unfinished where the last piece is
    missing. A piece that holds an error is the whole.
    """
    try:
        found = json.loads(raw)
    except UnicodeDecodeError:
        raise
    except ValueError:
        text = raw.decode("utf-8-sig", "replace")
        return _joined(list(_objects(text) if text.lstrip().startswith("{") else _events(text)))
    if isinstance(found, Mapping) and found.get("done") is False:  # the first piece, and nothing after it
        raise Unfinished
    return found


def _joined(pieces: list[Any]) -> Any:
    said = [piece for piece in pieces if piece is not None]
    if not said or not all(isinstance(piece, Mapping) for piece in said):
        raise ValueError("no pieces of a reply")
    if error := next((piece for piece in said if failure_in(piece) is not None), None):
        return error
    if None not in pieces and not _ended(said):
        raise Unfinished
    merged: dict[str, Any] = {}
    for piece in said:
        _merge(merged, _as_message(piece))
    return merged


def _events(text: str) -> Iterator[Any]:
    """The JSON of each event, None for `[DONE]` (WHATWG HTML, section 9.2.6: lines of one event are joined)."""
    lines: list[str] = []
    for line in [*text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]:
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            data = "\n".join(lines).strip()
            lines = []
            if data:
                yield None if data == "[DONE]" else json.loads(data)
        elif line and not line.startswith((":", "event:", "id:", "retry:")):
            raise ValueError("neither JSON nor events")


def _objects(text: str) -> Iterator[Any]:
    """JSON objects with nothing but space between them."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found, at = decoder.raw_decode(text, at)
        yield found


def _ended(pieces: list[Mapping[str, Any]]) -> bool:
    """Whether some piece says how the reply ended. Pieces of a form in which none ever does are taken as they are."""
    lists = [piece["choices"] for piece in pieces if isinstance(piece.get("choices"), list)]
    choices = [choice for found in lists for choice in found if isinstance(choice, Mapping)]
    if choices:
        return any(reason_of(choice) for choice in choices)
    return pieces[-1].get("done") is not False


def _as_message(piece: Mapping[str, Any]) -> Mapping[str, Any]:
    """A piece with its choices' `delta` named as the `message` that it is a part of."""
    if not isinstance(piece.get("choices"), list):
        return piece
    choices = [
        {"index": i, **{k: v for k, v in c.items() if k != "delta"}, "message": c.get("delta") or c.get("message")}
        for i, c in enumerate(piece["choices"])
        if isinstance(c, Mapping)
    ]
    return {**piece, "choices": choices}


def _merge(into: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """Add a piece: texts are joined, lists by the `index` of their parts, everything else is the last that was said."""
    for key, value in piece.items():
        there = into.get(key)
        if value is None or (value == "" and there is not None):
            into.setdefault(key, None)
        elif key in _JOINED and isinstance(value, str) and isinstance(there, str):
            into[key] = there + value
        elif isinstance(value, str) and isinstance(there, list):
            there.append(value)
        elif isinstance(value, Mapping):
            into[key] = there if isinstance(there, dict) else {}
            _merge(into[key], value)
        elif isinstance(value, list):
            into[key] = _merged_list(there, value)
        else:
            into[key] = value


def _merged_list(there: Any, pieces: list[Any]) -> list[Any]:
    if isinstance(there, str):
        there = [there]
    merged = list(there) if isinstance(there, list) else []
    for piece in pieces:
        index = piece.get("index") if isinstance(piece, Mapping) else None
        known = next((m for m in merged if isinstance(m, dict) and index is not None and m.get("index") == index), None)
        if known is None:
            known = {}
            merged.append(known if isinstance(piece, Mapping) else piece)
        if isinstance(piece, Mapping):
            _merge(known, piece)
    return merged
