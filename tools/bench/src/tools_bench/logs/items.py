"""From logged replies to the items and responses of a run of this tool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tools_bench.logs.entry import LoggedReply
from tools_bench.requests.item import Item
from tools_bench.requests.journal import DrawKey, Response
from tools_shared.answers import OutOfBounds, parse_number
from tools_shared.records import text_id
from tools_shared.sources import split_gsm8k, unique_id

Key = tuple[str, str]


def kinds_of(replies: Iterable[LoggedReply]) -> dict[str, str]:
    """The kind of each task: `math` where most gold answers are mathematics (numbers, LaTeX, GSM8K's `#### N`), else
    `match`, as for the choice of an option."""
    votes: dict[str, Counter[str]] = {}
    for reply in replies:
        is_math = len(reply.accepted) == 1 and _is_mathematics(reply.accepted[0])
        votes.setdefault(reply.task, Counter())[reply.kind or ("math" if is_math else "match")] += 1
    return {task: found.most_common(1)[0][0] for task, found in votes.items()}


def _is_mathematics(gold: str) -> bool:
    try:
        return split_gsm8k(gold) is not None or "\\" in gold or "$" in gold or parse_number(gold) is not None
    except OutOfBounds:
        return True


def items_of(replies: Sequence[LoggedReply], kinds: dict[str, str]) -> dict[Key, Item]:
    """An item for each document, by its task and document. Its id is that which a row without an `id` has in a run:
    a hash of the question."""
    items: dict[Key, Item] = {}
    seen: dict[str, set[str]] = {}
    for reply in replies:
        if (reply.task, reply.doc) not in items:
            name = unique_id(text_id(reply.question), seen.setdefault(reply.task, set()))
            items[reply.task, reply.doc] = _item(reply, kinds[reply.task], name)
    return items


def _item(reply: LoggedReply, kind: str, name: str) -> Item:
    if kind == "match":
        return Item(reply.task, kind, name, reply.question, reply.accepted[0], accepted=reply.accepted)
    reasoning, answer = split_gsm8k(reply.accepted[0]) or ("", reply.accepted[0].strip())
    return Item(reply.task, kind, name, reply.question, answer, reasoning)


def responses_of(replies: Sequence[LoggedReply], items: dict[Key, Item]) -> dict[DrawKey, Response]:
    """The replies by task, item and sample."""
    found = {}
    for reply in replies:
        response = Response(
            reply.task,
            items[reply.task, reply.doc].id,
            reply.sample,
            reply.text,
            reply.finish_reason,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            error=None if reply.error is None else "logged",
            message=reply.error,
        )
        found[response.key] = response
    return found
