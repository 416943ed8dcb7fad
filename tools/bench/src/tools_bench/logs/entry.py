"""What every harness's log comes down to: replies, with the question, the gold answer and the harness's own verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tools_bench.requests.journal import UNKNOWN
from tools_shared.records import Rejected


@dataclass(frozen=True)
class LoggedReply:
    """One reply. `doc` tells the questions of a task apart, `accepted` are the right answers as the log has them,
    `prompt` the texts that the model was given, `verdicts` the harness's values by metric and `extracted` the answers
    that it took from the reply for them. `kind` is the item's where the log tells it (`match` for
    one of several options). `error` is the harness's message where the request failed."""

    task: str
    doc: str
    sample: int
    question: str
    accepted: tuple[str, ...]
    prompt: tuple[str, ...]
    text: str
    verdicts: Mapping[str, float]
    extracted: Mapping[str, str] = field(default_factory=dict)
    finish_reason: str = UNKNOWN
    tokens_in: int | None = None
    tokens_out: int | None = None
    error: str | None = None
    kind: str | None = None


@dataclass
class Log:
    """A log that was read. `sampling` has the names that runs of this tool have; `files` are what was read."""

    harness: str
    version: str
    model: str
    is_chat: bool
    replies: list[LoggedReply] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    sampling: dict[str, float | int | None] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


def verdict(value: object) -> float | None:
    """A harness's value as a number: true, "C" (correct) and "P" (partial) too; None for what is no verdict."""
    if isinstance(value, bool | int | float):
        return float(value)
    letters = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
    return letters.get(value) if isinstance(value, str) else None
