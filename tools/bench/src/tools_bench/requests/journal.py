"""`responses.jsonl`: every reply on one line as it came, appended at once; the file from which a killed run goes on.

A line torn by a kill is removed when the file is opened again. A failed request may stand there several times; the
last line of a sample counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from tools_shared.errors import ToolError
from tools_shared.files import whole_lines

FILE = "responses.jsonl"
DrawKey = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Response:
    """One sample for one item: the text, or why there is none (`error` is the kind, `message` the words)."""

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

    @property
    def key(self) -> DrawKey:
        return self.task, self.id, self.sample

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


class Journal:
    """The open file; `answered` are the samples that are there and did not fail."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.responses = {response.key: response for response in parse(whole_lines(path), path)}
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        os.fsync(self._file.fileno())
        self._file.close()

    def add(self, response: Response) -> None:
        self.responses[response.key] = response
        self._file.write(json.dumps(response.to_json(), ensure_ascii=False) + "\n")
        self._file.flush()  # to the system: it survives our death, and a power cut is rarer than kill -9

    def needs(self, key: DrawKey) -> bool:
        known = self.responses.get(key)
        return known is None or known.error is not None


def parse(lines: Iterable[str], path: Path) -> Iterable[Response]:
    known = {f.name for f in fields(Response)}
    for number, line in enumerate(lines, start=1):
        try:
            data = json.loads(line)
            yield Response(**{k: v for k, v in data.items() if k in known})
        except (json.JSONDecodeError, TypeError, AttributeError) as error:
            raise ToolError(f"{path}:{number}: not a stored response ({error}); delete the line") from error


def read_responses(path: Path) -> dict[DrawKey, Response]:
    """The responses of a finished run; the last line of each sample."""
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ToolError(f"{path}: no such file; this run has no stored responses") from None
    return {response.key: response for response in parse(content.split("\n")[:-1], path)}
