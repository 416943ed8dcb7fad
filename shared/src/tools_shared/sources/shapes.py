"""The shapes that rows come in, and what they become: problems, conversations, procedures.

Each function takes a row and returns a record, or raises `UnusableError` with the reason, which the readers turn
into a `Rejected`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tools_shared.nearest import nearest
from tools_shared.records import Conversation, Message, Problem, Row, text_id
from tools_shared.sources.fields import as_list, lookup

REASONING_KEYS = ("reasoning", "solution", "rationale", "cot")
ROLES = ("system", "user", "assistant")
_ANNOTATION = re.compile(r"<<[^<>\n]*>>")
_NO_ANSWER = 'has no "#### N" line; pass --answer-key or fix the row'


class UnusableError(Exception):
    """A row that does not have the shape asked for; the message is the reason."""


def detect_shape(data: Mapping[str, Any]) -> str | None:
    """`messages`, `prompt-response`, `question-answer` or `procedure` (goal and steps) by the row's keys, else None."""
    for shape, keys in (
        ("messages", {"messages"}),
        ("prompt-response", {"prompt", "response"}),
        ("question-answer", {"question", "answer"}),
        ("procedure", {"goal", "steps"}),
    ):
        if keys <= data.keys():
            return shape
    return None


def field_of(data: Mapping[str, Any], key: str, flag: str = "") -> Any:
    """The value under a dotted key. Raises UnusableError naming the nearest key, and the flag that chooses another."""
    try:
        return lookup(data, key)
    except KeyError:
        remedy = f"; pass {flag}" if flag else ""
        raise UnusableError(f'no key "{key}" ({nearest(key, map(str, data))}){remedy}') from None


def text_of(value: Any, key: str) -> str:
    """Text that is not blank, as it is. Raises UnusableError otherwise."""
    if not isinstance(value, str):
        raise UnusableError(f'"{key}" is not text but {type(value).__name__}')
    if not value.strip():
        raise UnusableError(f'"{key}" is empty')
    return value


def split_gsm8k(text: str) -> tuple[str, str] | None:
    """GSM8K's answer as (reasoning, final answer), None when no line begins with `####`.

    The last such line counts. The reasoning loses its calculator annotations (`48/2 = <<48/2=24>>24` becomes
    `48/2 = 24`); the answer stays text (`1,000`). Layout: https://github.com/openai/grade-school-math
    """
    start = text.rfind("\n####") + 1
    if not text.startswith("####", start) or text.startswith("#####", start):
        return None
    return _ANNOTATION.sub("", text[:start]).strip(), text[start + 4 :].strip()


def problem_from(row: Row, question_key: str | None = None, answer_key: str | None = None) -> Problem:
    """A row with a question and an answer as a problem; its id is the row's `id`, else a hash of the question.

    The answer carries GSM8K's `####` line, or is the final answer itself: that is believed when the row also has a
    field with the reasoning (`reasoning`, `solution`, `rationale`, `cot`) or when `answer_key` names it.
    Raises UnusableError.
    """
    question_name, answer_name = question_key or "question", answer_key or "answer"
    question = text_of(field_of(row.data, question_name, "--question-key"), question_name)
    value = field_of(row.data, answer_name, "--answer-key")
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    given = text_of(value, answer_name)
    reasoning_name = next((k for k in REASONING_KEYS if isinstance(row.data.get(k), str) and k != answer_name), None)
    reasoning, answer = _reasoning_and_answer(row, given, answer_name, reasoning_name, believed=answer_key is not None)
    used = {question_name.split(".")[0], answer_name.split(".")[0], "id", reasoning_name}
    extra = {k: v for k, v in row.data.items() if k not in used}
    return Problem(id_of(row, question), question, answer, reasoning, row.origin, extra)


def _reasoning_and_answer(
    row: Row, given: str, name: str, reasoning_name: str | None, believed: bool
) -> tuple[str, str]:
    parts = split_gsm8k(given)
    if parts is None:
        if reasoning_name is None and not believed:
            raise UnusableError(f'"{name}" {_NO_ANSWER}')
        return (row.data[reasoning_name].strip() if reasoning_name else ""), given.strip()
    reasoning, answer = parts
    if not answer:
        raise UnusableError(f'"{name}" has nothing after "####"; fix the row')
    if "\n" in answer:
        raise UnusableError(f'"{name}" has more text below its "#### N" line; fix the row')
    return reasoning, answer


def id_of(row: Row, text: str) -> str:
    """The row's own `id`, text or a whole number, else a hash of `text`."""
    given = row.data.get("id")
    usable = isinstance(given, str | int) and not isinstance(given, bool) and str(given).strip()
    return str(given) if usable else text_id(text)


def conversation_from(row: Row) -> Conversation:
    """`{messages: [{role, content}]}` or `{prompt, response, ...}` as a conversation that ends with the assistant.

    `prompt` is text or a list of messages. `extra` keeps the other fields; `topic_tags` becomes a list.
    Raises UnusableError.
    """
    if "messages" in row.data:
        messages, used = _messages(row.data["messages"], "messages"), {"messages"}
    elif {"prompt", "response"} <= row.data.keys():
        prompt, used = row.data["prompt"], {"prompt", "response"}
        turns = (
            _messages(prompt, "prompt") if as_list(prompt) is not None else [Message("user", text_of(prompt, "prompt"))]
        )
        messages = [*turns, Message("assistant", text_of(row.data["response"], "response"))]
    else:
        raise UnusableError(
            f"neither {{messages}} nor {{prompt, response}} (keys: {', '.join(map(str, row.data))[:80]})"
        )
    _check_turns(messages)
    extra = {k: v for k, v in row.data.items() if k not in used | {"id"}}
    if isinstance(extra.get("topic_tags"), str):
        extra["topic_tags"] = as_list(extra["topic_tags"]) or [extra["topic_tags"]]
    text = json.dumps([[m.role, m.content] for m in messages], ensure_ascii=False)
    return Conversation(id_of(row, text), tuple(messages), row.origin, extra)


def _messages(value: Any, key: str) -> list[Message]:
    turns = as_list(value)
    if not turns:
        raise UnusableError(f'"{key}" is not a list of messages')
    return [_message(turn, f"{key}.{i}") for i, turn in enumerate(turns)]


def _message(turn: Any, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise UnusableError(f'"{where}" is not an object with "role" and "content"')
    role = field_of(turn, "role")
    if role not in ROLES:
        raise UnusableError(f'"{where}" has the role {str(role)[:40]!r}; known: {", ".join(ROLES)}')
    return Message(role, text_of(field_of(turn, "content"), f"{where}.content"))


def _check_turns(messages: Sequence[Message]) -> None:
    if messages[-1].role != "assistant":
        raise UnusableError(f"the last message is the {messages[-1].role}'s, not the assistant's")
    if all(m.role != "user" for m in messages):
        raise UnusableError("no message is the user's")
    if any(m.role == "system" for m in messages[1:]):
        raise UnusableError("a system message stands after the first place")


def procedure_text(goal: str, steps: Sequence[str]) -> str:
    """The goal, then a numbered line for each step: the text that a procedure is compared by."""
    return "\n".join([goal, *(f"{number}. {step}" for number, step in enumerate(steps, start=1))])
