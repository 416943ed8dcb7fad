"""Numbers as they are spelt, read as exact values: digits of any script, groups and fractions, and number words.

A value is written in one way: `#25` for 25, ２５, ٢٥, twenty-five and 二十五; `#0.75` for 3/4, ¾,
\\frac{3}{4}, 0.750 and three quarters; `#1500` for 1,500, 1 500 and, in a text of a language that groups so, 1.500.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from fractions import Fraction

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_UNITS += "seventeen eighteen nineteen".split()
_TENS = {w: 10 * n for n, w in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)}
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
           "hundreds": 100, "thousands": 10**3, "millions": 10**6, "dozens": 12}  # fmt: skip
_MOST_OF = {12: 100} | dict.fromkeys((100, 10**3, 10**6, 10**9, 10**12), 1)
_PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourths": 4}
_ORDINALS = {w: n for n, w in enumerate("fourth fifth sixth seventh eighth ninth tenth".split(), start=4)}
_PARTS |= {f"{w}s": n for w, n in _ORDINALS.items()}
_PLURALS = frozenset(w for w in _PARTS if w.endswith("s"))
_TIMES = {"twice": 2, "double": 2, "doubled": 2, "thrice": 3, "triple": 3, "tripled": 3}
_CARDINALS = {w: n for n, w in enumerate(_UNITS)} | _TENS
NUMBER_WORDS = {w: str(n) for w, n in (_CARDINALS | _TIMES | _SCALES).items()} | {"half": "0.5", "quarter": "0.25"}
"""What a number word is worth where it is alone; "third" is one only behind "a" or "one"."""

_COMPOUND = {*_TENS, *_SCALES, *_PARTS, *_ORDINALS}
COMPOUND = frozenset(form for w in _COMPOUND for form in (w, w.capitalize(), w.upper()))
"""Words that may be part of a longer number."""

_BEGIN = frozenset({"a", "an", "half", "quarter", *_CARDINALS, *_SCALES})
_BEHIND_DIGITS = frozenset({"a", *_SCALES, *_PLURALS})

_CJK = {sign: n for n, sign in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_CJK_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
CJK_NUMERALS = "".join([*_CJK, *_CJK_SCALES])
_FRACTION = re.compile(r"(?:(\d+) )?(\d+)/(\d+)")
_TEX = re.compile(r"\\[dtc]?frac ?(?:\{(\d+)\}|(\d))(?:\{(\d+)\}|(\d))")
_MOST_DIGITS, _LONGEST = 300, 30


def written(value: Fraction) -> str:
    """`#` and the value as a decimal where it has an end, else as a fraction."""
    if value.denominator == 1:
        return f"#{value.numerator}"
    twos = fives = 0
    rest = value.denominator
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    if rest > 1 or places > _MOST_DIGITS:
        return f"#{value.numerator}/{value.denominator}"
    digits = str(value.numerator * 10**places // value.denominator).rjust(places + 1, "0")
    return f"#{digits[:-places]}.{digits[-places:]}"


def plain(digits: str, decimal_comma: bool = False) -> str:
    """`#1000.5` for `1,000.50`, `1 000.5` or, with a decimal comma, `1.000,5`."""
    if not digits.isascii():
        digits = "".join(_ascii(sign) for sign in digits)
    if decimal_comma:
        digits = digits.replace(".", "").replace(",", ".")
    digits = digits.replace(",", "").replace(" ", "").replace("'", "")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    whole = digits.lstrip("0")
    return f"#0{whole}" if not whole or whole[0] == "." else f"#{whole}"


def _ascii(sign: str) -> str:
    if sign.isdecimal():
        return str(unicodedata.decimal(sign))
    return {"\u066b": ".", "\u066c": ",", "\u2019": ""}.get(sign, " " if sign.isspace() else sign)


def fraction(piece: str) -> list[str]:
    """The value of `3/4`, `3 1/4` or TeX's fraction; both numbers where it is rather a division, as in `48/2`."""
    if tex := _TEX.fullmatch(piece):
        whole, top, bottom = None, tex[1] or tex[2], tex[3] or tex[4]
    else:
        whole, top, bottom = _FRACTION.fullmatch(piece).groups()
    if max(map(len, (whole or "", top, bottom))) > 4 or not 0 < int(top) < int(bottom):
        return [plain(part) for part in (whole, top, bottom) if part]
    return [written(int(whole or 0) + Fraction(int(top), int(bottom)))]


def mixed(piece: str) -> str:
    """The value of 3½."""
    return written(Fraction(plain(piece[:-1])[1:]) + Fraction(unicodedata.numeric(piece[-1])).limit_denominator(1000))


def sign_value(sign: str) -> str | None:
    """`#0.5` for ½ and `#5` for ⁵; None for other signs."""
    try:
        return written(Fraction(unicodedata.numeric(sign)).limit_denominator(1000))
    except ValueError:
        return None


