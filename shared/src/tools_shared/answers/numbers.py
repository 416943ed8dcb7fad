"""Numbers as people and models write them, read exactly as `Fraction`, never as float.

Read: `1,000`  `1{,}000`  `$72`  `72 dollars`  `72.`  `3/4`  `\\frac34`  `3 1/4`  `12%`  `3.64e5`  `2 \\times 10^5`
`x = 5`  `5 \\text{ cm}`  `90^\\circ`  `2 million`, with Unicode's minus signs, fractions and blanks.
Not read, because they are not one number: `18 or 20`, `3, 5`, `5x`, `1,00`, `52_8`.

An exponent beyond MAX_EXPONENT or a text beyond MAX_LENGTH is refused before anything is computed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tools_shared.answers.clean import clean

MAX_LENGTH = 1000
MAX_EXPONENT = 1000
MAX_UNIT = 80

_SIMPLE = re.compile(r"\$?(-?[0-9]{1,18})(?:\.0{1,9})?")
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)"
_NUMBER = re.compile(
    rf"""
    (?P<sign>[-+]?)\s?(?P<currency>US\$|[$€£¥₹])?\s?(?P<inner_sign>[-+]?)\s?
    (?:
      (?:(?P<whole>{_DIGITS})\s?)?\\frac\s?(?:\{{\s?(?P<tex_sign>-?)\s?(?P<tex_top>{_DECIMAL})\s?\}}|(?P<tex_digit>[0-9]))
          \s?(?:\{{\s?(?P<tex_bottom>{_DECIMAL})\s?\}}|(?P<tex_last>[0-9]))
    | (?:(?P<mixed>{_DIGITS})\s)?(?P<top>{_DECIMAL})\s?/\s?(?P<bottom>{_DECIMAL})
    | (?P<decimal>{_DECIMAL})
      (?:[eE](?P<exponent>[-+]?[0-9]+)(?![A-Za-z])
        |\s?(?:\\times|\\cdot|[x*])\s?10\s?\^\s?(?:\{{\s?(?P<power>[-+]?[0-9]+)\s?\}}|(?P<power_digit>[0-9]+)))?
    )""",
    re.VERBOSE,
)
_NAME = re.compile(r"(?P<name>[A-Za-z][A-Za-z _]{0,40}(?:\{?[0-9]\}?\s?)?|\\[a-z]{2,10})\s?=(?!=)\s?")
_PREAMBLE = re.compile(r"(?i:the )?(?i:final )?(?i:answer)\s?(?:(?i:is)\b|:)\s?:?\s?")
_UNIT = re.compile(r"(?:[A-Za-z'/ ()$€£¥-]|\.(?! [A-Z]))*(?:\^(?:[23]|\{[23]\}))?\s?\.?")
_WORD = re.compile(r"[A-Za-z]+")
_SCALE = re.compile(r"\s?(?P<scale>hundred|thousand|million|billion|trillion)\b", re.IGNORECASE)
_PERCENT = re.compile(r"\s?(?:%|percent\b|per cent\b|pct\b)", re.IGNORECASE)
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
# Words after a number that make it another number, or not one number.
_NOT_UNITS = frozenset(
    "or and to not no than plus minus times through sin cos tan cot sec csc log ln exp pi sqrt frac factorial "
    "squared cubed "
    "half halves third thirds quarter quarters choose mod hundred thousand million billion trillion".split()
)
# Short units, the only ones that may stand right behind the digits or have fewer than three letters.
_SHORT_UNITS = frozenset(
    "mm cm dm km mg kg ml cl dl lb lbs oz ft in mi yd hr hrs min mins sec secs ms s m g l h am pm mph kph kmh kb mb gb "
    "usd eur th st nd rd degrees degree deg".split()
)
_LITERAL = re.compile(rf"{_DECIMAL}")


class OutOfBounds(ValueError):
    """The text is a number that is too large to compute with, or divides by zero."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written. `value` is what stands before a percent sign; `name` is `x` of `x = 5`."""

    value: Fraction
    percent: bool = False
    name: str | None = None

    def same(self, other: Number) -> bool:
        """Whether both mean the same number.

        A percent sign is a unit or a division by 100, and texts do not say which: `12%` is 12 and 0.12.
        With a percent sign on both sides the numbers before it are compared.
        """
        if self.name and other.name and len(self.name) == len(other.name) == 1 and self.name != other.name:
            return False
        if self.percent == other.percent:
            return self.value == other.value
        percent, plain = (self, other) if self.percent else (other, self)
        return plain.value in (percent.value, percent.value / 100)


