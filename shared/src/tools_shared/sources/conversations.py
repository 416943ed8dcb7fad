"""Conversations in the shapes that trainers write them in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tools_shared.errors import UnusableError
from tools_shared.records import Conversation, Message, Row
from tools_shared.sources.fields import as_list
from tools_shared.sources.shapes import CONVERSATIONS, detect_shape, field_of, id_of, text_of, with_input
from tools_shared.sources.tool_turns import ROLES as ROLES_OF_TOOLS
from tools_shared.sources.tool_turns import calls_of, tools_of, uses_tools

ROLES = ("system", "user", "assistant")
SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "bot": "assistant"}
REASONING = ("reasoning_content", "reasoning", "thinking")
"""Fields of an assistant's message in which servers (vLLM, DeepSeek; OpenRouter; Ollama) put its reasoning."""
_NAMES = "{messages}, {conversations}, {prompt, response}, {prompt, completion} or {instruction, output}"


def conversation_from(row: Row, with_tools: bool = False) -> Conversation:
    """A row of one of CONVERSATIONS as a conversation that ends with the assistant. Calls of tools, and what these say,
    are kept `with_tools`; a row that has them is unusable without.

    `prompt` and `completion` are text or lists of messages; a message's content is text or a list of text parts.
    `extra` keeps the other fields; `topic_tags` becomes a list. Raises UnusableError.
    """
    shape = detect_shape(row.data)
    if shape not in CONVERSATIONS:
        raise UnusableError(f"none of {_NAMES} (keys: {', '.join(map(str, row.data))[:80]})")
    messages, used = _read(row.data, shape, with_tools)
    _check_turns(messages)
    tools = tools_of(row.data) if with_tools else ()
    extra = {k: v for k, v in row.data.items() if k not in used | {"id"} | ({"tools"} if tools else set())}
    if isinstance(extra.get("topic_tags"), str):
        extra["topic_tags"] = as_list(extra["topic_tags"]) or [extra["topic_tags"]]
    called = [[m.role, m.content, *([list(m.tool_calls)] if m.tool_calls else [])] for m in messages]
    text = json.dumps(called, ensure_ascii=False, default=str)
    return Conversation(id_of(row, text), tuple(messages), row.origin, extra, tools)


def _read(data: Mapping[str, Any], shape: str, with_tools: bool) -> tuple[list[Message], set[str]]:
    if shape == "messages":
        return turns_of(data["messages"], "messages", with_tools), {"messages"}
    if shape == "sharegpt":
        first = [Message("system", data["system"])] if isinstance(data.get("system"), str) and data["system"] else []
        return [*first, *turns_of(data["conversations"], "conversations", with_tools)], {"conversations", "system"}
    if shape == "alpaca":
        asked = with_input(text_of(data["instruction"], "instruction"), data)
        answer = Message("assistant", text_of(data["output"], "output"))
        return [Message("user", asked), answer], {"instruction", "input", "output"}
    reply = "response" if shape == "prompt-response" else "completion"
    said = _part(data[reply], reply, "assistant", with_tools)
    return [*_part(data["prompt"], "prompt", "user", with_tools), *said], {"prompt", reply}


def _part(value: Any, key: str, role: str, with_tools: bool) -> list[Message]:
    return turns_of(value, key, with_tools) if as_list(value) is not None else [Message(role, text_of(value, key))]


def turns_of(value: Any, key: str, with_tools: bool = False) -> list[Message]:
    """A list of messages, `{role, content}` or `{from, value}`. Raises UnusableError naming the message."""
    turns = as_list(value)
    if not turns:
        raise UnusableError(f'"{key}" is not a list of messages')
    return [_message(turn, f"{key}.{i}", with_tools) for i, turn in enumerate(turns)]


def _message(turn: Any, where: str, with_tools: bool) -> Message:
    if not isinstance(turn, Mapping):
        raise UnusableError(f'"{where}" is not an object with "role" and "content"')
    role_key, content_key = ("from", "value") if "from" in turn and "role" not in turn else ("role", "content")
    role = field_of(turn, role_key)
    role = SHAREGPT_ROLES.get(role, role) if isinstance(role, str) else role
    if with_tools and uses_tools(turn, role):
        return _tool_message(turn, where, role, content_key)
    if role not in ROLES:
        raise UnusableError(f'"{where}" has the role {str(role)[:40]!r}; known: {", ".join(ROLES)}')
    if turn.get("tool_calls"):
        raise UnusableError(f'"{where}" calls a tool; only text is read')
    content = _content(field_of(turn, content_key), f"{where}.{content_key}")
    return Message(role, _with_reasoning(turn, content) if role == "assistant" else content)


def _tool_message(turn: Mapping[str, Any], where: str, role: str, content_key: str) -> Message:
    """A message that calls tools, whose content may be missing, or what a tool said."""
    if ROLES_OF_TOOLS.get(role) == "tool":
        name, answered = (turn.get(key) if isinstance(turn.get(key), str) else None for key in ("name", "tool_call_id"))
        content = field_of(turn, content_key)
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
        return Message("tool", text, (), name, answered)
    calls = calls_of(turn, where)
    if not calls:
        raise UnusableError(f'"{where}" calls a tool without a name')
    said = turn.get(content_key) if role == "assistant" else None
    content = _content(said, f"{where}.{content_key}") if said else ""
    return Message("assistant", _with_reasoning(turn, content), calls)


def _with_reasoning(turn: Mapping[str, Any], content: str) -> str:
    """An assistant's content behind the reasoning that servers give in a field of its own, as models write it."""
    reasoning = next((turn[key] for key in REASONING if isinstance(turn.get(key), str) and turn[key].strip()), None)
    if reasoning is None or reasoning.strip() in content:
        return content
    return f"<think>\n{reasoning.strip()}\n</think>\n\n{content}"


def _content(value: Any, where: str) -> str:
    """Text as it is, or the text parts of a list joined; other parts, such as images, cannot be read."""
    if not isinstance(value, list | tuple):
        return text_of(value, where)
    return text_of("".join(_part_text(part, f"{where}.{i}") for i, part in enumerate(value)), where)


def _part_text(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and part.get("type", "text") == "text" and isinstance(part.get("text"), str):
        return part["text"]
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise UnusableError(f'"{where}" is of the type {str(kind)[:40]!r}; only text is read')


def _check_turns(messages: Sequence[Message]) -> None:
    if messages[-1].role != "assistant":
        raise UnusableError(f"the last message is the {messages[-1].role}'s, not the assistant's")
    if all(m.role != "user" for m in messages):
        raise UnusableError("no message is the user's")
    if any(m.role == "system" for m in messages[1:]):
        raise UnusableError("a system message comes after the first place")
