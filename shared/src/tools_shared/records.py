"""The row types that travel between tools.

A row enters as a `Row` (a mapping and the place it came from). A row that cannot be used becomes a
`Rejected`, never an exception, so that rows in = used + rejected always holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row came from: a path or an address, and its 1-based line (row number in binary formats)."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was read."""

    data: Mapping[str, Any]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that is not used, and why. `raw` is the beginning of the offending text, at most 200 characters."""

    origin: Origin
    reason: str
    raw: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"path": self.origin.path, "line": self.origin.line, "reason": self.reason, "raw": self.raw}


@dataclass(frozen=True, slots=True)
class Problem:
    """A question, with a checkable answer where it is asked for one.

    `answer` is the final answer alone ("72"), empty where the row has none; `reasoning` is the worked solution without
    it, and may be empty. `extra` keeps the row's other fields (topic tags, grade, labels), `row` all of them as read.
    """

    id: str
    question: str
    answer: str
    reasoning: str = ""
    origin: Origin | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    row: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `role` is system, user, assistant or tool.

    `tool_calls` are those of an assistant's turn, each `{"type", "function": {"name", "arguments"}}`; `name` and
    `tool_call_id` say of a tool's turn which tool and which call it answers.
    """

    role: str
    content: str
    tool_calls: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    name: str | None = None
    tool_call_id: str | None = None

    def to_template(self) -> dict[str, Any]:
        """The message as chat templates take it."""
        more = {"tool_calls": list(self.tool_calls), "name": self.name, "tool_call_id": self.tool_call_id}
        return {"role": self.role, "content": self.content} | {key: value for key, value in more.items() if value}


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns to be trained on as they stand; the last one is the assistant's. `tools` are the schemas of those that it
    may call."""

    id: str
    messages: tuple[Message, ...]
    origin: Origin | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)


def text_id(text: str) -> str:
    """A stable id for a row that has none: the first 16 hex digits of the text's sha256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
