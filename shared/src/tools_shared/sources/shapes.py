"""The shapes that rows come in, told by their keys, and what every shape is made of.

What cannot be used raises `UnusableError` with the reason, which the readers turn into a `Rejected`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools_shared.errors import UnusableError
from tools_shared.names import nearest
from tools_shared.records import Row, text_id
from tools_shared.sources.fields import lookup

SHAPES = {
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "prompt-response": ("prompt", "response"),
    "prompt-completion": ("prompt", "completion"),
    "question-answer": ("question", "answer"),
    "procedure": ("goal", "steps"),
    "problem-solution": ("problem", "solution"),
    "problem-answer": ("problem", "answer"),
    "alpaca": ("instruction", "output"),
    "verl": ("prompt", "reward_model"),
    "prompt-solution": ("prompt", "solution"),
    "prompt-answer": ("prompt", "answer"),
    "prompt-truth": ("prompt", "ground_truth"),
    "text": ("text",),
}
"""Which keys make a shape; of several shapes that fit a row the first one holds.

Where they come from: `messages`, `prompt`/`completion` and `prompt`/`solution` are TRL's, `conversations` ShareGPT's,
`instruction`/`input`/`output` Alpaca's, `problem`/`solution` those of MATH and open-r1, `prompt`/`reward_model` verl's,
`messages`/`ground_truth` and `prompt`/`ground_truth` open-instruct's.
"""

_KEYS = {shape: frozenset(keys) for shape, keys in SHAPES.items()}

CONVERSATIONS = frozenset({"messages", "sharegpt", "prompt-response", "prompt-completion", "alpaca"})
"""The shapes that hold what an assistant says."""


def detect_shape(data: Mapping[str, Any]) -> str | None:
    """The first of SHAPES whose keys the row has, else None."""
    names = data.keys()
    return next((shape for shape, keys in _KEYS.items() if keys <= names), None)


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


def with_input(instruction: str, data: Mapping[str, Any]) -> str:
    """Alpaca's instruction with the row's `input` below it, where there is one."""
    more = data.get("input")
    return f"{instruction}\n\n{more}" if isinstance(more, str) and more.strip() else instruction


def id_of(row: Row, text: str) -> str:
    """The row's own `id`, text or a whole number, else a hash of `text`."""
    given = row.data.get("id")
    usable = isinstance(given, str | int) and not isinstance(given, bool) and str(given).strip()
    return str(given) if usable else text_id(text)


def procedure_text(goal: str, steps: Sequence[str]) -> str:
    """The goal, then a numbered line for each step: the text that a procedure is compared by."""
    return "\n".join([goal, *(f"{number}. {step}" for number, step in enumerate(steps, start=1))])
