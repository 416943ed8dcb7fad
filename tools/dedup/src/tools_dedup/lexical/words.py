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
from functools import cache, lru_cache

from tools_dedup.lexical.foreign_numbers import foreign_numbers, has_decimal_comma, languages_of
from tools_dedup.lexical.spelt import (
    CJK_NUMERALS,
    COMPOUND,
    NUMBER_WORDS,
    cjk,
    fraction,
    join,
    mixed,
    plain,
    sign_value,
    written,
)

_MARKS = "".join(
    chr(code)
    for code in (*range(0x300, 0x3100), *range(0xA66F, 0xAC00), *range(0xFE00, 0xFE30))
    if unicodedata.category(chr(code))[0] == "M"
)
_SIGNS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af"  # no spaces there: a sign is a word
_NO_BLANKS = r"\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer: a syllable is a word
_SYLLABLE = (
    rf"[\u0e40-\u0e44\u0ec0-\u0ec4]?(?:(?![\u0e40-\u0e44\u0ec0-\u0ec4])[^\W\d_](?=[{_NO_BLANKS}{_MARKS}]|)"
    rf"(?<=[{_NO_BLANKS}]))(?:[\u1039\u17d2][^\W\d_]|[{_MARKS}\u0e30-\u0e33\u0e45\u0eb0-\u0eb3])*"
)
_OTHER_LETTER = rf"[^\W\x00-\x7f]|[{_MARKS}]"
_DIGITS = r"\d{1,3}(?:[, '\u2019\u00a0\u2009\u202f]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:,\d{3})*(?:\.\d+)?"
_PIECE = (
    r"(?m:^)\d{1,3}\. "  # the number of a step, which is the only piece that ends with a blank
    rf"|{_DIGITS}"
    rf"|[{CJK_NUMERALS}]+"
    rf"|[{_SIGNS}]"
    r"|[\u00bc-\u00be\u2150-\u215e]|[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+"
    rf"|{_SYLLABLE}"
    rf"|[A-Z]?+[a-z]++(?!{_OTHER_LETTER})|[A-Z]++(?![a-z]|{_OTHER_LETTER})|[A-Z]+(?=[A-Z][a-z])"  # of a camelCase name
    rf"|[^\W\d_{_SIGNS}{_NO_BLANKS}\u00bc-\u00be\u2150-\u215e\u00b9\u00b2\u00b3\u2070-\u2079]"
    rf"(?:[^\W\d_{_SIGNS}{_NO_BLANKS}\u00bc-\u00be\u2150-\u215e\u00b9\u00b2\u00b3\u2070-\u2079]|[{_MARKS}])*"
)
_ASCII_PIECE = re.compile(rf"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|(?m:^)\d{{1,3}}\. |{_DIGITS}")
"""The same for ASCII, three times as fast."""
_FRACTIONS = (
    r"\\[dtc]?frac ?(?:\{\d++\}|\d)(?:\{\d++\}|\d)|(?<![\d/])(?:\d++ )?\d++[/\u2044]\d++(?![/\d])"
    r"|\d{1,9}[\u00bc-\u00be\u2150-\u215e]"
)
_ASCII_WITH_FRACTIONS = re.compile(rf"{_FRACTIONS}|{_ASCII_PIECE.pattern}")
_DIVIDED = re.compile(r"\d/\d|\\[dtc]?frac")
_GROUPED_DIGITS = r"\d{1,3}(?:[. '\u2019\u00a0\u2009\u202f]\d{3})+(?!\d)(?:,\d+)?|\d++(?:,\d+)?"
STEM_LENGTH = 5
_SIGN_WORD = re.compile(rf"[{_SIGNS}{_NO_BLANKS}]")


@cache
def _with_fractions(foreign: bool) -> re.Pattern[str]:
    """The pattern of pieces and fractions, with the digits of a language that groups by points or not."""
    return re.compile(f"{_FRACTIONS}|{_PIECE.replace(_DIGITS, _GROUPED_DIGITS) if foreign else _PIECE}")


