"""Which quantity of a sentence is its answer.

The rule, in this order: what is joined by `and`, `or` or commas is one answer (`x=2 or x=3`); what is printed in bold;
the result of a computation (`3 * 5 = 15 apples`); in a sentence that is known to hold the answer, the quantity that it
begins with (`18 dollars for 9 eggs`); mathematics before plain numbers; and of several the last one that no preposition
makes a circumstance (`15 apples out of 18`), or simply the last. What follows `because` is not read.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tools_shared.answers.numbers import OutOfBounds, parse_number
from tools_shared.answers.spans import Piece, delimited, runs
from tools_shared.blocks import Span

_LEAD_IN = re.compile(
    r"(?:[\s*_`:>=~\"'“”≈：]|\([A-E]\)|\\approx|\\text\s?\{|\\[,;: ]"
    r"|(?:is|are|was|be|equals?|to|that|therefore|thus|hence|so|simply|just|exactly|precisely|only|about|approximately"
    r"|approx|around|roughly|nearly|almost|equal|given|by|the|number|value|total|of|a|an|in total|it|we|get|have|obtain"
    r"|there|Rs|USD|EUR|ist|est|es|son|sont|sind|lautet|etwa|environ)(?![A-Za-z])[.,]?)*",
    re.IGNORECASE,
)
_CAUSE = re.compile(r"[,;]?\s*\b(?:because|since|due to|given that|assuming)\b")
_REASON = re.compile(
    r"[,;]?\s*\b(?:because|since|as (?=\d|\$|she|he|they|we|it|there)|due to|where|which|given that|assuming|not|i\.e"
    r"|that is|weil|car|porque|因为)\b"
)
_JOIN = re.compile(
    r"\s*(?:[,;]\s*)?(?:\\text\w*\s?\{\s*)?(?:and|or|und|oder|et|ou|y|o|&|和|或)(?:\s*\})?\s*|\s*[,;]\s*(?:\\\s*)?"
)
_DETERMINER = (
    r"(?:(?:the|a|an|his|her|their|its|these|those|all|each|every|about|only|first|last|other|remaining)\s+)?$"
)
_CIRCUMSTANCE = re.compile(
    r"\b(?:in|for|from|after|(?<!left )with|at|by|per|over|into|between|among|than|on|every|each|within|during|before"
    r"|if|when|radius|instead of|(?:out|half|third|quarter|percent|all|some|most|one|each|rest|remaining|\d+) of"
    rf"|(?:after|by|before|while|from|for|of) \w{{2,20}}ing)\s+{_DETERMINER}|% of\s+{_DETERMINER}",
    re.IGNORECASE,
)
_PURPOSE = re.compile(
    rf"\bto (?!about|approximately|exactly|roughly|only|just|a|the|be)[a-z]{{2,20}}\s+{_DETERMINER}", re.IGNORECASE
)
_COPULA = re.compile(r"\b(?:is|are|was|equals?|be)\s+(?:about\s+|approximately\s+|only\s+)?[*$\\(]*$")
_CONDITION = re.compile(
    r"\s*(?:if|when|since|because|given|for|with|in|after|on|at|from|while|as|out of)\b[^,\n]{1,120},\s", re.IGNORECASE
)
_LABEL = re.compile(
    r"\b(?:step|problem|question|part|case|equation|eq|figure|fig|example|option|exercise|method|section|chapter|line"
    r"|page|level|version|note|confidence|theorem|lemma|schritt|étape|paso|jan\w*|feb\w*|mar(?:ch)?|apr(?:il)?|may|june?"
    r"|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?:?\s*[#(]?\s*$",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"(?:st|nd|rd|th)\b|\s*-?\s*(?:decimal|significant|sig\b|d\.p|steps?\b|digits?\b"
    r"|(?:january|february|march|april|june|july|august|september|october|november|december)\b)",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}")
_UNIT = re.compile(r"[A-Za-z]{1,3}(?:\^?\{?-?[0-9]\}?|[²³])?(?:[/·*][A-Za-z]{1,3}(?:\^?\{?-?[0-9]\}?|[²³])?)*")
_SUFFIX = re.compile(r"\s?(?:hundred|thousand|million|billion|trillion|percent|per cent)\b", re.IGNORECASE)
_SUBSCRIPT = re.compile(r"_(?:\{[^{}]*\}|\w)")
_SYMBOL = re.compile(
    r"\d|\\(?:pi|infty|emptyset|varnothing|d?frac|sqrt|binom|cup|cap|pm|text)(?![a-z])|[π∞∅½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒√]"
    r"|[A-Za-z)}]\s*[-+*/^=<>≤≥]"
)
_ATTACHED = re.compile(r"[^\W_]*")
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
_PROSE = re.compile(r"(?:^|(?<=[\s{(*_:;,.]))[^\W\d_]{2,}(?![\w(^_=])")
_WORDS_OF_ALGEBRA = frozenset("sin cos tan cot sec csc log ln exp sqrt pi det gcd lcm max min mod".split())


@dataclass(frozen=True, slots=True)
class Found:
    """The range of an answer, and of the equation whose last side it is."""

    span: Span
    equation: Span | None = None


@dataclass(frozen=True, slots=True)
class _Item:
    """Mathematics in a sentence, or several joined: the range that is the answer, and the one that the text holds."""

    begin: int
    end: int
    outer: Span
    delimited: bool = False
    equated: bool = False
    computed: bool = False
    whole: Span | None = None


def has_prose(text: str) -> bool:
    """Whether there are words in it besides the names of functions."""
    return any(
        m[0].lower() not in _WORDS_OF_ALGEBRA and text[m.start() - 1 : m.start()] != "\\" for m in _PROSE.finditer(text)
    )


def is_number(text: str) -> bool:
    """Whether the text is one number; those too large to compute with are."""
    return _is_number(text) if len(text) <= 80 else False


def answer_in(text: str, begin: int, end: int, pieces: Sequence[Piece], marked: bool) -> Found | None:
    """The answer in a sentence, None where there is no quantity.

    `pieces` is the delimited mathematics of the text, in order. `marked`: the sentence stands where an answer belongs
    (a box, behind `####` or `the answer is`), so that what it begins with counts.
    """
    condition = None if marked else _CONDITION.match(text, begin, end)
    if condition and (found := answer_in(text, condition.end(), end, pieces, marked)):
        return found
    start = min(_LEAD_IN.match(text, begin, end).end(), end)
    items = _items(text, begin, end, pieces, marked)
    if not items:
        return None
    if reason := (_REASON if marked else _CAUSE).search(text, items[0].outer[1], end):
        items = [item for item in items if item.outer[0] < reason.start()]
    items = _joined(text, items, marked)
    chosen = _chosen(text, items, start, marked)
    return Found((chosen.begin, chosen.end), chosen.whole)


def _chosen(text: str, items: Sequence[_Item], start: int, marked: bool) -> _Item:
    bold = [item for item in items if _is_bold(text, item)]
    if len(bold) == 1:
        return bold[0]
    if marked:
        first = items[0]
        items = [i for i in items if i is first or not _in_brackets(text, first.outer[1], i.outer[0])]
        if results := [item for item in items if item.equated]:
            return results[-1]
        if first.outer[0] <= start:
            return first
    elif results := [item for item in items if item.computed]:
        later = [i for i in items if i.begin > results[-1].end and _COPULA.search(text, i.outer[0] - 24, i.outer[0])]
        return (later or results)[-1]
    best = min(_distance(text, item) for item in items)
    free = [item for item in items if _distance(text, item) == best]
    if best == 1:
        return free[0]
    return ([item for item in free if item.delimited] or free)[-1]


def _distance(text: str, item: _Item) -> int:
    """How far an item is from what the sentence says: 0 for a free one, 1 for a purpose (`to earn $480`), 2 for a
    circumstance (`in 5 days`)."""
    place = max(0, item.outer[0] - 40), item.outer[0]
    return 2 if _CIRCUMSTANCE.search(text, *place) else int(_PURPOSE.search(text, *place) is not None)


def _items(text: str, begin: int, end: int, pieces: Sequence[Piece], marked: bool) -> list[_Item]:
    """What has a value in the sentence, in order."""
    found: list[_Item] = []
    at = begin
    first = bisect_left(pieces, begin, key=lambda piece: piece.outer[1])
    inside = []
    for piece in pieces[first:]:
        if piece.outer[0] >= end:
            break
        if piece.outer[1] <= end and piece.outer[0] >= at:
            inside.append(piece)
    for piece in [*inside, None]:
        edge = piece.outer[0] if piece else end
        for run in runs(text, at, edge):
            _add(text, found, run, begin, marked)
        if piece:
            _add(text, found, piece, begin, marked)
            at = piece.outer[1]
    return found


def _add(text: str, found: list[_Item], piece: Piece, begin: int, marked: bool) -> None:
    content = text[piece.begin : piece.end]
    if _NAME.fullmatch(content) if piece.delimited else not _SYMBOL.search(_SUBSCRIPT.sub("", content)):
        return
    outer = piece.outer
    if not piece.delimited:
        if found and _UNIT.fullmatch(content) and not text[found[-1].outer[1] : piece.begin].strip():
            return
        if _is_no_quantity(text, piece, begin, marked):
            return
        if suffix := _SUFFIX.match(text, piece.end):
            outer = (outer[0], suffix.end())
    inner = outer if not piece.delimited else (piece.begin, piece.end)
    result = text[max(begin, outer[0] - 4) : outer[0]].rstrip(" *_$").endswith(("=", "≈"))
    last = _last_side(text, *inner)
    computed = result or (last is not None and any(map(_is_computed, _sides(text[inner[0] : last[0] - 1]))))
    found.append(
        _Item(*(last or inner), outer, piece.delimited, last is not None or computed, computed, last and inner)
    )


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


def _is_computed(side: str) -> bool:
    """Whether a side of an equation is numbers alone."""
    return any(c.isdigit() for c in side) and not _LETTER.search(_TEX_NAME.sub("", side))


def _is_no_quantity(text: str, run: Piece, begin: int, marked: bool) -> bool:
    """A number that counts or names something else: `step 3`, `2 decimal places`, `the 3rd`, a date, part of a word."""
    if text[run.end : run.end + 1].isalpha() and text[run.end - 1] not in "°%" and not _COUNTED.match(text, run.end):
        unit = _ATTACHED.match(text, run.end)[0]
        return unit.isascii() and not is_number(f"1 {unit}")
    before = text[max(begin, run.begin - 16) : run.begin]
    if _OPERAND.search(before) and "=" not in text[run.begin : run.end]:
        return True
    if marked and not before.strip(" *_:$"):
        return False
    if _LABEL.search(before) or _COUNTED.match(text, run.end):
        return True
    return not marked and _DATE.fullmatch(text, run.begin, run.end) is not None


def _joined(text: str, items: Sequence[_Item], marked: bool) -> list[_Item]:
    """Items with only `and`, `or` or a comma between them, as one; plain numbers are joined by a comma alone only where
    an answer belongs."""
    groups: list[list[_Item]] = []
    for item in items:
        last = groups[-1][-1] if groups else None
        gap = text[last.outer[1] : item.outer[0]] if last else ""
        comma = gap.strip(" \\") in (",", ";")
        if last and _JOIN.fullmatch(gap) and (not comma or marked or (last.delimited and item.delimited)):
            groups[-1].append(item)
        else:
            groups.append([item])
    return [
        group[0]
        if len(group) == 1
        else _Item(group[0].outer[0], group[-1].outer[1], (group[0].outer[0], group[-1].outer[1]), group[0].delimited)
        for group in groups
    ]


def _is_bold(text: str, item: _Item) -> bool:
    """Whether the item is printed in bold, alone or with its unit."""
    before = text[max(0, item.outer[0] - 4) : item.outer[0]].rstrip(" $\\(")
    line_end = text.find("\n", item.outer[1], item.outer[1] + 60)
    after = text[item.outer[1] : line_end if line_end >= 0 else item.outer[1] + 60]
    return before.endswith(("**", "__")) and re.match(r"[^*_.!?]{0,40}[.!]?(?:\*\*|__)", after) is not None


def _in_brackets(text: str, begin: int, at: int) -> bool:
    return text.count("(", begin, at) > text.count(")", begin, at)


@lru_cache(maxsize=4096)
def _is_number(text: str) -> bool:
    try:
        return parse_number(text) is not None
    except OutOfBounds:
        return True


def reduced(content: str, offset: int = 0) -> Span | None:
    """The quantity of a block that is a sentence (`about 18`, `John has 15 apples`), as a range; None for one that is
    an answer as it is."""
    if len(content) > 500 or is_number(content) or not has_prose(content):
        return None
    found = answer_in(content, 0, len(content), delimited(content), marked=True)
    return None if found is None else (offset + found.span[0], offset + found.span[1])
