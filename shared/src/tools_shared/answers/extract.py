"""Where in a completion the answer stands.

Strict: inside the profile's answer tags. Lenient: the tags, then a box, `#### 18`, an answer line, the last
number, in this order. Reasoning that was opened and never closed has no answer, in either way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tools_shared.answers.numbers import OutOfBounds, parse_number, simple_integer
from tools_shared.blocks import BOXED, blocks, last_filled, said
from tools_shared.prompts import Profile

MAX_LINE = 300

_ANSWER_LINE = re.compile(
    r"(?:^[ \t*_>#-]{0,6}(?:final )?(?:a|ans|answer)[*_]{0,2}[ \t]?[:=]"
    r"|\banswer(?: to [a-z ]{1,40})? (?:is|equals)\b:?)",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s)|\.$")
_NUMBER = re.compile(
    r"""(?:(?<![\w)\]}])-)?[$€£]?(?:
        \\[dt]?frac\{-?[0-9]{1,20}\}\{[0-9]{1,20}\}
      | (?:[0-9]+(?:,[0-9]{3}(?![0-9]))*(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+|/[0-9]+)?%?
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Extraction:
    """An answer, how it was found (`tags`, `boxed`, `hash`, `answer-line`, `last-number`, `none`), and the
    half-open character range it was taken from. `answer` is None exactly when `method` is `none`. `whole` is the
    sentence that the answer was taken out of, None where it is the answer."""

    answer: str | None
    method: str
    span: tuple[int, int] | None
    whole: str | None = None


NONE = Extraction(None, "none", None)


def extract(
    text: str, profile: Profile, *, opened: bool = False, lenient: bool = False, truncated: bool = False
) -> Extraction:
    """The answer of a completion; never raises.

    With `opened` the prompt has already written the opening thinking tag. Lenient looks behind the
    reasoning first and, where there is nothing, in the whole text; where the text was `truncated`, for a box alone.
    """
    parsed = profile.parse(text, opened)
    if parsed.answer:
        return Extraction(parsed.answer, "boxed" if profile.answer == BOXED else "tags", parsed.answer_span)
    text = said(text, (*(profile.think or ()), *profile.answer))
    start = _after_thinking(text, profile, opened)
    if not lenient or start is None:
        return NONE
    found = _anywhere(text, start, truncated)
    return found if found.answer is not None or start == 0 else _anywhere(text, 0, truncated)


def gold_answer(text: str) -> str | None:
    """What stands behind the last `####` of a GSM8K solution, to the end of its line; None where there is none."""
    begin = text.rfind("####")
    if begin < 0:
        return None
    return text[begin + 4 :].partition("\n")[0].strip() or None


def _after_thinking(text: str, profile: Profile, opened: bool) -> int | None:
    """Where the reasoning ends: 0 when there is none, None when it was opened and never closed."""
    if profile.think is None:
        return 0
    begin = 0 if opened else text.find(profile.think[0])
    if begin < 0:
        return 0
    end = text.find(profile.think[1], begin)
    return None if end < 0 else end + len(profile.think[1])


def _anywhere(text: str, start: int, truncated: bool) -> Extraction:
    boxed = last_filled(text, list(blocks(text, *BOXED, start=start)))
    if boxed:
        return Extraction(text[boxed[0] : boxed[1]].strip(), "boxed", boxed)
    if truncated:
        return NONE
    return _hash(text, start) or _answer_line(text, start) or _last_number(text, start)


def _hash(text: str, start: int) -> Extraction | None:
    """The number behind the last `####`; a Markdown heading, which has no number behind it alone, is not one."""
    begin = text.rfind("####", start)
    if begin < 0:
        return None
    found = _line(text, begin + 4, "hash")
    return found if found and _is_number(found.answer) else None


def _answer_line(text: str, start: int) -> Extraction | None:
    """What follows the last `A:`, `Answer:` or `the answer is`, to the end of the line or sentence."""
    last = _last_match(_ANSWER_LINE, text, start)
    if last is None:
        return None
    whole = _line(text, last.end(), "answer-line")
    if whole is None:
        return None
    end = _SENTENCE_END.search(text, whole.span[0], whole.span[1])
    return _trimmed(text, whole.span[0], end.start(), "answer-line") if end else whole


def _last_number(text: str, start: int) -> Extraction:
    last = _last_match(_NUMBER, text, start)
    return Extraction(last[0], "last-number", last.span()) if last else NONE


def _last_match(pattern: re.Pattern[str], text: str, start: int) -> re.Match[str] | None:
    """The last match: looked for in the last line first, where answers nearly always are."""
    last, tail = None, text.rfind("\n", start) + 1
    for begin in (tail, start) if tail > start else (start,):
        for last in pattern.finditer(text, begin):  # noqa: B007 - the last one is wanted
            pass
        if last is not None:
            break
    return last


def _line(text: str, begin: int, method: str) -> Extraction | None:
    """The rest of the line, at most MAX_LINE characters of it."""
    end = text.find("\n", begin, begin + MAX_LINE)
    return _trimmed(text, begin, end if end >= 0 else min(len(text), begin + MAX_LINE), method)


def _trimmed(text: str, begin: int, end: int, method: str) -> Extraction | None:
    """The range without blanks and Markdown emphasis around it; None when nothing is left."""
    raw = text[begin:end]
    content = raw.strip(" \t\r*_")
    if not content:
        return None
    at = begin + raw.index(content)
    return Extraction(content, method, (at, at + len(content)))


def _is_number(text: str) -> bool:
    if simple_integer(text) is not None:
        return True
    try:
        return parse_number(text) is not None
    except OutOfBounds:
        return True
