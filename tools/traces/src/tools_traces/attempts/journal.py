"""`attempts.jsonl`: every graded attempt on one line, appended at once; the file that a killed run resumes from.

A kill can tear the last line at any byte; it is removed when the file is opened again, and that attempt sampled again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError
from tools_shared.files.journal import LineWriter, parsed

FILE = "attempts.jsonl"
Key = tuple[str, int]
"""A question's id and the number of the attempt at it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One completion of a question, graded. `verified`: the right answer inside a well-formed completion with
    reasoning, or with --accept what the reward gave enough (`score`); `response` is what the model wrote, with the
    thinking tag that the prompt may have opened for it."""

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
    score: float | None = None
    pruned: dict[str, Any] | None = None
    """What a rule of --prune stopped it by: rule, step, score and tokens."""
    steps: tuple[tuple[int, float], ...] | None = None
    """Where its steps end and their probabilities, as in `Completion`; so `confidence`."""
    confidence: tuple[tuple[int, float], ...] | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Attempt:
        known = {f.name for f in fields(cls)}
        ids = data.get("token_ids")
        values = {name: value for name, value in data.items() if name in known}
        return cls(**{**values, "token_ids": tuple(ids) if ids is not None else None})


@dataclass
class Attempts:
    """Attempts by question and number, kept in memory."""

    attempts: dict[tuple[str, int], Attempt]

    def add(self, attempt: Attempt) -> None:
        self.attempts[attempt.id, attempt.sample] = attempt


class AttemptJournal(Attempts, LineWriter):
    """The attempts that are there, and the open file for those to come."""

    def __init__(self, path: Path) -> None:
        Attempts.__init__(self, _by_key(path))
        LineWriter.__init__(self, path)

    def add(self, attempt: Attempt) -> None:
        super().add(attempt)
        self.write(asdict(attempt))


def _by_key(path: Path) -> dict[Key, Attempt]:
    return {(a.id, a.sample): a for a in parsed(path, Attempt.from_json, "a graded attempt")}


def read_attempts(path: Path) -> dict[Key, Attempt]:
    """The attempts of a finished run; raises ToolError when there is no such file."""
    if not path.is_file():
        raise ToolError(f"{path}: no such file; name finished runs of tools-traces")
    return _by_key(path)
