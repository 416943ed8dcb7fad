"""Instructions about what a reply says: words, letters, lengths, language, and parts that have to be there."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sr jr vs e.g i.e no fig al inc ltd co corp approx dept est vol p pp u.s u.k a.m p.m".split()
)
_END = re.compile(r"[.!?…]+[\"')\]”’*_]*(?=\s|$)|[。！？।॥]+|؟")
_LANGUAGES = {"zh-cn": "zh", "zh-tw": "zh", "no": "nb", "iw": "he"}


def holds(n: int, wanted: int, relation: str) -> bool:
    """A count against `at least` or `less than` what is wanted."""
    return n >= wanted if relation == "at least" else n < wanted


def has_keywords(reply: str, keywords: Sequence[str]) -> bool:
    return all(word.lower() in reply.lower() for word in keywords)


def keyword_often(reply: str, keyword: str, frequency: int, relation: str) -> bool:
    return holds(reply.lower().count(keyword.strip().lower()), frequency, relation)


def without_words(reply: str, forbidden: Sequence[str]) -> bool:
    """No forbidden word as a word of its own."""
    return not any(re.search(rf"(?<!\w){re.escape(word.strip())}(?!\w)", reply, re.IGNORECASE) for word in forbidden)


def letter_often(reply: str, letter: str, frequency: int, relation: str) -> bool:
    return holds(reply.lower().count(letter.strip().lower()), frequency, relation)


def in_language(reply: str, language: str) -> bool:
    """The reply's language by py3langid, as an ISO 639-1 code."""
    return language_of(reply) == _LANGUAGES.get(language.lower(), language.lower())


def language_of(text: str) -> str:
    """The most likely language of a text; its case says nothing."""
    import py3langid

    found = py3langid.classify(text.lower())[0]
    return _LANGUAGES.get(found, found)


def sentences(reply: str, n: int, relation: str) -> bool:
    return holds(count_sentences(reply), n, relation)


def count_sentences(text: str) -> int:
    """Sentences by their closing marks, not counting those of abbreviations and initials; what follows the last mark is
    one too."""
    n, start = 0, 0
    for end in _END.finditer(text):
        before = text[start : end.start()].split()
        if end[0] == "." and before and _is_abbreviated(before) and text[end.end() :].strip():
            continue
        if _WORD.search(text, start, end.start()):
            n += 1
            start = end.end()
    return n + bool(_WORD.search(text, start))


def _is_abbreviated(before: Sequence[str]) -> bool:
    """Whether the last of the words before a full stop is an abbreviation, an initial, or the number of a list item."""
    bare = before[-1].lstrip("(\"'“‘[*_")
    is_initial = len(bare) == 1 and bare.isupper() and bare != "I"
    return bare.lower() in _ABBREVIATIONS or is_initial or (len(before) == 1 and bare.isdigit())


def paragraphs(reply: str, n: int) -> bool:
    """Exactly n paragraphs between dividers `***`; one at either end may be left empty, none in the middle."""
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", reply)]
    if len(parts) > 1 and not parts[0]:
        parts = parts[1:]
    if len(parts) > 1 and not parts[-1]:
        parts = parts[:-1]
    return all(parts) and len(parts) == n


def words(reply: str, n: int, relation: str) -> bool:
    return holds(len(re.findall(r"\w+", reply)), n, relation)


def paragraph_begins(reply: str, n: int, nth: int, first_word: str) -> bool:
    """Exactly n paragraphs, an empty line between two, of which the nth (from 1) begins with a word."""
    parts = [part.strip() for part in re.split(r"\n\s*\n", reply) if part.strip()]
    if len(parts) != n or not 1 <= nth <= n:
        return False
    first = parts[int(nth) - 1].split()[0].strip("\"'“”‘’*_().,;:!?")
    return first.lower() == first_word.strip().lower()


def placeholders(reply: str, n: int) -> bool:
    """At least n placeholders in square brackets, such as [address]."""
    return len(re.findall(r"\[[^\[\]]*\]", reply)) >= n


def postscript(reply: str, marker: str) -> bool:
    """A line that holds the marker and text after it, whatever the spaces between its letters: P.S., P. S., p.p.s"""
    letters = re.findall(r"\w", marker)
    if marker.strip().upper() not in ("P.S.", "P.P.S", "P.P.S."):
        return marker.strip().lower() in reply.lower()
    pattern = r"\.\s?".join(letters) + r"(?:\.|\b)"
    return bool(re.search(rf"(?<!\w)(?<!\w\.){pattern}[^\n]*\S", reply, re.IGNORECASE))
