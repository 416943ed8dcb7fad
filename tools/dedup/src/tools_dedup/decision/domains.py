"""What kind of texts a rule is for: mathematics, code, or other text; and how unlike its own some texts are.

A rule's probability was measured on texts of one kind. On another it is a score like any other, and the tool says so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import median

from tools_dedup.lexical.foreign_numbers import has_decimal_comma, languages_of
from tools_dedup.lexical.words import pieces, terms

DOMAINS = ("mathematics", "code", "text")
MANY = 200
"""Texts that are looked at, evenly spread."""
MIXED = 0.2
_LEAST_NUMBERS = 2
_LEAST_STEM = 6
_CODE = re.compile(
    r"^[ \t]*(?:def \w+\(|class \w+|function\b.*\{|(?:export |async |public |private |static )+\w|#include\b"
    r"|import \w|from \w+ import|(?:let|const|var) \w+ =|(?:int|void|bool|char|double|float|fn|func|fun|sub) \w+\("
    r"|return\b.*$|.*[;{}][ \t]*$|>>> )",
    re.MULTILINE,
)
_TEX = re.compile(r"\\(?:frac|sqrt|sum|int|cdot|[a-z]+\{)|\$[^$]+\$|\w\^\w|[=<>]\s?-?[\dA-Za-z(]")
_OPTION = re.compile(r"(?:^|\s)[(]?([A-H]|[a-h]|[1-8])[).:]\s")


@lru_cache(maxsize=2 * MANY)
def domain_of(text: str) -> str:
    """One of DOMAINS, by the text's own signs."""
    if len(_CODE.findall(text)) >= 3:
        return "code"
    n_numbers = sum(n for term, n in terms(text).items() if term.startswith("#"))
    return "mathematics" if n_numbers >= _LEAST_NUMBERS or _TEX.search(text) else "text"


def domains_of(texts: Sequence[str]) -> dict[str, float]:
    """The share of each domain, largest first."""
    some = texts[:: max(1, len(texts) // MANY)]
    counts = Counter(map(domain_of, some))
    return {name: n / len(some) for name, n in counts.most_common()}


def stem_of(text: str) -> str:
    """A multiple-choice question without its options, where it is long enough to stand for itself; else the text."""
    first, expected = None, ""
    for found in _OPTION.finditer(text):
        if found[1] in "Aa1":
            first, expected = found.start(), found[1]
        elif first is not None and ord(found[1]) == ord(expected) + 1:
            expected = found[1]
            if expected in "Cc3":
                break
    if first is None or expected not in "Cc3" or first == 0:
        return text
    stem = text[:first].rstrip()
    return stem if len(pieces(stem)) >= _LEAST_STEM else text


def profile(texts: Sequence[str]) -> dict[str, float]:
    """What texts are like: median words, shares of texts with numbers, with code, and in another language than English
    (letters beyond ASCII in a tenth of the words, or function words of another language)."""
    some = texts[:: max(1, len(texts) // MANY)]
    words = [pieces(text) for text in some]
    shares = domains_of(some)
    foreign = sum(map(_is_foreign, words))
    return {
        "median_words": float(median(map(len, words))),
        "mathematics": round(shares.get("mathematics", 0.0), 4),
        "code": round(shares.get("code", 0.0), 4),
        "not_english": round(foreign / len(some), 4),
    }


def _is_foreign(words: Sequence[str]) -> bool:
    return sum(not w.isascii() for w in words) > len(words) / 10 or has_decimal_comma(words, languages_of(words))


def unlike(texts: Mapping[str, float], rule: Mapping[str, float]) -> list[str]:
    """In what the texts differ from those of a rule, in words."""
    found = []
    for name, said in (("mathematics", "with numbers"), ("code", "of code"), ("not_english", "not in English")):
        if abs(texts[name] - rule[name]) > 0.5:
            found.append(f"{100 * texts[name]:.0f} % of them are {said} (there: {100 * rule[name]:.0f} %)")
    ratio = texts["median_words"] / max(1.0, rule["median_words"])
    if not 0.25 <= ratio <= 4:
        found.append(f"their median is {texts['median_words']:.0f} words (there: {rule['median_words']:.0f})")
    return found
