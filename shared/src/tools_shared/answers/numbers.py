"""Numbers as people and models write them, read exactly as `Fraction`, never as float.

One grammar for both uses: `parse_number` reads a text that is one number, `running.find_numbers` finds the numbers in
running text or LaTeX with their places. Read: `1,000`  `1{,}000`  `1~000`  `1 000`  `1'000`  `12,34,567`  `1.000,50`
`$72`  `72 dollars`  `72.`  `3/4`  `\\frac34`  `3 1/4`  `3½`  `12%`  `0.\\overline{3}`  `3.64e5`  `2 \\times 10^5`
`2^5`  `x = 5`  `5 \\text{ cm}`  `90^\\circ`  `2 million`  `minus 3`, with other scripts' signs and digits.

Not read, because they are not one number: `18 or 20`, `3, 5`, `5x`, `52_8`, `10:30`, `2024-01-05`, and also `2,5` and
`1,00`: what a comma means there depends on the language, and neither half of it is the number.

An exponent beyond MAX_EXPONENT or a text beyond MAX_LENGTH is refused before anything is computed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tools_shared.answers.clean import SUPERSCRIPT, THIN, VULGAR, clean
from tools_shared.answers.structure import after

MAX_LENGTH = 1000
MAX_EXPONENT = 1000
MAX_UNIT = 80
MAX_PLAIN = 18

PLAIN = r"\$?-?(?:[0-9]{1,18}|[0-9]{1,3}(?:,[0-9]{3}){1,5})(?:\.[0-9]{1,20})?"
"""What nearly every answer looks like: `18`, `-5`, `$1,234.50`. Read without the grammar, to the same value."""
_PLAIN = re.compile(r"\$?(-?)([0-9]{1,18}|[0-9]{1,3}(?:,[0-9]{3}){1,5})(?:\.([0-9]{1,20}))?")
_GROUPS = "|".join(
    rf"(?:{separator}[0-9]{{3}}){{1,40}}"
    for separator in (",", r"\{,\}", r",?\\[!,;: ]\ ?", r"\{\\,\}", rf"[\ {THIN}]", "~", "'")
)
_DIGITS = rf"""(?:[0-9]{{1,3}}(?:{_GROUPS})(?![0-9])
    | [0-9]{{1,2}}(?:,[0-9]{{2}}){{1,20}},[0-9]{{3}}(?![0-9])
    | [0-9]+)"""
_DECIMAL = rf"""(?:[0-9]{{1,3}}(?:\.[0-9]{{3}}){{1,40}},[0-9]+(?![.,]?[0-9])
    | [0-9]{{1,3}}(?:\.[0-9]{{3}}){{2,40}}(?![.,]?[0-9])
    | {_DIGITS}?\.[0-9]*\\(?:overline|bar|dot)\ ?(?:\{{[0-9]+\}}|[0-9])
    | {_DIGITS}(?:\.[0-9]+)? | \.[0-9]+)"""
_CURRENCY = r"(?:US\\?\$|\\?\$|[€£¥₹₩]|Rs\.?\ |(?:USD|EUR|GBP|INR|CAD|AUD|CHF)\ )"
_POWER = r"(?:\^\ ?(?:\{\ ?[-+]?[0-9]+\ ?\}|\(-?[0-9]+\)|-?[0-9]+)|[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)"
_TIMES = rf"(?:[\ {THIN}]?(?:\\times|\\cdot|[x*×·⋅])[\ {THIN}]?)"
NUMBER = re.compile(
    rf"""
    (?:(?P<sign>[-+]|\b(?i:minus|negative)(?=\ ))\ ?)?(?:(?P<currency>{_CURRENCY})\ ?)?(?:(?P<inner_sign>[-+])\ ?)?
    (?=[0-9.\\{VULGAR}])
    (?:
      (?:(?P<whole>{_DIGITS})[\ {THIN}]?)?
          (?:\\[dtc]?frac\ ?(?:\{{\ ?(?P<tex_sign>-)?\ ?(?P<tex_top>{_DECIMAL})\ ?\}}|(?P<tex_digit>[0-9]))
            \ ?(?:\{{\ ?(?P<tex_bottom>{_DECIMAL})\ ?\}}|(?P<tex_last>[0-9]))
          | (?P<vulgar>[{VULGAR}]))
    | (?:(?P<mixed>{_DIGITS})\ )?(?P<top>{_DECIMAL})\ ?/\ ?(?P<bottom>{_DECIMAL})
    | (?P<base>[0-9]+)\ ?(?P<base_power>{_POWER})
    | (?P<decimal>{_DECIMAL})
      (?:[eE](?P<exponent>[-+]?[0-9]+)(?![A-Za-z0-9]) | {_TIMES}10\ ?(?P<power>{_POWER}))?
    )""",
    re.VERBOSE,
)
_NAME = re.compile(r"(?P<name>[A-Za-z][A-Za-z _]{0,40}(?:\{?[0-9]\}?\s?)?|\\[a-z]{2,10})\s?=(?!=)\s?")
_PREAMBLE = re.compile(
    r"(?:(?i:the )?(?i:final )?(?i:answer)\s?(?:(?i:is)\b|:)\s?:?\s?)?"
    r"(?:(?i:about|approximately|approx\.?|roughly|around|exactly|precisely|only|just)\s|\\approx\s?|≈\s?)?"
)
_UNIT = re.compile(r"(?:[A-Za-z'/ ()$€£¥₹-]|\.(?! [A-Z]))*(?:\^(?:[23]|\{[23]\}))?\s?\.?")
_WORD = re.compile(r"[A-Za-z]+")
_SCALE = re.compile(r"[ ~]?(?P<scale>hundred|thousand|million|billion|trillion)\b", re.IGNORECASE)
_PERCENT = re.compile(rf"[ ~{THIN}]?(?:\\?%|percent\b|per cent\b|pct\b)", re.IGNORECASE)
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
# Words after a number that make it another number, or not one number.
_NOT_UNITS = frozenset(
    "or and to not no than plus minus times through sin cos tan cot sec csc log ln exp pi sqrt frac factorial "
    "squared cubed "
    "half halves third thirds quarter quarters choose mod hundred thousand million billion trillion".split()
)
# Short units, the only ones that may stand right behind the digits or have fewer than three letters.
SHORT_UNITS = frozenset(
    "mm cm dm km mg kg ml cl dl lb lbs oz ft in mi yd hr hrs min mins sec secs ms s m g l h am pm mph kph kmh kb mb gb "
    "usd eur th st nd rd degrees degree deg sq".split()
)
_LITERAL = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_NOT_GROUPING = re.compile(r"[^0-9.]")


class OutOfBounds(ValueError):
    """The text is a number that is too large to compute with, or divides by zero."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written. `value` is what precedes a percent sign; `name` is `x` of `x = 5`."""

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
    plain = plain_number(text)
    if plain is not None:
        return Number(Fraction(plain[0], 10 ** plain[1]) if plain[1] else Fraction(plain[0]))
    return None if len(text) > MAX_LENGTH else parse_clean(clean(text))


