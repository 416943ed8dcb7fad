"""`responses.jsonl`: every reply on one line as it came, appended at once; the file from which a killed run goes on.

A line torn by a kill is removed when the file is opened again. A failed request may stand there several times; the
last line of a sample counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError
from tools_shared.files.journal import LineWriter, parse_lines, parsed

FILE = "responses.jsonl"
RESPONSE = "a stored response"
UNKNOWN = "unknown"
"""The `finish_reason` of a reply from a log that does not say why it ended."""
DrawKey = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Response:
    """One sample for one item: the text, or why there is none (`error` is the kind, `message` the words).

    For multiple choice by log-probability: `scores` are those of the options in the order shown (natural logarithm),
    `lengths` how many characters each was scored over, `scored_by` what was scored (`letters` or `texts`).
    """

    task: str
    id: str
    sample: int
    text: str = ""
    finish_reason: str = "stop"
    reasoning: str | None = None
    refusal: bool | None = None
    opens_thinking: bool = False
    tokens_in: int | None = None
    tokens_out: int | None = None
    error: str | None = None
    message: str | None = None
    attempts: int = 1
    seconds: float = 0.0
    cached: bool = False
    scores: Sequence[float] | None = None
    lengths: Sequence[int] | None = None
    scored_by: str | None = None

    @property
    def key(self) -> DrawKey:
        return self.task, self.id, self.sample

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Response:
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in data.items() if k in known})


class ResponseJournal(LineWriter):
    """The open file; `responses` are the samples that are there."""

    def __init__(self, path: Path) -> None:
        self.responses = {response.key: response for response in parsed(path, Response.from_json, RESPONSE)}
        super().__init__(path)

    def add(self, response: Response) -> None:
        self.responses[response.key] = response
        self.write(response.to_json())

    def needs(self, key: DrawKey) -> bool:
        known = self.responses.get(key)
        return known is None or known.error is not None


def read_responses(path: Path) -> dict[DrawKey, Response]:
    """The responses of a finished run; the last line of each sample."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        raise ToolError(f"{path}: no such file; this run has no stored responses") from None
    return {response.key: response for response in parse_lines(lines, path, Response.from_json, RESPONSE)}
