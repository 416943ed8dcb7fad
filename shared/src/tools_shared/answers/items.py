"""The quantities of a sentence: its mathematics that has a value, without what counts or names something else."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tools_shared.answers.numbers import OutOfBounds, parse_number, plain_number
from tools_shared.answers.running import Found, find_numbers
from tools_shared.answers.spans import Piece, runs
from tools_shared.answers.structure import after
from tools_shared.prompts.blocks import Span

_LABEL = re.compile(
    r"\b(?:step|problem|question|part|case|equation|eq|figure|fig|example|option|exercise|method|section|chapter|line"
    r"|page|level|version|note|day|week|month|year|age|floor|grade|confidence|theorem|lemma|schritt|étape|paso|jan\w*|feb\w*|mar(?:ch)?|apr(?:il)?|may|june?"
    r"|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?:?\s*[#(]?\s*$",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"(?:st|nd|rd|th)\b|\s*-?\s*(?:decimal|significant|sig\b|d\.p|steps?\b|digits?\b"
    r"|(?:january|february|march|april|june|july|august|september|october|november|december)\b)",
    re.IGNORECASE,
)
_UNIT = re.compile(r"[A-Za-z]{1,3}(?:\^?\{?-?[0-9]\}?|[²³])?(?:[/·*][A-Za-z]{1,3}(?:\^?\{?-?[0-9]\}?|[²³])?)*")
_SUBSCRIPT = re.compile(r"_(?:\{[^{}]*\}|\w)")
_SYMBOL = re.compile(
    r"\d|\\(?:pi|infty|emptyset|varnothing|d?frac|sqrt|binom|cup|cap|pm|text)(?![a-z])|[π∞∅½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒√]"
    r"|[A-Za-z)}]\s*[-+*/^=<>≤≥]"
)
_ATTACHED = re.compile(r"[^\W_]{0,20}")
_OPERAND = re.compile(r"[A-Za-z)]\s?[+^/]\s?$")
_EQUALS = re.compile(r"(?<![<>!=\\])(?:=|≈|\\approx(?![a-z]))(?!=)")
_IMPLIES = re.compile(r"\\(?:implies|Rightarrow|Longrightarrow|therefore)(?![a-z])|⇒|→|=>")
_BRACKETED = re.compile(r"\([^()]*\)")
_SEVERAL = re.compile(r"[,;]\s|,\\|\b(?:and|or)\b")
_NAME = re.compile(
    r"\s*(?:\\(?:angle|triangle|overline|vec|mathbf|measuredangle)\s*)?\{?[A-Za-z]{1,3}'?\}?(?:_(?:\w|\{[^{}]*\}))?(?:\([a-z0-9]\))?\s*"
    r"|\s*\\(?:alpha|beta|gamma|delta|theta|phi|lambda|mu|omega|Delta)\s*"
)
_LETTER = re.compile(r"[^\W\d_]")
_TEX_NAME = re.compile(r"\\text[a-z]*\s?\{[^{}]*\}|\\[A-Za-z]+|[xX](?= ?[\d$])|(?<=\d)[gmshLl](?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class AnswerItem:
    """Mathematics in a sentence, or several joined: the range that is the answer, and the one that the text holds."""

    begin: int
    end: int
    outer: Span
    delimited: bool = False
    equated: bool = False
    computed: bool = False
    whole: Span | None = None


def is_number(text: str) -> bool:
    """Whether the text is one number; those too large to compute with are."""
    return len(text) <= 80 and (plain_number(text) is not None or _is_number(text))


def items_of(text: str, begin: int, end: int, pieces: Sequence[Piece], marked: bool) -> list[AnswerItem]:
    """What has a value in the sentence, in order."""
    found: list[AnswerItem] = []
    at = begin
    first = bisect_left(pieces, begin, key=lambda piece: piece.outer[1])
    inside = []
    for piece in pieces[first:]:
        if piece.outer[0] >= end:
            break
        if piece.outer[1] <= end and piece.outer[0] >= at:
            inside.append(piece)
    numbers = list(find_numbers(text[begin:end]))
    for own in (*inside, None):
        for run in runs(text, at, own.outer[0] if own else end):
            _add_run(text, found, run, _within(numbers, run, begin), begin, marked)
        if own:
            if not _NAME.fullmatch(text, own.begin, own.end):
                _add(text, found, own, begin)
            at = own.outer[1]
    return found


def _within(numbers: Sequence[Found], run: Piece, begin: int) -> list[Found]:
    """The numbers that a run has a part in."""
    first = bisect_right(numbers, run.begin - begin, key=lambda number: number.span[1])
    return list(itertools.takewhile(lambda number: number.span[0] < run.end - begin, numbers[first : first + 50]))


def _add_run(
    text: str, found: list[AnswerItem], run: Piece, numbers: Sequence[Found], begin: int, marked: bool
) -> None:
    """Add a run of prose where it has a value, with all of a number that is longer: `minus 15`, `2 million`."""
    content = text[run.begin : run.end]
    if not _SYMBOL.search(_SUBSCRIPT.sub("", content)):
        return
    if found and _UNIT.fullmatch(content) and not text[found[-1].outer[1] : run.begin].strip():
        return
    if _is_no_quantity(text, run, begin, marked) or (not marked and {n.kind for n in numbers} == {"date"}):
        return
    spans = [number.span for number in numbers if number.number] or [(run.begin - begin, run.end - begin)]
    whole = min(run.begin, begin + spans[0][0]), max(run.end, begin + spans[-1][1])
    if not found or found[-1].outer[1] <= whole[0]:
        _add(text, found, Piece(*whole, whole), begin)


def _add(text: str, found: list[AnswerItem], piece: Piece, begin: int) -> None:
    inner = piece.begin, piece.end
    computed = text[max(begin, piece.outer[0] - 4) : piece.outer[0]].rstrip(" *_$").endswith(("=", "≈"))
    last = _last_side(text, *inner)
    if last:
        computed = computed or any(map(_is_computed, _sides(text[inner[0] : last[0] - 1])))
    equated = computed or last is not None
    found.append(AnswerItem(*(last or inner), piece.outer, piece.delimited, equated, computed, last and inner))


def _last_side(text: str, begin: int, end: int) -> Span | None:
    """What follows the last sign of equality, where that is one value. An equation in unknowns that ends in `= 0` is an
    answer as it is."""
    start = max((m.end() for m in _IMPLIES.finditer(text, begin, end)), default=begin)
    content = text[start:end]
    signs = list(_EQUALS.finditer(content))
    if not signs or "\\begin{" in content or _SEVERAL.search(_BRACKETED.sub("", content)):
        return None
    side, first = content[signs[-1].end() :], _sides(content)[0]
    value = side.strip(" \t\n&").removesuffix("\\\\").rstrip(" .,\n")
    if not value or _NAME.fullmatch(value) or value.count("{") != value.count("}"):
        return None
    if value == "0" and not _NAME.fullmatch(first) and _LETTER.search(_TEX_NAME.sub("", first)):
        return None
    at = start + signs[-1].end() + side.index(value)
    return at, at + len(value)


def _sides(equation: str) -> list[str]:
    return [side.strip(" &\n") for side in _EQUALS.split(equation)]


def names_something(equation: str) -> bool:
    """Whether the first side of an equation is a name alone, as in `x = 5`."""
    return _NAME.fullmatch(_sides(equation)[0]) is not None


def _is_computed(side: str) -> bool:
    """Whether a side of an equation is numbers alone."""
    return any(c.isdigit() for c in side) and not _LETTER.search(_TEX_NAME.sub("", side))


def _is_no_quantity(text: str, run: Piece, begin: int, marked: bool) -> bool:
    """A number that counts or names something else: `step 3`, `2 decimal places`, `the 3rd`, a date, part of a word."""
    if text[run.end : run.end + 1].isalpha() and text[run.end - 1] not in "°%" and not _COUNTED.match(text, run.end):
        unit = text[run.end : after(_ATTACHED, text, run.end)]
        return unit.isascii() and not is_number(f"1 {unit}")
    before = text[max(begin, run.begin - 16) : run.begin]
    if _OPERAND.search(before) and "=" not in text[run.begin : run.end]:
        return True
    if marked and not before.strip(" *_:$"):
        return False
    return bool(_LABEL.search(before) or _COUNTED.match(text, run.end))


@lru_cache(maxsize=4096)
def is_label(word: str) -> bool:
    """Whether a word makes the number behind it a name: `step 3`."""
    return _LABEL.search(f"{word} ") is not None


def is_counted(text: str, end: int) -> bool:
    """Whether what follows a number makes it a count of steps or digits, or a date."""
    return _COUNTED.match(text, end) is not None


@lru_cache(maxsize=4096)
def _is_number(text: str) -> bool:
    try:
        return parse_number(text) is not None
    except OutOfBounds:
        return True
