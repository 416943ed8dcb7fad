"""One spelling for what is written in several ways: LaTeX spacing, text wrappers, Unicode signs, delimiters.

Every pattern is a single pass over the text with no nested repetition.
"""

from __future__ import annotations

import re
import unicodedata

from tools_shared.blocks import BOXED, last_block

_VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
_THIN = "\u2009"
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\t\r\n", " "),
        "\u202f": _THIN,
        **{c: " " + unicodedata.normalize("NFKC", c).replace("\u2044", "/") for c in _VULGAR},
        "\u2044": "/",
        "°": " degrees",
        "²": "^2",
        "³": "^3",
        "×": "\\times ",
        "·": "\\cdot ",
        "÷": "/",
        "π": "\\pi ",
        "∞": "\\infty ",
        "∪": "\\cup ",
        "≤": "\\le ",
        "≥": "\\ge ",
        "’": "'",
        "\u200b": "",
        "\ufeff": "",
    }
)
_REPLACEMENTS = {
    "\\!": "",
    "{,}": ",",
    "\\,": _THIN,
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
_TEXT = re.compile(r"\\(?:text|mbox|textbf|textit|textrm|mathrm|mathbf|mathit)\s?\{([^{}]*)\}")
_THIN_GROUP = re.compile(f"(?<=[0-9]),?{_THIN} ?(?=[0-9]{{3}}(?![0-9]))")
_BLANKS = re.compile(r"[ \u2009]+")


def clean(text: str) -> str:
    """The answer in one spelling, still readable as LaTeX; idempotent on what it returns for ordinary answers."""
    text = _unwrap(text.translate(_SIGNS).strip())
    if "\\" in text or "{" in text or "~" in text or "**" in text or _THIN in text:
        if "\\!" in text:
            text = text.replace(",\\! ", ",")  # MATH writes 11,\! 111
        text = _LATEX.sub(lambda m: _REPLACEMENTS.get(m[0], m[0]), text)
        text = _THIN_GROUP.sub(",", text)
        text = _TEXT.sub(r" \1 ", text)
    return _BLANKS.sub(" ", text).strip()


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
