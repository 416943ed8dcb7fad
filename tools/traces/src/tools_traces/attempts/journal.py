"""`attempts.jsonl`: every graded attempt on one line, appended at once; the file that a killed run resumes from.

A kill can tear the last line at any byte; it is removed when the file is opened again, and that attempt sampled again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from tools_shared.errors import ToolError
from tools_shared.files import whole_lines

FILE = "attempts.jsonl"
Key = tuple[str, int]
"""A question's id and the number of the attempt at it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One completion of a question, graded. `verified`: the right answer inside a well-formed completion with
    reasoning; `response` is what the model wrote, with the thinking tag that the prompt may have opened for it."""

    id: str
    sample: int
    response: str
    reasoning: str | None
    answer: str | None
    verdict: str
    verified: bool
    finish_reason: str
    n_tokens: int
    token_ids: tuple[int, ...] | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Attempt:
        ids = data.get("token_ids")
        return cls(**{**data, "token_ids": tuple(ids) if ids is not None else None})


@dataclass
class Attempts:
    """Attempts by question and number, kept in memory."""

    attempts: dict[tuple[str, int], Attempt]

    def add(self, attempt: Attempt) -> None:
        self.attempts[attempt.id, attempt.sample] = attempt


class Journal(Attempts):
    """The attempts that are there, and the open file for those to come."""

    def __init__(self, path: Path) -> None:
        super().__init__({(a.id, a.sample): a for a in _parsed(whole_lines(path), path)})
        self.path = path
        self._file = path.open("a", encoding="utf-8", newline="\n")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._file.close()

    def add(self, attempt: Attempt) -> None:
        super().add(attempt)
        # One flush a line, to the system: it survives our death.
        self._file.write(json.dumps(asdict(attempt), ensure_ascii=False) + "\n")
        self._file.flush()


def _parsed(lines: Iterable[str], path: Path) -> Iterable[Attempt]:
    known = {f.name for f in fields(Attempt)}
    for number, line in enumerate(lines, start=1):
        try:
            yield Attempt.from_json({k: v for k, v in json.loads(line).items() if k in known})
        except (json.JSONDecodeError, TypeError, AttributeError) as error:
            raise ToolError(f"{path}:{number}: not a graded attempt ({error}); delete the line") from error


def read_attempts(path: Path) -> dict[tuple[str, int], Attempt]:
    """The attempts of a finished run; raises ToolError when there is no such file."""
    if not path.is_file():
        raise ToolError(f"{path}: no such file; name finished runs of tools-traces")
    return {(a.id, a.sample): a for a in _parsed(whole_lines(path), path)}
