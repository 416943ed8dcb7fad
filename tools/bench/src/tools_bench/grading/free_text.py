"""Answers in free text (kind `match`): equal to one of those accepted, letter for letter or but for form."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from tools_shared.answers import answer_anywhere
from tools_shared.prompts import Profile

MARKED = ("tags", "boxed", "hash", "answer-line")
"""Ways of marking an answer; in a reply with none of them the whole of it is the answer."""
_ARTICLES = re.compile(r"\b(?:an?|the)\b")
_MEANINGFUL = "#%&@"
"""Signs that Unicode calls punctuation and that tell answers apart, such as C from C#."""


def candidates(text: str, visible: str, profile: Profile, opened: bool) -> list[str]:
    """What a reply gives as its answer: what it marks as that, whole and reduced; else all of it (`visible`)."""
    found = answer_anywhere(text, profile, opened=opened)
    if found.method not in MARKED:
        return [visible.strip()]
    return [part.strip() for part in (found.answer, found.whole) if part]


def is_exact(given: Sequence[str], accepted: Sequence[str]) -> bool:
    return any(one == other.strip() for one in given for other in accepted)


def is_match(given: Sequence[str], accepted: Sequence[str]) -> bool:
    """Equal but for case, width, articles, white space and punctuation; the signs within a number count."""
    wanted = {normal(answer) for answer in accepted} - {""}
    return is_exact(given, accepted) or any(normal(one) in wanted for one in given)


def normal(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-")
    kept = [sign if _says(folded, i) else " " for i, sign in enumerate(folded)]
    return " ".join(_ARTICLES.sub(" ", "".join(kept).replace("'", "")).split())


def _says(text: str, i: int) -> bool:
    """Whether the character at `i` is part of what is said: no punctuation, or the sign of a number, or inside one."""
    sign = text[i]
    if not unicodedata.category(sign).startswith("P") or sign in _MEANINGFUL or sign == "'":
        return True
    before, after = text[i - 1 : i], text[i + 1 : i + 2]
    return after.isdigit() and (before.isdigit() or (sign == "-" and not before.isalnum()))
