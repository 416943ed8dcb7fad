"""Multiple choice: the letter that a reply settles on, and the option that log-probabilities prefer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tools_bench.grading.free_text import candidates, normal
from tools_bench.grading.replies import visible
from tools_bench.requests.choices import LETTERS
from tools_bench.requests.item import Item
from tools_bench.requests.journal import Response
from tools_shared.prompts import Profile

_WRAPPED = re.compile(r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|boxed|operatorname)\s*\{([^{}]*)\}")
_ALONE = re.compile(
    r"(?:the\s+)?(?:(?:correct|right|best|final)\s+)?(?:option|choice|answer)?\s*(?:is\s*)?:?\s*[(\[]?([A-Z])[)\]]?[.:]?",
    re.I,
)
_BEFORE_TEXT = re.compile(r"(?:option|choice)?\s*[(\[]?([A-Z])[)\].:]\s+(?=\S)|(?:option|choice)\s+([A-Z])\b", re.I)
_SAID = re.compile(
    r"\b(?:answer|option|choice|choose|select|pick)"
    r"(?:\s+(?:is|would be|should be|must be|letter|option|choice))*\s*[:=]?\s*"
    r"(?:option\s+|choice\s+)?[(\[]?([A-Z])[)\]]?(?=\s*(?:$|[.,;:!\n)]))",
    re.IGNORECASE | re.MULTILINE,
)
_IS_RIGHT = re.compile(
    r"(?:option|choice)\s+[(\[]?([A-Z])[)\]]?\s+is\s+(?:the\s+)?(?:correct|right|best)\b|[(\[]([A-Z])[)\]]\s+is\s+(?:the\s+)?(?:correct|right|best)\b",
    re.I,
)
_SEVERAL = re.compile(r"[(\[]?[A-Z][)\]]?(?:\s*(?:,|and|or|&|/)\s*[(\[]?[A-Z][)\]]?)+\.?", re.I)


def chosen_letter(text: str, profile: Profile, opened: bool, options: Sequence[str]) -> str | None:
    """The letter of the option that a reply gives as its answer: marked as such, the whole reply, an option's own text,
    or the last sentence that says so. None where it gives none, or several."""
    shown = visible(text)
    for given in candidates(text, shown, profile, opened):
        if letter := letter_in(given, options):
            return letter
    plain = _plain(shown)
    last = plain.rstrip().rsplit("\n", 1)[-1]
    said = [m for pattern in (_SAID, _IS_RIGHT) for m in pattern.finditer(plain)]
    said.sort(key=lambda match: match.start())
    found = [letter for m in said if (letter := _within(next(filter(None, m.groups())), options))]
    return found[-1] if found else letter_in(last, options)


def letter_in(given: str, options: Sequence[str]) -> str | None:
    """The option that a short answer names: its letter, its letter before its text, or its text."""
    words = _plain(given).strip()
    if _SEVERAL.fullmatch(words):
        return None
    if alone := _ALONE.fullmatch(words):
        return _within(alone[1], options)
    wanted = normal(words)
    same = [i for i, option in enumerate(options) if normal(option) == wanted]
    if wanted and len(same) == 1:
        return LETTERS[same[0]]
    before = _BEFORE_TEXT.match(words)
    return _within(before[1] or before[2], options) if before else None


def preferred(scores: Sequence[float]) -> list[str]:
    """The letters of the options with the highest value; several where they are equal."""
    best = max(scores)
    return [LETTERS[i] for i, score in enumerate(scores) if score == best]


def normalised(response: Response) -> list[float]:
    """Log-probabilities per character of what was scored (for one letter each: the same order as without)."""
    return [score / max(1, n) for score, n in zip(response.scores or (), response.lengths or (), strict=True)]


def chosen(item: Item, response: Response, profile: Profile) -> list[str]:
    """The letters chosen; several share the credit, and none is no answer."""
    if response.scores:
        return preferred(normalised(response))
    letter = chosen_letter(response.text, profile, response.opens_thinking, item.options)
    return [letter] if letter else []


def _within(letter: str, options: Sequence[str]) -> str | None:
    return letter.upper() if letter.upper() in LETTERS[: len(options)] else None


def _plain(text: str) -> str:
    """Without LaTeX's and Markdown's wrapping."""
    while (unwrapped := _WRAPPED.sub(r"\1", text)) != text:
        text = unwrapped
    return text.replace("$", "").replace("**", "").replace("__", "").replace("`", "")
