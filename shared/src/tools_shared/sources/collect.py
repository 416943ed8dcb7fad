"""Rows made into the records that tools train and measure on, with everything that was left out and why."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tools_shared.errors import ToolError, UnusableError
from tools_shared.records import Conversation, Problem, Rejected, Row
from tools_shared.sources.conversations import conversation_from
from tools_shared.sources.problems import FoundProblem, find_problem, unvouched
from tools_shared.sources.rows import read_rows, source_sha256
from tools_shared.sources.shapes import CONVERSATIONS, detect_shape

T = TypeVar("T", Problem, Conversation, Problem | Conversation)
Spec = str | os.PathLike[str] | Sequence[str]
"""An address, or several that are read one after another."""


@dataclass(frozen=True)
class SourceRead:
    """One of the sources of what was read: its address, its hash, and how many of its rows were read and are used."""

    spec: str
    sha256: str
    n_read: int
    n_used: int


@dataclass(frozen=True)
class Collected(Generic[T]):
    """What was read: `n_read` rows are `items` and `rejected` together.

    `sha256` identifies the data: for files that of their bytes (see `source_sha256`), whole even under a limit; for
    standard input, hub and demo that of the rows that were read, each as JSON with sorted keys and a line end. Of
    several sources it is that of their hex digests, one a line; `sources` tells of each.
    """

    items: list[T]
    rejected: list[Rejected]
    n_read: int
    sha256: str
    sources: tuple[SourceRead, ...]

    def named(self, name: str) -> dict[str, SourceRead]:
        """The sources as a manifest names them: `train`, and of several also `train 2` and so on."""
        return {name if n == 1 else f"{name} {n}": one for n, one in enumerate(self.sources, start=1)}


def read_problems(
    spec: Spec,
    *,
    question_key: str | None = None,
    answer_key: str | None = None,
    limit: int | None = None,
    needs_answer: bool = True,
    check: Callable[[Problem], None] | None = None,
) -> Collected[Problem]:
    """Problems from any source (see `problem_from` for the shapes). `limit` stops after that many usable ones.
    Without `needs_answer` a row needs a question alone; what `check` raises UnusableError for is rejected.

    A plain answer is believed where no row that was read has one marked by `####`. Ids are unique: the second row with
    an id gets `-2`. Raises ToolError when the source cannot be opened or no row of it is usable.
    """

    def make(row: Row) -> FoundProblem:
        found = find_problem(row, question_key, answer_key, needs_answer)
        if check is not None:
            check(found.problem)
        return found

    return _collect(spec, make, limit)


def read_conversations(spec: Spec, *, limit: int | None = None) -> Collected[Conversation]:
    """Conversations from any source (see `conversation_from` for the shapes); else as `read_problems`."""
    return _collect(spec, conversation_from, limit)


def read_examples(
    spec: Spec,
    *,
    question_key: str | None = None,
    answer_key: str | None = None,
    limit: int | None = None,
) -> Collected[Problem | Conversation]:
    """Rows to be trained on: those that hold what an assistant says as conversations, all others as problems."""

    def make(row: Row) -> FoundProblem | Conversation:
        if question_key is None and detect_shape(row.data) in CONVERSATIONS:
            try:
                return conversation_from(row, with_tools=True)
            except UnusableError:
                if "ground_truth" not in row.data:
                    raise
        return find_problem(row, question_key, answer_key)

    return _collect(spec, make, limit)


def _collect(spec: Spec, make: Callable[[Row], FoundProblem | Conversation], limit: int | None) -> Collected[Any]:
    if limit is not None and limit < 1:
        raise ToolError(f"the limit for {spec} must be 1 or more, got {limit}")
    items: list[Problem | Conversation] = []
    rejected: list[Rejected] = []
    sources: list[SourceRead] = []
    seen: set[str] = set()
    for one in (spec,) if isinstance(spec, str | os.PathLike) else spec:
        some, bad, sha256 = _read_one(one, make, None if limit is None else limit - len(items), seen)
        sources.append(SourceRead(os.fspath(one), sha256, len(some) + len(bad), len(some)))
        items += some
        rejected += bad
    if not items:
        raise ToolError(_nothing_usable(spec, rejected))
    return Collected(items, rejected, len(items) + len(rejected), joined_sha256(s.sha256 for s in sources), (*sources,))


def joined_sha256(digests: Iterable[str]) -> str:
    """One hash of several sources, from theirs in order; that of one source is its own."""
    found = list(digests)
    return found[0] if len(found) == 1 else hashlib.sha256("".join(f"{d}\n" for d in found).encode()).hexdigest()


def _read_one(
    spec: str | os.PathLike[str], make: Callable[[Row], FoundProblem | Conversation], limit: int | None, seen: set[str]
) -> tuple[list[Problem | Conversation], list[Rejected], str]:
    """One source's items, at most `limit`, its rejected rows, and its hash."""
    digest = hashlib.sha256()
    read: list[tuple[FoundProblem | Conversation | Rejected, Rejected | None]] = []
    n_plain = n_sure = n_marked = 0
    sha256 = source_sha256(spec)
    for found in read_rows(spec) if limit != 0 else ():
        if sha256 is None:
            digest.update(canonical(found))
        made = _make(found, make)
        rests_on = made.rests_on if isinstance(made, FoundProblem) else ("" if isinstance(made, Rejected) else "sure")
        n_plain, n_sure = n_plain + (rests_on == "plain"), n_sure + (rests_on in ("sure", "marked"))
        n_marked += rests_on == "marked"
        doubted = None
        if isinstance(made, FoundProblem) and isinstance(found, Row) and rests_on == "plain":
            doubted = _rejected(found, unvouched(made.name))
        read.append((made, doubted))
        if limit is not None and n_sure + (0 if n_marked else n_plain) >= limit:
            break
    return *_settled(read, not n_marked, seen), sha256 or digest.hexdigest()


def _settled(
    read: Sequence[tuple[FoundProblem | Conversation | Rejected, Rejected | None]], believe_plain: bool, seen: set[str]
) -> tuple[list[Problem | Conversation], list[Rejected]]:
    """Items with unique ids, and rejected rows, both in the order of the source; beside a plain answer is what it
    becomes where it is not believed."""
    items: list[Problem | Conversation] = []
    rejected: list[Rejected] = []
    for made, unbelieved in read:
        if unbelieved is not None and not believe_plain:
            rejected.append(unbelieved)
        elif isinstance(made, Rejected):
            rejected.append(made)
        else:
            item = made.problem if isinstance(made, FoundProblem) else made
            unique = unique_id(item.id, seen)
            items.append(item if unique == item.id else dataclasses.replace(item, id=unique))
    return items, rejected


def _make(
    found: Row | Rejected, make: Callable[[Row], FoundProblem | Conversation]
) -> FoundProblem | Conversation | Rejected:
    if isinstance(found, Rejected):
        return found
    try:
        return make(found)
    except UnusableError as error:
        return _rejected(found, str(error))


def _rejected(row: Row, reason: str) -> Rejected:
    return Rejected(row.origin, reason, json.dumps(row.data, ensure_ascii=False, default=str)[:200])


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


def _nothing_usable(spec: Spec, rejected: list[Rejected]) -> str:
    if not rejected:
        return f"{spec}: no usable row (the source is empty)"
    first = rejected[0]
    n = len(rejected)
    return f"{spec}: no usable row ({n} read, {n} rejected; first: line {first.origin.line}: {first.reason})"
