"""Process-reward data: rows whose steps are labelled one by one.

- TRL's stepwise supervision: `prompt`, `completions` (a text each step) and `labels` (true or false each step); prompt
  and steps may be chat messages.
- Math-Shepherd's: `input`, with the mark `ки` after each step, and `label`, the same text with `+` or `-` in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools_shared.errors import UnusableError, brief
from tools_shared.states.steps import BLANK_LINE, LINE

_MARK = "ки"
_FIRST = "Step 1"
_SIGNS = {"+": True, "-": False}


@dataclass(frozen=True)
class LabelledSteps:
    """A question and the steps of one response to it, each with whether it is right."""

    question: str
    steps: tuple[str, ...]
    labels: tuple[bool, ...]

    def joined(self, delimiter: str) -> tuple[str, list[int]]:
        """The response, with the delimiter between steps, and the character ends of the steps (half-open)."""
        between = delimiter if delimiter in (LINE, BLANK_LINE) else " "
        text, ends = "", []
        for number, step in enumerate(self.steps, start=1):
            text += step.strip() + (between if number < len(self.steps) else "")
            ends.append(len(text))
        return text, ends


def is_stepwise(data: Any) -> bool:
    """Whether a row is of one of the two shapes."""
    if not isinstance(data, Mapping):
        return False
    trl = {"prompt", "completions", "labels"} <= data.keys()
    return trl or ({"input", "label"} <= data.keys() and isinstance(data["input"], str) and _MARK in data["input"])


def labelled_steps(data: Mapping[str, Any]) -> LabelledSteps:
    """Raises UnusableError with the step, its value and what helps."""
    return _of_trl(data) if "completions" in data else _of_shepherd(str(data["input"]), data["label"])


def _of_trl(data: Mapping[str, Any]) -> LabelledSteps:
    steps, labels = data["completions"], data["labels"]
    for name, value in (("completions", steps), ("labels", labels)):
        if not isinstance(value, list) or not value:
            raise UnusableError(f"'{name}' is {brief(value, 40)}; give a list with one entry for each step")
    if len(steps) != len(labels):
        raise UnusableError(f"{len(steps)} completions and {len(labels)} labels; give one label for each step")
    texts = tuple(_step(step, number) for number, step in enumerate(steps, start=1))
    return LabelledSteps(_question(data["prompt"]), texts, tuple(_label(v, n) for n, v in enumerate(labels, start=1)))


def _step(step: Any, number: int) -> str:
    text = _said(step, "assistant") if not isinstance(step, str) else step
    if text is None or not text.strip():
        raise UnusableError(f"step {number} is {brief(step, 40)}; give its text, or an assistant's message")
    return text


def _label(value: Any, number: int) -> bool:
    if type(value) in (bool, int, float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip() in _SIGNS:
        return _SIGNS[value.strip()]
    raise UnusableError(
        f"the label of step {number} is {brief(value, 40)}; write true or false (a rating of three values has to be "
        "made two before)"
    )


def _question(prompt: Any) -> str:
    """Text, or the messages before the answer: instructions and one question, a blank line between them."""
    if isinstance(prompt, str) and prompt.strip():
        return prompt.strip()
    if isinstance(prompt, list) and prompt and all(isinstance(turn, Mapping) for turn in prompt):
        roles = [turn.get("role") for turn in prompt]
        texts = [_said(turn, str(turn.get("role"))) for turn in prompt]
        if roles in (["user"], ["system", "user"]) and all(text and text.strip() for text in texts):
            return "\n\n".join(str(text).strip() for text in texts)
        raise UnusableError(
            f"'prompt' has turns of {brief(roles, 60)}; give one user's turn, a system's before it or not"
        )
    raise UnusableError(f"'prompt' is {brief(prompt, 40)}; give the question as text or as chat messages")


def _said(message: Any, role: str) -> str | None:
    """The text of one message, or of a list with one message; None where there is none of this role."""
    if isinstance(message, Sequence) and not isinstance(message, str) and len(message) == 1:
        message = message[0]
    if not isinstance(message, Mapping) or message.get("role") != role:
        return None
    content = message.get("content")
    if isinstance(content, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    return content if isinstance(content, str) else None


def _of_shepherd(text: str, label: Any) -> LabelledSteps:
    if not isinstance(label, str):
        raise UnusableError(f"'label' is {brief(label, 40)}; give the input's text with + or - for each {_MARK}")
    *parts, rest = text.split(_MARK)
    signs, at = [], 0
    for number, part in enumerate(parts, start=1):
        sign = label[at + len(part) : at + len(part) + 1]
        if label[at : at + len(part)] != part or sign not in _SIGNS:
            raise UnusableError(
                f"'label' does not follow 'input' with + or - after step {number}: {brief(label[at:], 40)}"
            )
        signs.append(_SIGNS[sign])
        at += len(part) + 1
    question, found, first = parts[0].partition(_FIRST)
    if not found or not question.strip() or rest.strip():
        raise UnusableError(f"'input' is not a question, '{_FIRST}' and steps that each end with {_MARK}")
    steps = [_FIRST + first, *parts[1:]]
    if empty := next((n for n, step in enumerate(steps, start=1) if not step.strip()), None):
        raise UnusableError(f"step {empty} of 'input' is empty")
    return LabelledSteps(question.strip(), tuple(step.strip() for step in steps), tuple(signs))
