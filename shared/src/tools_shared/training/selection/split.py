"""Which rows are held out of training, and which of them choose."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tools_shared.errors import ToolError
from tools_shared.records import Conversation, Problem

T = TypeVar("T", Problem, Conversation, Problem | Conversation)

FEWEST = 2
"""Rows that an interval needs."""


@dataclass(frozen=True)
class Parts(Generic[T]):
    """Rows to learn from; rows that choose (empty: nothing is chosen) and others that only report, held out or test
    problems; and what the evaluation after training asks (None: nothing)."""

    train: list[T]
    choosing: Sequence[Any]
    reporting: Sequence[Any]
    tests: list[Problem] | None
    n_held_out: int = 0
    """Rows that were taken out of training."""


def set_aside(
    items: Sequence[T], tests: Sequence[Problem] | None, share: float, seed: int, *, chooses: bool
) -> Parts[T]:
    """Hold `share` of the training rows out; where that is 0 and a run `chooses`, being evaluated while it trains,
    half of the test problems choose and the others report. Raises ToolError where there are too few."""
    asked = None if tests is None else list(tests)
    if share:
        train, held = apart(items, share, seed)
        choosing, reporting = apart(held, 0.5, seed + 1) if chooses else ([], held)
        n_fewest = min(len(choosing), len(reporting)) if chooses else len(reporting)
        _check(n_fewest, f"--validation-split {share:g} of {len(items)} rows", "raise it or give more rows")
        return Parts(train, choosing, reporting, asked, len(held))
    if not chooses:
        return Parts(list(items), [], [], asked)
    if asked is None:
        raise ToolError(
            "--eval-steps needs rows that are not trained on: pass --validation-split 0.1, or --eval-data with problems"
        )
    reporting_tests, choosing_tests = apart(asked, 0.5, seed + 1)
    n_fewest = min(len(choosing_tests), len(reporting_tests))
    _check(n_fewest, f"half of the {len(asked)} rows of --eval-data", "give more, or --validation-split")
    return Parts(list(items), choosing_tests, reporting_tests, reporting_tests)


def _check(n: int, what: str, remedy: str) -> None:
    if n < FEWEST:
        raise ToolError(f"{what} are too few to evaluate on: {n}, and at least {FEWEST} are needed; {remedy}")


def apart(items: Sequence[T], share: float, seed: int) -> tuple[list[T], list[T]]:
    """Rows divided into a rest and a share that is drawn by (seed, text) alone, both in their order.

    Rows that ask the same stay together, so that nothing which is learned is held out too. The share is exact but for
    them, and never more than asked.
    """
    groups: dict[str, list[int]] = {}
    for i, item in enumerate(items):
        groups.setdefault(_asked(item), []).append(i)
    wanted = round(share * len(items))
    drawn: set[int] = set()
    for text in sorted(groups, key=lambda text: hashlib.sha256(f"{seed}:{text}".encode("utf-8", "replace")).digest()):
        if len(drawn) + len(groups[text]) <= wanted:
            drawn.update(groups[text])
    return [x for i, x in enumerate(items) if i not in drawn], [x for i, x in enumerate(items) if i in drawn]


def _asked(item: Problem | Conversation) -> str:
    """What is asked, whatever its case and spaces."""
    if isinstance(item, Problem):
        text = item.question
    else:
        text = "\n".join(f"{m.role}: {m.content}{list(m.tool_calls) or ''}" for m in item.messages[:-1])
    return " ".join(text.split()).casefold()
