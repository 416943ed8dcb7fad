"""What every scorer of text takes and gives."""

from __future__ import annotations

from dataclasses import dataclass

from tools_shared.scorers.scorer import TraceScore


@dataclass(frozen=True)
class TextResponse:
    """A response to a question, as text."""

    question: str
    text: str


@dataclass(frozen=True)
class Scored:
    """A response's steps: the probability of each, and its end (tokens of the response up to there).

    `score` is None where the response cannot be scored; `reason` then says why.
    """

    score: TraceScore | None
    steps: tuple[float, ...] = ()
    ends: tuple[int, ...] = ()
    reason: str | None = None