def plain_number(text: str) -> tuple[int, int] | None:
    """The quick way for PLAIN: (digits, decimals) without trailing zeros, so that equal numbers have equal pairs."""
    if len(text) <= MAX_PLAIN and text.isascii() and text.isdigit():
        return int(text), 0
    plain = _PLAIN.fullmatch(text)
    if plain is None:
        return None
    sign, whole, decimals = plain.groups()
    decimals = decimals.rstrip("0") if decimals else ""
    value = int(whole.replace(",", "") + decimals)
    return (-value if sign else value), len(decimals)


def parse_clean(text: str) -> Number | None:
    """As `parse_number`, of a text that `clean` has been through."""
    start = after(_PREAMBLE, text)
    name = _NAME.match(text, start)
    if name:
        start = after(_PREAMBLE, text, name.end())
    match = NUMBER.match(text, start)
    if match is None:
        return None
    number, end = number_of(match)
    if number is None or not _is_unit(text[end:]):
        return None
    return Number(number.value, number.percent, name["name"].strip()) if name else number


def number_of(match: re.Match[str]) -> tuple[Number | None, int]:
    """What a match of NUMBER says, with the scale word and the percent sign behind it, and where that ends."""
    scale, percent, end = _suffixes(match.string, match.end())
    value = _value(match)
    return (None if value is None else Number(value if scale == 1 else value * scale, percent)), end


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


