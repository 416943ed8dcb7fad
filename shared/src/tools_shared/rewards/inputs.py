"""What TRL passes to a reward, read: completions as text or chat messages, gold answers as text or numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from tools_shared.errors import ToolError

Completion = str | None | Mapping[str, Any] | Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion to be scored. `opened`: the prompt wrote the opening thinking tag. `n_tokens` is its length.

    `gold` is empty where the data has no gold answer: nothing can be judged then.
    """

    text: str
    gold: str
    opened: bool
    n_tokens: int


def read_samples(
    name: str, completions: Sequence[Completion], columns: Mapping[str, Any], needs_answer: bool = True
) -> list[Sample]:
    """The completions with their gold answers, for the reward `name`; raises ToolError where one cannot be read."""
    if needs_answer and "answer" not in columns:
        raise ToolError(f"the reward '{name}' needs the gold answers in a column 'answer', got {sorted(columns)}")
    texts = [completion_text(completion) for completion in completions]
    golds = [gold_text(gold) for gold in columns["answer"]] if needs_answer else [""] * len(texts)
    opened = columns.get("opens_thinking") or [False] * len(texts)
    token_ids = columns.get("completion_ids")
    n_tokens = [len(ids) for ids in token_ids] if token_ids is not None else [len(text.split()) for text in texts]
    return [Sample(*row) for row in zip(texts, golds, opened, n_tokens, strict=True)]


def completion_text(completion: Completion) -> str:
    """The text of a completion: a string, or the assistant's turns of one that is a list of chat messages.

    A content that is None is empty, and of one in parts the text parts count.
    """
    if completion is None or isinstance(completion, str):
        return completion or ""
    messages = [completion] if isinstance(completion, Mapping) else completion
    if not isinstance(messages, Sequence) or not all(isinstance(m, Mapping) and "role" in m for m in messages):
        raise ToolError(f"a completion is {_shown(completion)}; give text, or a list of messages with role and content")
    return "".join(_content(m.get("content")) for m in messages if m["role"] == "assistant")


def gold_text(gold: Any) -> str:
    """A gold answer as text: numbers as they are written, a list of one as its item, empty for what is missing."""
    if isinstance(gold, list | tuple) and len(gold) == 1:
        return gold_text(gold[0])
    if gold is None or (isinstance(gold, float) and not math.isfinite(gold)):
        return ""
    if isinstance(gold, str):
        return gold
    if isinstance(gold, Real):
        whole = math.trunc(gold)
        return str(whole) if not isinstance(gold, bool) and gold == whole else str(gold)
    raise ToolError(f"a gold answer is {_shown(gold)}; give one text or number a row, a list of answers as '2, 3'")


def _content(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, Sequence) and all(isinstance(part, str | Mapping) for part in content):
        texts = [part if isinstance(part, str) else part.get("text") for part in content]
        return "".join(text for text in texts if isinstance(text, str))
    raise ToolError(f"the content of a completion is {_shown(content)}; give text, or a list of parts with 'text'")


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:60]!r}"