def cjk(numerals: str) -> str | None:
    """The value of 二百五十 or 二〇二五; None for one sign that is part of many words (一) and for no number."""
    if numerals in ("一", "百", "千", "万", "萬", "亿", "億"):
        return None
    if not any(sign in _CJK_SCALES for sign in numerals):
        return plain("".join(str(_CJK[sign]) for sign in numerals))
    total = section = digit = 0
    for sign in numerals:
        if sign in _CJK:
            digit = _CJK[sign]
        elif (scale := _CJK_SCALES[sign]) >= 10**4:
            total, section, digit = total + (section + digit) * scale, 0, 0
        else:
            section, digit = section + (digit or 1) * scale, 0
    return f"#{total + section + digit}"


def join(pieces: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """(from, to, value) of the numbers that more than one of the pieces make, or that need their neighbours."""
    words = [piece.lower() for piece in pieces]
    done = 0
    for at, word in enumerate(words):
        if at < done or not _may_begin(word, words, at):
            continue
        found = _number_at(words, at)
        if found:
            yield (at, *found)
            done = found[0]


def _may_begin(word: str, words: Sequence[str], at: int) -> bool:
    """Whether a number of several words may begin here, by a look at this word and, for digits, at the next."""
    if word in _BEGIN:
        return True
    return (word[0] == "#" or word[0].isdecimal()) and _next(words, at) in _BEHIND_DIGITS


def _number_at(words: Sequence[str], at: int) -> tuple[int, str] | None:
    """(end, value) of a number of words that begins here."""
    word = words[at]
    if word in ("a", "an") and (part := _PARTS.get(_next(words, at))):
        return _half_dozen(words, at + 2, Fraction(1, part))
    if word in ("a", "an") and (part := _ORDINALS.get(_next(words, at))) and _next(words, at + 1) in ("of", "as"):
        return at + 2, written(Fraction(1, part))
    if word in ("half", "quarter"):
        return _half_dozen(words, at + 1, Fraction(1, _PARTS[word]))
    value, end = _cardinal(words, at)
    if value is None:
        return None
    if value < 1 and words[end : end + 1] == ["a"]:
        return _half_dozen(words, end, value)
    following = _next(words, end - 1)
    if (
        following in _PARTS
        and (value != 1 or not following.endswith("s"))
        and following not in ("third", "quarter", "half")
    ):
        return end + 1, written(value / _PARTS[following])
    if following in ("third", "quarter", "half") and value == 1:
        return end + 1, written(value / _PARTS[following])
    if value == 1 and following in _ORDINALS:
        return end + 1, written(Fraction(1, _ORDINALS[following]))
    if words[end : end + 2] in (["and", "a"], ["and", "one"]) and _next(words, end + 1) in ("half", "quarter", "third"):
        return end + 3, written(value + Fraction(1, _PARTS[words[end + 2]]))
    return (end, written(value)) if end - at > 1 or word in _SCALES else None


def _half_dozen(words: Sequence[str], end: int, value: Fraction) -> tuple[int, str]:
    """ "half a dozen", "half a million", else the part alone."""
    if words[end : end + 1] in (["a"], ["of"]) and _next(words, end) in ("dozen", "million", "billion", "thousand"):
        return end + 2, written(value * _SCALES[words[end + 1]])
    return end, written(value)


def _next(words: Sequence[str], at: int) -> str:
    return words[at + 1] if at + 1 < len(words) else ""


def _cardinal(words: Sequence[str], at: int) -> tuple[Fraction | None, int]:
    """The value of the words from here on and where they end: two hundred and five, 3 million, a dozen."""
    total, section, end = Fraction(0), None, at
    if words[at] in ("a", "an") and _next(words, at) in _SCALES:
        section, end = Fraction(1), at + 1
    while end < len(words):
        word = words[end]
        if word == "and" and end > at and words[end - 1] in ("hundred", "thousand") and _next(words, end) in _CARDINALS:
            end += 1
            continue
        if (scale := _SCALES.get(word)) and (end == at or (section is not None and section < scale * _MOST_OF[scale])):
            if scale >= 1000:
                total, section = total + (1 if section is None else section) * scale, None
            else:
                section = (1 if section is None else section) * scale
            if word == "dozen":
                return total + section, end + 1
        elif (value := _small(word, section, words, end, at)) is not None:
            section = (section or 0) + value
        else:
            break
        end += 1
        if end < len(words) and section is None and words[end] not in _CARDINALS and words[end] != "and":
            break
    return (None, at) if end == at else (total + (section or 0), end)


def _small(word: str, section: Fraction | None, words: Sequence[str], end: int, at: int) -> Fraction | None:
    """A cardinal or a number in digits that may stand here: behind nothing, a hundred, or a unit behind its ten."""
    if (word[0] == "#" and "/" not in word) or word[0].isdecimal():
        if len(word) > _LONGEST:
            return None
        value = Fraction(word[1:] if word[0] == "#" else plain(word)[1:])
        following = _next(words, end)
        if following == "a" and value < 1:
            following = _next(words, end + 1)
        return value if end == at and (following in _SCALES or following in _PLURALS) else None
    value = _CARDINALS.get(word)
    if value is None:
        return None
    behind = words[end - 1] if end > at else ""
    if section is None or behind in _SCALES or behind == "and" or (behind in _TENS and value < 10 and value):
        return Fraction(value)
    return None
