"""What of a row is compared: its question, its goal and steps, or what a key or a template names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools_shared.errors import UnusableError
from tools_shared.records import Origin, Row
from tools_shared.sources import as_list, conversation_from, detect_shape, lookup, procedure_text, question_of
from tools_shared.sources.conversations import turns_of
from tools_shared.sources.problems import QUESTION_KEYS
from tools_shared.sources.shapes import CONVERSATIONS, SHAPES, field_of, text_of

_TURNS = frozenset({"messages", "sharegpt"})
_USER = frozenset({"user", "human"})
_ALONE = (*QUESTION_KEYS, "input", "content", "chosen")
"""Where a question stands in a row without an answer, or with one that is not known."""
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

    @property
    def remedy(self) -> str:
        """The flags that name a field."""
        if self.text_flag != "--text-key" or not self.side:
            return self.text_flag
        return f"--text-key, --template, or --{self.side}-goal-key and --{self.side}-steps-key"


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
    text = _asked(data, shape, keys)
    return Content(text, text, [], topic)


def _procedure(data: Mapping[str, Any], keys: Keys, topic: str) -> Content:
    goal_key, steps_key = keys.goal or "goal", keys.steps or STEPS
    goal = text_of(field_of(data, goal_key, f"--{keys.side}-goal-key"), goal_key).strip()
    listed = as_list(field_of(data, steps_key, f"--{keys.side}-steps-key"))
    if listed is None:
        raise UnusableError(f'"{steps_key}" is not a list')
    if wrong := next((s for s in listed if s is not None and not isinstance(s, str)), None):
        raise UnusableError(f'"{steps_key}" is {type(wrong).__name__} where text is expected')
    steps = [s.strip() for s in listed if s and s.strip()]
    if not steps:
        raise UnusableError(f'"{steps_key}" is empty')
    return Content(procedure_text(goal, steps), goal, steps, topic)


def _asked(data: Mapping[str, Any], shape: str | None, keys: Keys) -> str:
    """What the user asked: the question, the text, or the user's turns of a conversation."""
    if shape in CONVERSATIONS - _TURNS:
        turns = conversation_from(Row(data, Origin("", 0))).messages
        return "\n".join(turn.content for turn in turns if turn.role == "user")
    key = SHAPES[shape][0] if shape else next((key for key in _ALONE if data.get(key) is not None), None)
    if key is None:
        asked, found = ", ".join(QUESTION_KEYS), ", ".join(map(str, data))[:80]
        raise UnusableError(f"no question found (none of {asked}; the row has {found}); pass {keys.remedy}")
    if key == "goal":
        field_of(data, STEPS, f"--{keys.side}-steps-key")
    listed = shape in _TURNS or isinstance(data[key], list | tuple)
    return _user_turns(data[key], key) if listed else question_of(data, key)


def _user_turns(value: Any, key: str) -> str:
    """What the user says in a conversation; other turns may hold what is no text, such as calls of tools."""
    said = [turn for turn in as_list(value) or [] if isinstance(turn, Mapping) and _role(turn) in _USER]
    if not said:
        raise UnusableError(f'no message of "{key}" is the user\'s')
    return "\n".join(turn.content for turn in turns_of(said, key))


def _role(turn: Mapping[str, Any]) -> Any:
    return turn.get("role", turn.get("from"))


def _topic(data: Mapping[str, Any], key: str | None) -> str:
    try:
        found = lookup(data, key) if key else ""
    except KeyError:
        return ""
    return found.strip() if isinstance(found, str) else ""


def _fill(template: str, data: Mapping[str, Any]) -> str:
    """The template with every `{dotted.key}` replaced; lists become numbered lines."""
    return text_of(_FIELD.sub(lambda found: _filled(data, found[1]), template), "--template")


_FIELD = re.compile(r"\{([^{}]+)\}")


def fields_of(template: str) -> list[str]:
    """The dotted keys that a template names."""
    return _FIELD.findall(template)


def _filled(data: Mapping[str, Any], key: str) -> str:
    value = field_of(data, key, "--template")
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) for one in listed):
        raise UnusableError(f'"{key}" is neither text nor a number, the only values that --template inserts')
    return "\n".join(f"{n}. {v}" for n, v in enumerate(value, start=1)) if isinstance(value, list) else str(value)
