"""What of a row is compared: its question, its goal and steps, or what a key or a template names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools_shared.records import Origin, Row
from tools_shared.sources import as_list, conversation_from, detect_shape, lookup, procedure_text, question_of
from tools_shared.sources.shapes import CONVERSATIONS, SHAPES, UnusableError, field_of, text_of

STEPS = "steps"
"""The field of a procedure's steps, unless an option names another."""


@dataclass(frozen=True)
class Keys:
    """Where a row's text is. Nothing given: goal and steps, else the question of the row's own shape."""

    goal: str | None = None
    steps: str | None = None
    topic: str | None = None
    text: str | None = None
    template: str | None = None
    side: str = "train"
    text_flag: str = "--text-key"


@dataclass(frozen=True, slots=True)
class Content:
    """What a row is compared by, and its parts as they are shown in the matches."""

    text: str
    goal: str
    steps: list[str]
    topic: str = ""


def content_of(data: Mapping[str, Any], keys: Keys) -> Content:
    """Raises UnusableError with the reason, naming the nearest key where one is missing."""
    topic = _topic(data, keys.topic)
    if keys.text:
        text = text_of(field_of(data, keys.text, keys.text_flag), keys.text)
        return Content(text, text, [], topic)
    if keys.template:
        text = _fill(keys.template, data)
        return Content(text, text, [], topic)
    shape = detect_shape(data)
    if keys.goal or keys.steps or shape == "procedure":
        return _procedure(data, keys, topic)
    if shape is None:
        field_of(data, "goal", f"--{keys.side}-goal-key, --text-key or --template")
        field_of(data, "steps", f"--{keys.side}-steps-key, --text-key or --template")
    text = _asked(data, shape)
    return Content(text, text, [], topic)


def _procedure(data: Mapping[str, Any], keys: Keys, topic: str) -> Content:
    goal_key, steps_key = keys.goal or "goal", keys.steps or STEPS
    goal = text_of(field_of(data, goal_key, f"--{keys.side}-goal-key"), goal_key).strip()
    listed = as_list(field_of(data, steps_key, f"--{keys.side}-steps-key"))
    if listed is None:
        raise UnusableError(f'"{steps_key}" is not a list')
    if wrong := next((s for s in listed if s is not None and not isinstance(s, str)), None):
        raise UnusableError(f'"{steps_key}" holds {type(wrong).__name__} where text is wanted')
    steps = [s.strip() for s in listed if s and s.strip()]
    if not steps:
        raise UnusableError(f'"{steps_key}" is empty')
    return Content(procedure_text(goal, steps), goal, steps, topic)


def _asked(data: Mapping[str, Any], shape: str) -> str:
    """What the user asked: the question, the text, or the user's turns of a conversation."""
    if shape not in CONVERSATIONS or (shape == "messages" and "ground_truth" in data):
        return question_of(data, SHAPES[shape][0])
    turns = conversation_from(Row(data, Origin("", 0))).messages
    return "\n".join(turn.content for turn in turns if turn.role == "user")


def _topic(data: Mapping[str, Any], key: str | None) -> str:
    try:
        found = lookup(data, key) if key else ""
    except KeyError:
        return ""
    return found.strip() if isinstance(found, str) else ""


def _fill(template: str, data: Mapping[str, Any]) -> str:
    """The template with every `{dotted.key}` replaced; lists become numbered lines."""

    def put(match: re.Match[str]) -> str:
        value = field_of(data, match[1], "--template")
        listed = value if isinstance(value, list) else None
        return "\n".join(f"{n}. {v}" for n, v in enumerate(listed, start=1)) if listed is not None else str(value)

    return text_of(re.sub(r"\{([^{}]+)\}", put, template), "--template")