def _value(match: re.Match[str]) -> Fraction | None:
    """The value of a match of NUMBER with its signs; None for a power that is too large to be written out."""
    value = _unsigned(match)
    negative = ((match["sign"] or "+") not in "+") != (match["inner_sign"] == "-")
    return -value if negative and value is not None else value


def _unsigned(match: re.Match[str]) -> Fraction | None:
    if match["decimal"]:
        power = match["exponent"] or match["power"]
        value = _fraction(match["decimal"])
        return value if power is None else value * _power_of_ten(_exponent(power))
    if match["base"]:
        return _small_power(match["base"], _exponent(match["base_power"]))
    whole = _fraction(match["mixed"] or match["whole"] or "0")
    if match["vulgar"]:
        return whole + _VULGARS[match["vulgar"]]
    top = _fraction(match["top"] or match["tex_top"] or match["tex_digit"])
    bottom = _fraction(match["bottom"] or match["tex_bottom"] or match["tex_last"])
    if bottom == 0:
        raise OutOfBounds("division by zero")
    return whole + (-top if match["tex_sign"] else top) / bottom


def _fraction(decimal: str) -> Fraction:
    """The value of digits with their grouping, decimals and repeating decimals; a comma behind a point is a decimal
    comma (`1.000,50`), and several points group (`1.000.000`)."""
    if decimal.isdigit():
        return Fraction(int(decimal))
    if "\\" in decimal and not decimal.endswith(tuple("0123456789")):
        head, _, period = decimal.rpartition("{")
    elif "\\overline" in decimal or "\\bar" in decimal or "\\dot" in decimal:
        head, period = decimal[:-1], decimal[-1]
    else:
        head, period = decimal, ""
    if "," in head and 0 <= head.find(".") < head.rfind(","):
        head = head.replace(".", "").replace(",", ".")
    elif head.count(".") > 1:
        head = head.replace(".", "")
    whole, _, fraction = _NOT_GROUPING.sub("", head).partition(".")
    value = Fraction(int(whole + fraction or "0"), 10 ** len(fraction))
    period = period.removesuffix("}")
    if period:
        value += Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(fraction))
    return value


_VULGARS = {c: Fraction(clean(c)) for c in VULGAR}


def _exponent(written: str) -> str:
    return written.translate(SUPERSCRIPT).strip("^{}() ")


def _power_of_ten(exponent: str) -> Fraction:
    if len(exponent) > 6 or abs(int(exponent)) > MAX_EXPONENT:
        raise OutOfBounds(f"exponent {exponent[:12]}")
    return Fraction(10) ** int(exponent)


def _small_power(base: str, exponent: str) -> Fraction | None:
    """The power, where its digits are at most MAX_EXPONENT; 0 to a negative power divides by zero."""
    if len(exponent) > 6 or len(base) * abs(int(exponent)) > MAX_EXPONENT:
        return None
    if int(base) == 0 and int(exponent) <= 0:
        raise OutOfBounds("division by zero")
    return Fraction(int(base)) ** int(exponent)


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
        return rest.strip() in ("", ".", "$", "€", "£", "¥", "₹")
    if rest[0] not in " $-/":
        return words[0] in SHORT_UNITS or len(words[0]) > 3
    return words[0] in SHORT_UNITS or words[0] == "of" or len(words[0]) > 2