def parse_number(text: str) -> Number | None:
    """The one number that `text` is, or None. Raises OutOfBounds for one that is too large or divides by zero."""
    whole = simple_integer(text)
    if whole is not None:
        return Number(Fraction(whole))
    return None if len(text) > MAX_LENGTH else parse_clean(clean(text))


def simple_integer(text: str) -> int | None:
    """The quick way for what nearly every answer looks like: `18`, `$18`, `18.00`."""
    simple = _SIMPLE.fullmatch(text)
    return int(simple[1]) if simple else None


def parse_clean(text: str) -> Number | None:
    """As `parse_number`, of a text that `clean` has been through."""
    preamble = _PREAMBLE.match(text)
    start = preamble.end() if preamble else 0
    name = _NAME.match(text, start)
    match = _NUMBER.match(text, name.end() if name else start)
    if match is None:
        return None
    scale, percent, rest = _suffixes(text, match.end())
    if not _is_unit(text[rest:]):
        return None
    value = _value(match) * scale
    negative = (match["sign"] == "-") != (match["inner_sign"] == "-")
    return Number(-value if negative else value, percent, name["name"].strip() if name else None)


def literals(text: str) -> set[Fraction]:
    """The different unsigned decimal numbers that stand in the text; those too long to be read are left out."""
    return {_fraction(m[0]) for m in _LITERAL.finditer(text[:MAX_LENGTH])}


def _suffixes(text: str, end: int) -> tuple[int, bool, int]:
    """The factor of a scale word, whether a percent sign follows, and where the unit begins."""
    scale = _SCALE.match(text, end)
    if scale:
        end = scale.end()
    percent = _PERCENT.match(text, end)
    if percent:
        end = percent.end()
    return (_SCALES[scale["scale"].lower()] if scale else 1), percent is not None, end


def _value(match: re.Match[str]) -> Fraction:
    """The unsigned value of a match of _NUMBER."""
    if match["decimal"]:
        exponent = match["exponent"] or match["power"] or match["power_digit"]
        return _fraction(match["decimal"]) * _power_of_ten(exponent)
    top = _fraction(match["top"] or match["tex_top"] or match["tex_digit"])
    bottom = _fraction(match["bottom"] or match["tex_bottom"] or match["tex_last"])
    if bottom == 0:
        raise OutOfBounds("division by zero")
    whole = _fraction(match["mixed"] or match["whole"] or "0")
    return whole + (-top if match["tex_sign"] == "-" else top) / bottom


def _fraction(decimal: str) -> Fraction:
    digits = decimal.replace(",", "")
    whole, _, fraction = digits.partition(".")
    return Fraction(int(whole + fraction), 10 ** len(fraction))


def _power_of_ten(exponent: str | None) -> Fraction:
    if exponent is None:
        return Fraction(1)
    if len(exponent) > 6 or abs(int(exponent)) > MAX_EXPONENT:
        raise OutOfBounds(f"exponent {exponent[:12]}")
    return Fraction(10) ** int(exponent)


def _is_unit(rest: str) -> bool:
    """Whether what follows a number names its unit only: `dollars`, ` cm^2`, ` miles per hour`, or nothing."""
    if not rest:
        return True
    if len(rest) > MAX_UNIT or not _UNIT.fullmatch(rest):
        return False
    words = [w.lower() for w in _WORD.findall(rest)]
    if any(w in _NOT_UNITS for w in words):
        return False
    if not words:
        return rest.strip() in ("", ".", "$", "€", "£", "¥")
    if rest[0] not in " $-/":
        return words[0] in _SHORT_UNITS or len(words[0]) > 3
    return words[0] in _SHORT_UNITS or len(words[0]) > 2
