"""The pieces of a text that are mathematics: what is delimited (`$..$`, `\\(..\\)`, `\\[..\\]`, environments), and in
plain prose each run of signs, digits and single letters, whole: `10^6`, `[-2, 10]`, `3 1/2`, `x = 5`.

A run knows no grammar of numbers; whether it is one, `numbers` says. It is never cut, so no digit of a date, an
exponent or a matrix is taken for an answer. Every pattern is a single pass over the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tools_shared.prompts.blocks import Span

MAX_SPAN = 1500

_DELIMITER = re.compile(
    r"\\\(|\\\)|\\\[|\\\]|\\(?P<edge>begin|end)\{(?:equation|align|gather|multline|eqnarray|displaymath|math)\*?\}"
    r"|\\.|\$\$?|\n[ \t]*\n",
    re.DOTALL,
)
_CLOSED_BY = {"\\(": "\\)", "\\[": "\\]", "$$": "$$", "$": "$"}
_PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}\s+[A-Za-z]{2,}")
_BLANK = " \t\u00a0\u202f\u2009"
_TOKEN = re.compile(
    rf"""
    (?P<break>\\(?:text[a-z]*|mathrm|mathbf|mbox|operatorname)\s?\{{)
  | (?<![A-Za-z\\])(?P<function>(?:sqrt|pi|sin|cos|tan|log|ln|exp)(?![A-Za-z]))
  | (?P<word>[^\W\d_]{{2,}}(?:['’-][^\W\d_]+)*(?:(?:\^\{{?-?[0-9]\}}?|[0-9²³])(?![0-9.,]))?|[^\W\d_]['’][^\W\d_]+)
  | (?P<begin>\\begin\{{[a-z]+\*?\}}) | (?P<end>\\end\{{[a-z]+\*?\}})
  | (?P<command>\\[A-Za-z]+|\\[^\s\w()\[\]{{}}])
  | (?P<digit>\d{{1,3}}(?:[{_BLANK[0]}{_BLANK[2:]}'’]\d{{3}})+(?!\d)|\d+(?:[.,]\d+)*|[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒∞π∅])
  | (?P<letter>[^\W\d_])
  | (?P<open>\\\{{|[(\[{{]) | (?P<close>\\\}}|[)\]}}])
  | (?P<ratio>(?<=\d)\ :\ (?=\d))
  | (?P<point>(?<![^\W\d_])[.:](?=\d))
  | (?P<sign>[-+*/^_=<>≤≥≈±×÷·−–∈∪∩√%°!~²³]|[$€£¥₹])
  | (?P<blank>[{_BLANK}]+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPERATORS = "=+*/<>≤≥^×·÷≈∈"
_LEADING = "=≈~:*/^_<>,;.+°!)]}≤≥×·÷ \t"
_TRAILING = "=≈~:*/^_<>,;.+-−–([{≤≥×·÷± \t"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of mathematics: its content's range, the range with delimiters around it, whether it is delimited."""

    begin: int
    end: int
    outer: Span
    delimited: bool = False


def delimited(text: str, start: int = 0) -> list[Piece]:
    """Mathematics between delimiters, in order. A `$` before an amount of money opens nothing."""
    found: list[Piece] = []
    opened: re.Match[str] | None = None
    for match in _DELIMITER.finditer(text, start):
        sign = match[0]
        if opened is not None and _closes(text, opened, match):
            if text[opened.end() : match.start()].strip() and match.start() - opened.end() <= MAX_SPAN:
                found.append(Piece(opened.end(), match.start(), (opened.start(), match.end()), True))
            opened = None
        elif sign in _CLOSED_BY or match["edge"] == "begin":
            if opened is None or opened[0] in ("$", sign):
                opened = match if sign != "$" or text[match.end() : match.end() + 1].strip() else None
        elif opened is not None and opened[0] == "$" and sign[0] == "\n":
            opened = None
    return found


def runs(text: str, begin: int, end: int) -> Iterator[Piece]:
    """The runs of mathematics in prose, in order, without blanks and punctuation around them."""
    run = _Run()
    for match in _TOKEN.finditer(text, begin, end):
        kind = match.lastgroup or ""
        if kind == "blank":
            run.blank = True
            continue
        if run.joins(text, match, kind, end):
            if run.first >= 0 and run.parts(text, match, kind):
                yield from _trimmed(text, run.first, run.last, begin)
                run = _Run()
            run.add(match, kind)
        else:
            if run.first >= 0:
                yield from _trimmed(text, run.first, run.last, begin)
            run = _Run()
    if run.first >= 0:
        yield from _trimmed(text, run.first, run.last, begin)


class _Run:
    """The run that is being read: where it began and last went on, how deep its brackets are."""

    def __init__(self) -> None:
        self.first = self.last = -1
        self.depth = 0
        self.blank = self.algebra = False
        self.kind = ""

    def joins(self, text: str, match: re.Match[str], kind: str, end: int) -> bool:
        if kind == "letter":
            return match[0] < "\u0500" and _is_variable(text, match, end)
        if kind in ("close", "end"):
            return self.depth > 0
        if kind == "other":
            return self.depth > 0 and match[0] in ",;&|\n.:"
        return kind not in ("word", "break")

    def parts(self, text: str, match: re.Match[str], kind: str) -> bool:
        """Whether a blank before this token ends the run: nothing joins what is on both sides of it."""
        if not self.blank or self.depth or kind in ("sign", "ratio", "close", "end"):
            return False
        if self.kind in ("sign", "ratio", "command", "function", "begin") and text[self.last - 1] not in "%°!²³":
            return False
        if (
            kind in ("command", "function", "begin")
            or (self.algebra and self.kind != "close")
            or (kind == "letter" and _is_times(text, match))
        ):
            return False
        mixed = kind == "digit" and (
            match[0][0] in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒" or text[match.end() : match.end() + 1] in ("/", "⁄")
        )
        return not (mixed and self.kind == "digit")

    def add(self, match: re.Match[str], kind: str) -> None:
        if self.first < 0:
            self.first = match.start()
        self.depth += (kind in ("open", "begin")) - (kind in ("close", "end"))
        self.algebra |= kind == "letter"
        self.last, self.blank, self.kind = match.end(), False, kind


def _is_variable(text: str, match: re.Match[str], end: int) -> bool:
    """Whether a single letter is mathematics and not the word `a` or `I`: a sign or a digit is beside it."""
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : min(end, match.end() + 1)]
    if (before and before in "0123456789({[^_=+-*/$\\}") or (after and after in "^_(=+*/<>)'0123456789"):
        return True
    left, right = _beside(text, match)
    if right == "\\" and match[0] not in "aAI":
        return True
    return _is_times(text, match) or bool(left and left in _OPERATORS) or bool(right and right in _OPERATORS)


def _is_times(text: str, match: re.Match[str]) -> bool:
    """Whether the letter means a sign of multiplication: `3 x 5`."""
    left, right = _beside(text, match)
    return match[0] in "xX" and left.isdigit() and (right.isdigit() or right == "$")


def _beside(text: str, match: re.Match[str]) -> tuple[str, str]:
    """The characters on both sides, over blanks; empty at an end."""
    left = text[max(0, match.start() - 4) : match.start()].rstrip(_BLANK)[-1:]
    return left, text[match.end() : match.end() + 4].lstrip(_BLANK)[:1]


def _closes(text: str, opened: re.Match[str], match: re.Match[str]) -> bool:
    if opened["edge"]:
        return match["edge"] == "end"
    if _CLOSED_BY[opened[0]] != match[0]:
        return False
    if match[0] != "$":
        return True
    begin, end = opened.end(), match.start()
    after = text[match.end() : match.end() + 1]
    if begin == end or text[end - 1].isspace() or after.isdigit() or "\n" in text[begin:end]:
        return False
    return not _PROSE.search(text, begin, end)


def _trimmed(text: str, begin: int, end: int, edge: int) -> Iterator[Piece]:
    """The range without what joins it to nothing: blanks, operators, brackets without their other half."""
    if text[begin] in "^_":  # the exponent of a unit: `cm^2`
        return
    before = None
    while (begin, end) != before and begin < end:
        before = (begin, end)
        while begin < end and text[begin] in _LEADING and not _is_decimal_point(text, begin):
            begin += 1
        while begin < end and text[end - 1] in _TRAILING:
            end -= 1
        if begin < end and text[begin] in "([{" and not _closes_at(text, begin, end):
            begin += 1
        if begin < end and text[begin] in "-–−" and text[begin + 1] in _BLANK and not _is_signed(text, begin, edge):
            begin += 1
        if begin < end and text[end - 1] == "!" and not any(c in "/*+-=^(\\" for c in text[begin:end]):
            end -= 1
    if any(c.isalnum() or c in "\\∞π∅½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒" for c in text[begin:end]) and end - begin <= MAX_SPAN:
        yield Piece(begin, end, (begin, end))


def _is_decimal_point(text: str, at: int) -> bool:
    return text[at] == "." and text[at + 1 : at + 2].isdigit()


def _closes_at(text: str, begin: int, end: int) -> bool:
    """Whether the bracket at `begin` is closed before `end`, by whichever kind: `[2, 3)` is an interval."""
    return any(c in ")]}" for c in text[begin + 1 : end])


def _is_signed(text: str, at: int, edge: int) -> bool:
    """Whether a minus sign with a blank behind it is a sign and not a dash: `is - 3`."""
    word = text[max(edge, at - 12) : at].rstrip(_BLANK)
    return text[at] != "–" and word.endswith(("is", "equals", "be", "was", "are", "="))