def is_sign_word(sign: str) -> bool:
    """Whether a sign of a script without blanks is a word of its own."""
    return _SIGN_WORD.match(sign) is not None


@dataclass(frozen=True, slots=True)
class Token:
    """A word or number with its place in the text; `term` is what is compared: a stem, or `#` and a number."""

    term: str
    start: int
    end: int


def tokens(text: str, by_language: bool = True) -> Iterator[Token]:
    """Words as stems (their first five letters, the stemmer that needs no language) and numbers as `#72`.

    A number is its value, however it is spelt (see `spelt`), for rewordings write "3" for "three". Not `by_language`,
    1.250 is read as in English whatever stands around it, and only English words are numbers.
    """
    for piece, start, end in _places(text, by_language):
        term = term_of(piece)
        if term is not None:
            yield Token(term, start, end)


def terms(text: str) -> Counter[str]:
    """The multiset of a text's terms."""
    return Counter(term for piece in pieces(text) if (term := term_of(piece)) is not None)


def pieces(text: str) -> list[str]:
    """The words and numbers of a text as it writes them, numbers of several words as `#72`; for `term_of`, which gives
    the same for the same piece."""
    if not text.isascii():
        return [piece for piece, _, _ in _places(text)]
    found = _ASCII_PIECE.findall(text)
    if languages_of(found):
        return [piece for piece, _, _ in _places(text)]
    if _is_simple(text, found):
        return found
    if _DIVIDED.search(text):
        found = [value for piece in _ASCII_WITH_FRACTIONS.findall(text) for value in _ascii_values(piece)]
    result, done = [], 0
    for first, stop, value in join(found):
        result += found[done:first]
        result.append(value)
        done = stop
    return result + found[done:]


def _ascii_values(piece: str) -> list[str]:
    """A fraction's value, or the two numbers of a division; any other piece as it is."""
    return fraction(piece) if piece[0] == "\\" or ("/" in piece and piece[-1] != " ") else [piece]


def _is_simple(text: str, found: list[str]) -> bool:
    """Whether each number of an ASCII text in English is one piece."""
    return "/" not in text and "frac" not in text and COMPOUND.isdisjoint(found)


def is_of_a_language(text: str) -> bool:
    """Whether words of a language that is not English change how the text's numbers are read."""
    return bool(languages_of(_WORD.findall(text)))


_WORD = re.compile(r"[^\W\d_]+")


def _places(text: str, by_language: bool = True) -> list[tuple[str, int, int]]:
    """The pieces and where each is."""
    plain_text = text.isascii()
    if plain_text:
        found = [(match[0], match.start(), match.end()) for match in _ASCII_PIECE.finditer(text)]
        names = [piece for piece, _, _ in found]
        if _is_simple(text, names) and not (by_language and languages_of(names)):
            return found
    matches = list((_ASCII_WITH_FRACTIONS if plain_text else _with_fractions(False)).finditer(text))
    names = [match[0] for match in matches]
    languages = languages_of(names) if by_language else []
    foreign = has_decimal_comma(names, languages)
    split = [
        part
        for match in (_with_fractions(True).finditer(text) if foreign else matches)
        for part in _values(match, foreign)
    ]
    if languages:
        made = foreign_numbers([piece for piece, _, _ in split], languages)
        split = _replaced(split, ((first, stop, written(value)) for first, stop, value in made))
    return _replaced(split, join([piece for piece, _, _ in split]))


Placed = tuple[str, int, int]


def _replaced(split: list[Placed], numbers: Iterator[tuple[int, int, str]]) -> list[Placed]:
    """The pieces with each number (from, to, value) in the place of the pieces that make it."""
    result, done = [], 0
    for first, stop, value in numbers:
        result += split[done:first]
        result.append((value, split[first][1], split[stop - 1][2]))
        done = stop
    return result + split[done:]


