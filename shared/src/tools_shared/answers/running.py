"""The numbers of running text or LaTeX, with their places, read by the grammar of `numbers`.

`number` means a number that is alone. What else has digits is found too, under a kind of its own, so that a caller
knows what it passes over: `index` (`cm^2`, `m2`, `x_1`, `COVID-19`), `expression` (an operand: `3 + 4`, `2x`,
`\\sqrt{3}`, `x < 3`), `date`, `time` (and ratios), `range` (`10-15`), `group` (a pair, an interval, a set, a matrix),
and `unclear` (`2,5`, `1.2.3`: neither half of it is the number).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tools_shared.answers.clean import VULGAR, fold
from tools_shared.answers.numbers import MAX_LENGTH, NUMBER, SHORT_UNITS, Number, OutOfBounds, number_of

_LOOK = 32
"""Characters before and after a number that decide what it is."""


_PREFIX = 20
"""Characters that a sign, a currency and a decimal point before the digits of a number have at most."""


@dataclass(frozen=True, slots=True)
class Found:
    """What has digits at the half-open range `span`. `number` is not None exactly where `kind` is `number`; then
    `parse_number(text[start:end])` is equal to it."""

    span: tuple[int, int]
    kind: str
    number: Number | None = None


_DIGIT = re.compile(rf"[0-9\\{VULGAR}]")
_GLUED = re.compile(r"(?:\{,\}|[.,:/'-])?[0-9](?:[0-9.,:/'-]*[0-9])?")
_DATE = re.compile(r"[0-9]{1,4}([-/.])[0-9]{1,2}\1[0-9]{1,4}")
_TIME = re.compile(r"[0-9]+(?::[0-9]+)+")
_RANGE = re.compile(r"\$?[0-9.,]+-\$?[0-9.,]+")
_WORD = re.compile(r"[^\W\d_]+")

_INDEX_BEFORE = re.compile(r"(?:[^\W_]|[_^]\ ?(?:\{\ ?-?)?|[^\W\d_]-)$", re.VERBOSE)
_OPERATOR = r"""[+×÷·⋅≤≥±√∛/] | \\(?:times|cdot|div|pm|mp|leq?|geq?|lt|gt|neq?|bmod|mod|cup|cap|setminus)(?![a-z])"""
_OPERAND_BEFORE = re.compile(
    rf"""(?: {_OPERATOR} | (?<!<)<=? | (?<![<\w/])[\w)]\ ?>=? | \ >=? | [0-9]\ : | \}}\ ?\{{
        | [\w)\]}}]\*{{1,2}} | (?:[0-9)\]}}]|\b[a-z])\ \*{{1,2}}\  | [0-9)}}]\ ?x | [)\]}}]
        | \\(?:sin|cos|tan|cot|sec|csc|log|ln|exp|pmod|lim|sqrt|pi|over|arcsin|arccos|arctan)
        | \\(?!boxed|fbox|text|math|left|begin)[a-zA-Z]+\ ?(?:\[[^\[\]]{{0,9}}\]|\{{[^{{}}]{{0,20}}\}})?\ ?\{{
        | [0-9)}}]\ (?:plus|minus|times|divided\ by|over|mod|to)
      )\ ?$""",
    re.VERBOSE,
)
_OPERAND_AFTER = re.compile(
    rf"""\ :\ [0-9] | \ ?(?:{_OPERATOR} | >(?!>) | <(?!<|/|[A-Za-z_]+>)) (?!\ ?[A-Za-z]{{3}})
    | \*{{1,2}}[0-9A-Za-z(\\] | \ \*{{1,2}}\ (?:[0-9(\\]|[a-z]\b) | \ ?x\ ?[0-9] | [(π∞{{\[]
    | \^(?!\ ?(?:\\circ|\{{\ ?\\circ)) | _[0-9A-Za-z{{] | ⁿ
    | -\$?[0-9A-Za-z(\\](?![A-Za-z]) | \ -\ ?\$?[0-9(\\] | \ -\ [a-z](?![a-z])
    | !(?=[$\\)}}+*/=^-]|\ [+*/=])
    | \ ?\\(?:sqrt|pi|sin|cos|tan|cot|sec|csc|log|ln|[dtc]?frac|d?binom|infty|alpha|beta|theta|pmod|over|mathbf|vec
        |left\ ?\()(?![a-z])
    | \ (?:plus|minus|times|divided\ by|over|mod|to)\ \$?-?[0-9]""",
    re.VERBOSE,
)
_BINARY = re.compile(r"(?:[0-9)\]}%π]|(?<![A-Za-z])(?![aAI])[A-Za-z]|\\[a-zA-Z]+)\ ?\$?\ ?$", re.VERBOSE)
_LEADS_TO_SIGN = re.compile(r"(?:\b(?:is|are|was|be|equals|gives|get|gets|of|to|at|as|by)|[=:(\[,{≈$])\ ?$", re.VERBOSE)
_GROUP = re.compile(r"(?:\\left ?)?(?:[\[(]|\\\{)([^\[\](){}\n]{1,160})(?:\\right ?)?(?:[\])]|\\\})")
_MATRIX = re.compile(r"\\begin\{[a-z]*(?:matrix|array|cases)\*?\}")
_NAME = re.compile(r"\\[a-zA-Z]+")


def find_numbers(text: str, start: int = 0) -> Iterator[Found]:
    """Everything with digits that begins at or after `start`, from left to right, without overlaps; what precedes
    `start` is not looked at. In time linear in the length of the text."""
    for found in _find(text[start:]) if start else _find(text):
        first, end = found.span
        yield Found((first + start, end + start), found.kind, found.number) if start else found


def _find(text: str) -> Iterator[Found]:
    folded = fold(text)
    groups = _groups(folded)
    group = next(groups, None)
    at = 0
    while match := _next_number(folded, at):
        found = _found(text, folded, match)
        while group and group[1] <= found.span[0]:
            group = next(groups, None)
        if group and group[0] <= found.span[0]:
            found = Found(found.span, "group")
        yield found
        at = max(found.span[1], match.end())


def _next_number(text: str, at: int) -> re.Match[str] | None:
    """The next match of NUMBER, which is not tried where no digits, commands or fractions are near."""
    digit = _DIGIT.search(text, at)
    return NUMBER.search(text, max(at, digit.start() - _PREFIX)) if digit else None


def _found(text: str, folded: str, match: re.Match[str]) -> Found:
    start, end = match.span()
    number = None
    if end - start <= MAX_LENGTH:
        with contextlib.suppress(OutOfBounds):
            number, end = number_of(match)
    glued = _GLUED.match(folded, end)
    if glued:
        return Found((start, glued.end()), _kind_of_run(folded[match.start() : glued.end()].lstrip("+- $")))
    before, after = folded[max(0, start - _LOOK) : start], folded[end : end + _LOOK]
    signed = _sign(text, match, before)
    if signed is None:
        return Found((start, end), "index" if _INDEX_BEFORE.search(before[-8:]) else "expression")
    if not signed:  # a dash or a bullet, not a sign
        start = match.start("currency") if match["currency"] else _after_sign(folded, match)
        number = Number(abs(number.value), number.percent) if number else None
        before = ""
    if _INDEX_BEFORE.search(before[-8:]) and not match["sign"]:
        return Found((start, end), "index")
    if _OPERAND_BEFORE.search(before) or _OPERAND_AFTER.match(after) or not _unit_may_follow(after) or number is None:
        return Found((start, end), "expression" if number else "unclear")
    return Found((start, end), "number", number)


def _kind_of_run(run: str) -> str:
    """What digits with marks between them are."""
    for kind, pattern in (("date", _DATE), ("time", _TIME), ("range", _RANGE)):
        if pattern.fullmatch(run):
            return kind
    return "unclear"


def _sign(text: str, match: re.Match[str], before: str) -> bool | None:
    """Whether what precedes the number is its sign, or a dash (False), or an operator between two (None)."""
    sign = match["sign"]
    if not sign:
        return True
    if _BINARY.search(before) or (before and before[-1].isalnum()):
        return None
    attached = not _blank(match.string, match.end("sign"))
    if attached or sign.isalpha() or text[match.start("sign")] == "\u2212" or _LEADS_TO_SIGN.search(before):
        return True
    return not before.strip() and "\n" not in before and match.start() > 0


def _blank(text: str, at: int) -> bool:
    return text[at : at + 1] == " "


def _after_sign(text: str, match: re.Match[str]) -> int:
    at = match.end("sign")
    while _blank(text, at):
        at += 1
    return at


def _unit_may_follow(after: str) -> bool:
    """Letters right behind the digits are a unit (`5cm`, `3rd`), not a variable (`5x`)."""
    word = _WORD.match(after)
    return word is None or word[0].lower() in SHORT_UNITS or len(word[0]) > 3


def _groups(text: str) -> Iterator[tuple[int, int]]:
    """The ranges of pairs, intervals, sets and matrices, from left to right."""
    spans = [m.span() for m in _GROUP.finditer(text) if _is_group(m[1])]
    at = 0
    while begin := _MATRIX.search(text, at):
        end = text.find("\\end{", begin.end())
        at = len(text) if end < 0 else end
        spans.append((begin.start(), at))
    return iter(sorted(spans))


def _is_group(inner: str) -> bool:
    """Whether several things are listed, and not prose in brackets."""
    if "," not in inner and ";" not in inner:
        return False
    if any(len(word) > 2 for word in _WORD.findall(_NAME.sub(" ", inner))):
        return False
    whole = NUMBER.match(inner.strip())
    return whole is None or whole.end() < len(inner.strip())
