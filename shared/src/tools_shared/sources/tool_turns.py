"""Calls of tools in conversations, in the shapes that trainers write them in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tools_shared.errors import UnusableError
from tools_shared.sources.fields import as_list

ROLES = {"tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool", "function_call": "assistant"}
"""Roles of what a tool said, and of a turn that is a call alone, as trainers name them."""


def uses_tools(turn: Mapping[str, Any], role: Any) -> bool:
    """Whether a message calls a tool or is what one said."""
    return role in ROLES or bool(turn.get("tool_calls")) or bool(turn.get("function_call"))


def tools_of(data: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The tools that a row offers, as JSON schemas; the list may be JSON text. Raises UnusableError."""
    tools = _json(data.get("tools"))
    if not tools:
        return ()
    if as_list(tools) is None or not all(isinstance(tool, Mapping) for tool in tools):
        raise UnusableError('"tools" is not a list of objects')
    return tuple(tools)


def calls_of(turn: Mapping[str, Any], where: str) -> tuple[Mapping[str, Any], ...]:
    """The calls of an assistant's message: `tool_calls`, `function_call`, or a value that is one call (ShareGPT).

    Each as `{"type": "function", "function": {"name", "arguments"}}`, with its id where it has one; arguments that are
    JSON text become the object that they write, as chat templates expect it. Raises UnusableError.
    """
    given = turn.get("tool_calls") or turn.get("function_call")
    if given is None and "function_call" in (turn.get("from"), turn.get("role")):
        given = turn.get("value", turn.get("content"))
    given = _json(given)
    listed = as_list(given)
    return tuple(_call(call, where) for call in (listed if listed is not None else [given]) if call)


def _call(call: Any, where: str) -> Mapping[str, Any]:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name := function.get("name"), str) or not name:
        raise UnusableError(f'"{where}" calls a tool without a name')
    arguments = _json(function.get("arguments", {}))
    if not isinstance(arguments, Mapping):
        raise UnusableError(f'"{where}" calls {name[:40]} with arguments that are not an object')
    made: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": dict(arguments)}}
    return {"id": call["id"], **made} if isinstance(call.get("id"), str) else made


def _json(value: Any) -> Any:
    """What JSON text writes; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
