"""Rows made into the records that tools train and measure on, with everything that was left out and why."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tools_shared.errors import ToolError
from tools_shared.records import Conversation, Problem, Rejected, Row
from tools_shared.sources.rows import read_rows, source_sha256
from tools_shared.sources.shapes import UnusableError, conversation_from, detect_shape, problem_from

T = TypeVar("T", Problem, Conversation, Problem | Conversation)


@dataclass(frozen=True)
class Collected(Generic[T]):
    """What was read: `n_read` rows are `items` and `rejected` together.

    `sha256` identifies the data: for files that of their bytes (see `source_sha256`), whole even under a limit; for
    standard input, hub and demo that of the rows that were read, each as JSON with sorted keys and a line end.
    """

    items: list[T]
    rejected: list[Rejected]
    n_read: int
    sha256: str


def read_problems(
    spec: str | os.PathLike[str],
    *,
    question_key: str | None = None,
    answer_key: str | None = None,
    limit: int | None = None,
) -> Collected[Problem]:
    """Problems from any source (see `problem_from` for the shapes). `limit` stops after that many usable ones.

    Ids are unique: the second row with an id gets `-2`. Raises ToolError when the source cannot be opened or no row
    of it is usable.
    """
    return _collect(spec, lambda row: problem_from(row, question_key, answer_key), limit)


def read_conversations(spec: str | os.PathLike[str], *, limit: int | None = None) -> Collected[Conversation]:
    """Conversations from any source (see `conversation_from` for the shapes); else as `read_problems`."""
    return _collect(spec, conversation_from, limit)


def read_examples(
    spec: str | os.PathLike[str],
    *,
    question_key: str | None = None,
    answer_key: str | None = None,
    limit: int | None = None,
) -> Collected[Problem | Conversation]:
    """Rows to be trained on: `messages` and `prompt`/`response` rows as conversations, all others as problems."""

    def make(row: Row) -> Problem | Conversation:
        if question_key is None and detect_shape(row.data) in ("messages", "prompt-response"):
            return conversation_from(row)
        return problem_from(row, question_key, answer_key)

    return _collect(spec, make, limit)


def _collect(spec: str | os.PathLike[str], make: Callable[[Row], T], limit: int | None) -> Collected[T]:
    if limit is not None and limit < 1:
        raise ToolError(f"the limit for {spec} must be 1 or more, got {limit}")
    digest = hashlib.sha256()
    items: list[T] = []
    rejected: list[Rejected] = []
    seen: set[str] = set()
    sha256 = source_sha256(spec)
    for found in read_rows(spec):
        if sha256 is None:
            digest.update(canonical(found))
        made = _make(found, make)
        if isinstance(made, Rejected):
            rejected.append(made)
            continue
        unique = unique_id(made.id, seen)
        items.append(made if unique == made.id else dataclasses.replace(made, id=unique))
        if len(items) == limit:
            break
    n_read = len(items) + len(rejected)
    if not items:
        raise ToolError(_nothing_usable(spec, rejected))
    return Collected(items, rejected, n_read, sha256 or digest.hexdigest())


def _make(found: Row | Rejected, make: Callable[[Row], T]) -> T | Rejected:
    if isinstance(found, Rejected):
        return found
    try:
        return make(found)
    except UnusableError as error:
        return Rejected(found.origin, str(error), json.dumps(found.data, ensure_ascii=False, default=str)[:200])


def unique_id(name: str, seen: set[str]) -> str:
    """`name`, with `-2` and so on where it was seen before; it is seen from now on."""
    unique, count = name, 1
    while unique in seen:
        count += 1
        unique = f"{name}-{count}"
    seen.add(unique)
    return unique


def canonical(found: Row | Rejected) -> bytes:
    """What a row adds to the `sha256` of a source that is no file; every tool that reads the source gets the same."""
    data = found.to_json() if isinstance(found, Rejected) else found.data
    return (json.dumps(data, sort_keys=True, ensure_ascii=False, default=str) + "\n").encode()


def _nothing_usable(spec: str | os.PathLike[str], rejected: list[Rejected]) -> str:
    if not rejected:
        return f"{spec}: no usable row (the source is empty)"
    first = rejected[0]
    n = len(rejected)
    return f"{spec}: no usable row ({n} read, {n} rejected; first: line {first.origin.line}: {first.reason})"
