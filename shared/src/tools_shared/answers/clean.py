"""Normalise spellings: LaTeX spacing, text wrappers, Unicode signs, delimiters.

Every pattern is a single pass over the text with no nested repetition.
"""

from __future__ import annotations

import re
import unicodedata

from tools_shared.prompts.blocks import last_block

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
    "\\varnothing": "\\emptyset",
    "\\degree": " degrees",
    "\\degrees": " degrees",
    "\\quad": " ",
    "\\qquad": " ",
    "\\displaystyle": "",
    "**": "^",
}
_LATEX = re.compile(r"\\q?quad|\^\{\\circ\}|\^\\circ|\{,\}|~|\*\*|\\[a-zA-Z]+|\\.")
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|normal|sf|tt)?|mbox|math(?:rm|bf|it|sf)|operatorname)\s?\{([^{}]*)\}")
_THIN_GROUP = re.compile(f"(?<=[0-9]),?{THIN} ?(?=[0-9]{{3}}(?![0-9]))")
_SCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+|[₀₁₂₃₄₅₆₇₈₉]+")
_BOX = re.compile(r"\\(?:begin)?(?:boxed|fbox|framebox) ?\{")
_SHORT_BINOMIAL = re.compile(r"\\[dt]?binom ?([A-Za-z0-9]) ?([A-Za-z0-9])")
_CONNECTIVE_TEXT = re.compile(
    r"(?<=\}) ?(?:\\q?quad)? ?\\text ?\{[^{}]*(?<![a-z])(and|or)(?![a-z])[^{}]*\} ?(?:\\q?quad)? ?(?=\\boxed)"
)
_SIDE_BY_SIDE = re.compile(r"\}[ $]*(?=\\f?box)")
_BRACED_COMMA = re.compile(r"(?<=[0-9]) ?\{ ?, ?\} ?(?=[0-9]{3})")
_BETWEEN = re.compile(r"(?:\$|\\\))?\s?(,|;|(?:\\text\s?\{\s?)?(?:and|or)(?:\s?\})?)\s?(?:\$|\\\()")
_PLAIN_ROOT = re.compile(
    r"(?<![A-Za-z\\])sqrt ?\(([^()]*)\)|√ ?\(([^()]*)\)|√ ?([0-9.]+|[A-Za-z])|∛ ?([0-9.]+|[A-Za-z])"
)
_LATEX_NAME = re.compile(r"\\[A-Za-z]+")
_PROSE = re.compile(r"(?<![A-Za-z])(?!(?:pi|infinity|sqrt|sin|cos|tan|ln|log|exp|and|or)(?![A-Za-z]))[A-Za-z]{3,}")
_PLAIN_POWER = re.compile(r"\^ ?\(([^()]*)\)")
_PLAIN_NAME = re.compile(r"(?<![A-Za-z\\])(pi|infinity|sqrt|sin|cos|tan|ln|log|exp)(?![A-Za-z])")
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
    if "$" in text or "boxed" in text:
        text = _BETWEEN.sub(r" \1 ", _without_boxes(text))
    if "\\" in text or "{" in text or "~" in text or "**" in text or THIN in text:
        if "\\!" in text:
            text = text.replace(",\\! ", ",")  # MATH writes 11,\! 111
        text = _BRACED_COMMA.sub(",", text)
        text = _LATEX.sub(lambda m: _REPLACEMENTS.get(m[0], m[0]), text)
        text = _THIN_GROUP.sub(",", text)
        text = _SHORT_BINOMIAL.sub(r"\\binom{\1}{\2}", text)
        text = _TEXT.sub(lambda m: f" {m[1]}" if len(m[1]) == 1 else f" {m[1]} ", text)
    return _BLANKS.sub(" ", _plain_mathematics(text)).strip()


def _plain_mathematics(text: str) -> str:
    """`sqrt(3)`, `√3`, `2^(1/4)`, `pi/2` and `4pi` as LaTeX; words of a sentence stay as they are."""
    if not any(mark in text for mark in ("√", "∛", "^(", "sqrt", "pi", "sin", "cos", "tan", "ln", "log", "exp", "inf")):
        return text
    text = _PLAIN_ROOT.sub(_root, text)
    text = _PLAIN_POWER.sub(r"^{\1}", text)
    return text if _PROSE.search(_LATEX_NAME.sub(" ", text)) else _PLAIN_NAME.sub(_named, text)


def _root(match: re.Match[str]) -> str:
    if match[4]:
        return f"\\sqrt[3]{{{match[4]}}}"
    return f"\\sqrt{{{match[1] or match[2] or match[3]}}}"


def _named(match: re.Match[str]) -> str:
    return "\\infty " if match[1] == "infinity" else f"\\{match[1]} "


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
        if text.endswith("\\") and not text.endswith("\\\\"):
            text = text[:-1]
        if text.endswith(".") and not text.endswith("..") and not text.endswith("\\."):
            text = text[:-1]
        for opening, closing in (("**", "**"), ("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
            text = _without(text, opening, closing)
        box = _BOX.match(text)
        if box and last_block(text, box[0], "}") == (box.end(), len(text) - 1):
            text = text[box.end() : -1]
    return text


def _without_boxes(text: str) -> str:
    """Boxes inside the text as the groups of LaTeX that they are."""
    return _BOX.sub("{", _SIDE_BY_SIDE.sub("},", _CONNECTIVE_TEXT.sub(r" \1 ", text)))


def _without(text: str, opening: str, closing: str) -> str:
    """`text` without a pair of delimiters that surround it and occur nowhere within."""
    n = len(opening)
    if len(text) > 2 * n and text.startswith(opening) and text.endswith(closing):
        inner = text[n : -len(closing)]
        if opening not in inner and closing not in inner and not inner.endswith("\\"):
            return inner
    return text