def _values(match: re.Match[str], foreign: bool) -> list[tuple[str, int, int]]:
    piece, start, end = match[0], match.start(), match.end()
    if piece[-1] == " ":
        return [(piece, start, end)]
    if "/" in piece or "\u2044" in piece or piece[0] == "\\":
        return [(value, start, end) for value in fraction(piece.replace("\u2044", "/"))]
    if piece[0].isdecimal() and not piece[-1].isdecimal():
        return [(mixed(piece), start, end)]
    if foreign and piece[0].isdecimal():
        return [(plain(piece, decimal_comma=True), start, end)]
    return [(piece, start, end)]


@lru_cache(maxsize=1 << 16)
def term_of(piece: str) -> str | None:
    """What a piece is compared by; None for the number of a step, which says nothing about what the step says."""
    if piece[-1] == " ":
        return None
    if piece[0] == "#":
        return piece
    if piece[0].isdecimal():
        return plain(piece)
    if piece.isascii():
        word = piece.lower()
        number = NUMBER_WORDS.get(word)
        return "#" + number if number else word[:STEM_LENGTH]
    return _other_term(piece)


def _other_term(piece: str) -> str:
    """The same for other signs: numerals, or the first letters of a word with their marks."""
    if piece[0] in CJK_NUMERALS:
        return cjk(piece) or piece
    if piece[0] in _RAISED:
        return plain("".join(str(unicodedata.digit(sign)) for sign in piece))
    if len(piece) == 1 and (value := sign_value(piece)) and not piece.isalpha():
        return value
    word = unicodedata.normalize("NFC", piece).casefold()
    n_letters, end = 0, 0
    for end, sign in enumerate(word):
        n_letters += sign not in _MARK_SET
        if n_letters > STEM_LENGTH:
            return word[:end]
    return word


_MARK_SET = frozenset(_MARKS)
_RAISED = frozenset("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def normal_form(text: str) -> str:
    """Full width and other compatibility signs as usual ones, runs of white space as one blank: equal forms are the
    same text to a reader. Case, raised and lowered signs and fractions keep their meaning; code keeps its lines and
    their indentation.
    """
    if not text.isascii():
        parts = _KEPT_SIGNS.split(text)
        text = "".join(part if n % 2 else unicodedata.normalize("NFKC", part) for n, part in enumerate(parts))
        text = unicodedata.normalize("NFC", text)
    if _CODE.search(text):
        lines = (line.expandtabs() for line in text.strip("\n").splitlines() if line.strip())
        return "\n".join(line[: len(line) - len(line.lstrip())] + " ".join(line.split()) for line in lines)
    return " ".join(text.split())


_KEPT_SIGNS = re.compile(
    "(["
    + "".join(
        chr(code)
        for code in (*range(0xAA, 0x2500), *range(0x3000, 0x3400), *range(0xA600, 0xAC00))
        if unicodedata.decomposition(chr(code)).startswith(("<super>", "<sub>", "<fraction>"))
    )
    + "]+)"
)
_CODE = re.compile(
    r"\n[ \t]+\S.{0,200}(?:[;{}:]|\)|\]|=.{0,100})[ \t]*(?:\n|$)|\n[ \t]+(?:return|break|continue|pass|else)\b"
)
"""An indented line that ends as one of code does."""


def text_digest(text: str) -> bytes:
    """16 bytes by which a text is known in caches and verdicts."""
    return hashlib.sha256(text.encode()).digest()[:16]


Places = list[tuple[int, int]]


def marks(first: str, second: str) -> tuple[tuple[Places, Places], tuple[Places, Places]]:
    """Places (start, end) in each text of the terms that stand in both; then of what the other lacks: its numbers, and
    its words of four letters and more."""
    both = list(tokens(first)), list(tokens(second))
    terms_of = tuple({token.term for token in found} for found in both)
    shared, others = [], []
    for found, other in zip(both, terms_of[::-1], strict=True):
        shared.append([(token.start, token.end) for token in found if token.term in other])
        others.append(
            [
                (token.start, token.end)
                for token in found
                if token.term not in other and (token.term[0] == "#" or token.end - token.start > 3)
            ]
        )
    return tuple(shared), tuple(others)


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
