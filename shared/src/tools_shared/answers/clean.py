"""One spelling for what is written in several ways: LaTeX spacing, text wrappers, Unicode signs, delimiters.

Every pattern is a single pass over the text with no nested repetition.
"""

from __future__ import annotations

import re
import unicodedata

from tools_shared.blocks import BOXED, last_block

VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
THIN = "\u2009"
"""What every blank that groups digits becomes: it separates nothing."""
SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_ZEROS = "٠۰߀०০੦૦୦௦౦೦൦๐໐༠၀០᠐０𝟎𝟘𝟢𝟬𝟶"
_FOLD = str.maketrans(
    {
        **{chr(c): chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)},
        **{chr(ord(zero) + i): str(i) for zero in _ZEROS for i in range(10)},
        **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u3000\t\r\n", " "),
        "\u202f": THIN,
        "\u2044": "/",
        "\u2215": "/",
        "∶": ":",
        "٪": "%",
        "٫": ".",
        "٬": ",",
        "。": ".",
        "、": ",",
        "￥": "¥",
        "￡": "£",
        "’": "'",
    }
)
_SIGNS = str.maketrans(
    {
        **{c: " " + unicodedata.normalize("NFKC", c).replace("\u2044", "/") for c in VULGAR},
        "°": " degrees",
        "×": "\\times ",
        "·": "\\cdot ",
        "⋅": "\\cdot ",
        "÷": "/",
        "±": "\\pm ",
        "π": "\\pi ",
        "∞": "\\infty ",
        "∪": "\\cup ",
        "∩": "\\cap ",
        "∈": "\\in ",
        "∅": "\\emptyset ",
        "≤": "\\le ",
        "≥": "\\ge ",
        "≠": "\\ne ",
        "≈": "\\approx ",
        "\u200b": "",
        "\ufeff": "",
    }
)
_REPLACEMENTS = {
    "\\!": "",
    "{,}": ",",
    "\\,": THIN,
    "\\;": " ",
    "\\:": " ",
    "\\ ": " ",
    "~": " ",
    "\\$": "$",
    "\\%": "%",
    "\\#": "#",
    "\\&": "&",
    "\\(": "",
    "\\)": "",
    "\\[": "",
    "\\]": "",
    "^\\circ": " degrees",
    "^{\\circ}": " degrees",
    "\\left": "",
    "\\right": "",
    "\\dfrac": "\\frac",
    "\\tfrac": "\\frac",
    "\\cfrac": "\\frac",
    "\\degree": " degrees",
    "\\degrees": " degrees",
    "\\quad": " ",
    "\\qquad": " ",
    "\\displaystyle": "",
    "**": "^",
}
_LATEX = re.compile(r"\^\{\\circ\}|\^\\circ|\{,\}|~|\*\*|\\[a-zA-Z]+|\\.")
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|normal|sf|tt)?|mbox|math(?:rm|bf|it|sf)|operatorname)\s?\{([^{}]*)\}")
_THIN_GROUP = re.compile(f"(?<=[0-9]),?{THIN} ?(?=[0-9]{{3}}(?![0-9]))")
_SCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+|[₀₁₂₃₄₅₆₇₈₉]+")
_BLANKS = re.compile(r"[ \u2009]+")


def fold(text: str) -> str:
    """The text with digits, signs and blanks of other scripts in one spelling, character for character."""
    return text if text.isascii() and text.isprintable() else text.translate(_FOLD)


def clean(text: str) -> str:
    """The answer in one spelling, still readable as LaTeX; idempotent on what it returns for ordinary answers."""
    text = fold(text)
    if not text.isascii():
        text = _SCRIPTS.sub(_script, text).translate(_SIGNS)
    text = _unwrap(text.strip())
    if "\\" in text or "{" in text or "~" in text or "**" in text or THIN in text:
        if "\\!" in text:
            text = text.replace(",\\! ", ",")  # MATH writes 11,\! 111
        text = _LATEX.sub(lambda m: _REPLACEMENTS.get(m[0], m[0]), text)
        text = _THIN_GROUP.sub(",", text)
        text = _TEXT.sub(lambda m: f" {m[1]}" if len(m[1]) == 1 else f" {m[1]} ", text)
    return _BLANKS.sub(" ", text).strip()


def _script(match: re.Match[str]) -> str:
    """Raised or lowered digits as LaTeX."""
    digits = match[0]
    if digits[0] in "₀₁₂₃₄₅₆₇₈₉":
        return f"_{{{digits.translate(_SUBSCRIPT)}}}"
    plain = digits.translate(SUPERSCRIPT)
    return f"^{plain}" if len(plain) == 1 else f"^{{{plain}}}"


def _unwrap(text: str) -> str:
    """Without the delimiters around the whole: `$..$`, `\\(..\\)`, `\\boxed{..}`, `**..**`, quotes, a full stop."""
    before = None
    while text != before:
        before = text
        text = text.strip(' `"')
        text = text.removesuffix(",").removesuffix(";")
        if text.endswith(".") and not text.endswith("..") and not text.endswith("\\."):
            text = text[:-1]
        for opening, closing in (("**", "**"), ("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
            text = _without(text, opening, closing)
        if last_block(text, *BOXED) == (len(BOXED[0]), len(text) - 1):
            text = text[len(BOXED[0]) : -1]
    return text


def _without(text: str, opening: str, closing: str) -> str:
    """`text` without a pair of delimiters that stands around it and nowhere within."""
    n = len(opening)
    if len(text) > 2 * n and text.startswith(opening) and text.endswith(closing):
        inner = text[n : -len(closing)]
        if opening not in inner and closing not in inner and not inner.endswith("\\"):
            return inner
    return text
