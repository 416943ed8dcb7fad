"""Texts as words and numbers: what the lexical evidence and the marks in the report are made of.

Every pattern here is linear: each character is looked at once, whatever the text.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_PIECE = re.compile(
    r"(?m:^)\d{1,3}\. "  # the number of a step, which is the only piece with a blank
    r"|\d+(?:,\d{3})*(?:\.\d+)?"
    r"|[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]"  # no spaces there: a sign is a word
    r"|[^\W\d_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]+"
)
_ASCII_PIECE = re.compile(r"[A-Za-z]+|(?m:^)\d{1,3}\. |\d+(?:,\d{3})*(?:\.\d+)?")  # the same there, three times as fast
STEM_LENGTH = 5
_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_NUMBER_WORDS = {word: str(value) for value, word in enumerate(_UNITS)} | {
    "seventeen": "17", "eighteen": "18", "nineteen": "19", "twenty": "20", "thirty": "30", "forty": "40",
    "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90", "hundred": "100",
    "thousand": "1000", "million": "1000000", "half": "1/2", "third": "1/3", "quarter": "1/4", "dozen": "12",
    "twice": "2", "double": "2", "thrice": "3", "triple": "3",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """A word or number with its place in the text; `term` is what is compared: a stem, or `#` and a number."""

    term: str
    start: int
    end: int


def tokens(text: str) -> Iterator[Token]:
    """Words as stems (their first five letters, the stemmer that needs no language) and numbers as `#72`.

    A number word gives its number, for rewordings write "3" for "three".
    """
    for found in _pattern(text).finditer(text):
        term = term_of(found[0])
        if term is not None:
            yield Token(term, found.start(), found.end())


def terms(text: str) -> Counter[str]:
    """The multiset of a text's terms."""
    return Counter(term for piece in pieces(text) if (term := term_of(piece)) is not None)


def pieces(text: str) -> list[str]:
    """The words and numbers of a text as it writes them; for `term_of`, which gives the same for the same piece."""
    return _pattern(text).findall(text)


def _pattern(text: str) -> re.Pattern[str]:
    return _ASCII_PIECE if text.isascii() else _PIECE


def term_of(piece: str) -> str | None:
    """What a piece is compared by; None for the number of a step, which says nothing about what the step says."""
    if piece[-1] == " ":
        return None
    if piece[0].isdecimal():
        return "#" + _plain_number(piece)
    word = piece.lower()
    number = _NUMBER_WORDS.get(word)
    return "#" + number if number else word[:STEM_LENGTH]


def _plain_number(text: str) -> str:
    """`1,000.50` as `1000.5`: one spelling a value."""
    text = text.replace(",", "")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.lstrip("0") or "0"


def normal_form(text: str) -> str:
    """NFKC, case folded, runs of white space as one space: equal forms are the same text to a reader."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_digest(text: str) -> bytes:
    """16 bytes by which a text is known in caches and verdicts."""
    return hashlib.sha256(text.encode()).digest()[:16]


def shared_marks(first: str, second: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Places (start, end) in each text of the terms that stand in both."""
    both = list(tokens(first)), list(tokens(second))
    common = {token.term for token in both[0]} & {token.term for token in both[1]}
    return tuple([(t.start, t.end) for t in found if t.term in common] for found in both)


def shared_spans(first: str, second: str, shortest: int = 3, at_most: int = 5) -> list[str]:
    """The longest runs of at least `shortest` words that stand in both texts, as the first has them.

    Looks at the first 400 words of each, since the search is quadratic.
    """
    from difflib import SequenceMatcher

    a, b = list(tokens(first))[:400], list(tokens(second))[:400]
    matcher = SequenceMatcher(None, [t.term for t in a], [t.term for t in b], autojunk=False)
    blocks = sorted((m for m in matcher.get_matching_blocks() if m.size >= shortest), key=lambda m: (-m.size, m.a))
    return [first[a[m.a].start : a[m.a + m.size - 1].end] for m in blocks[:at_most]]


def shared_numbers(first: str, second: str) -> list[str]:
    """Numbers that stand in both texts, as often as in both."""
    both = terms(first) & terms(second)
    return sorted(term[1:] for term in both.elements() if term.startswith("#"))
