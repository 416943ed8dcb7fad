"""The structure of an answer, determined before any comparison: a list of parts, each with its label.

`x = 1 \\text{ or } x = 2`, `x = 1, 2` and `\\{1, 2\\}` are the parts 1 and 2; `\\angle APC = 74^\\circ` is 74 with a
label; `2 = x` is `x = 2`. Every rule holds for the gold answer and for the given one, so no verdict depends on which is
which.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

MAX_PARTS = 40


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a list with their labels (`x` of `x = 1`, else None). `ordered`: several different labels say which
    part is which; `braced`: written as a set."""

    texts: tuple[str, ...]
    labels: tuple[str | None, ...]
    braced: bool = False

    @property
    def ordered(self) -> bool:
        return len(self.texts) > 1 and None not in self.labels and len(set(self.labels)) == len(self.labels)


_NAME = re.compile(
    r"""(?:[A-Za-z]|\\(?!frac|sqrt|sin|cos|tan|log|ln|pi|infty|cdot|times|pm|mp|left|right|begin|end)[A-Za-z]+)
        [A-Za-z0-9_{}'\\ :]*
      | (?:[A-Za-z]|\\[a-z]+)(?:_(?:[A-Za-z0-9]|\{[A-Za-z0-9, ]{1,12}\}))?'*\ ?\([^()=]{1,30}\)
      | \([A-Za-z](?:\ ?,\ ?[A-Za-z])+\)
      | \|[A-Za-z0-9_]{1,6}\| | \\(?:overline|vec|bar|hat)\ ?\{[A-Za-z]{1,4}\}
      | \\frac\ ?\{\ ?[A-Z]{2}\ ?\}\ ?\{\ ?[A-Z]{2}\ ?\}""",
    re.VERBOSE,
)
_EQUALS = re.compile(r"(?<![<>!=\\:])=(?!=)|\\approx|\\equiv(?![^=]*\\p?mod)")
_MEMBER = re.compile(r"^\s?(?:[A-Za-z]|\\[a-z]+|\([a-z, ]+\))\s?\\in(?![a-z])")
_OPEN, _CLOSE = "([{", ")]}"
_SEPARATOR = re.compile(r"\\[a-zA-Z]+|\\.|[()\[\]{},;]|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])", re.DOTALL)
_ENVIRONMENT = re.compile(r"\\begin\{[a-z]*(?:matrix|array|cases)")


def parts_of(text: str) -> Parts:
    """The parts of a cleaned answer, one where it is no list."""
    text = _without_member(text).strip()
    braced = text.startswith("\\{") and text.endswith("\\}") and _closes_at_end(text)
    inner = text[2:-2] if braced else _unbraced(text)
    pieces = [one for piece in _pieces(inner) for one in _plus_and_minus(_unbraced(piece))] or [inner]
    if braced or all(piece.startswith("(") for piece in pieces):  # a set holds each once
        pieces = list({piece.replace(" ", ""): piece for piece in pieces}.values())
    if len(pieces) > MAX_PARTS or _ENVIRONMENT.search(text):
        pieces, braced = [text], False
    labels, texts = zip(*(labelled(piece) for piece in pieces), strict=True)
    if len(texts) > 1 and labels[0] and not any(labels[1:]):  # x = 1, 2
        labels = (labels[0],) * len(texts)
    return Parts(texts, labels, braced)


def _pieces(text: str) -> list[str]:
    """The parts as written; `p=5, q=2; p=7, q=2` are two points."""
    groups = [group.strip() for group in _split(text, ";") if group.strip()]
    inner = [[piece.strip() for piece in _split(group, ",") if piece.strip()] for group in groups]
    if len(groups) > 1 and all(len(pieces) > 1 for pieces in inner):
        return [f"({', '.join(labelled(piece)[1] for piece in pieces)})" for pieces in inner]
    return [piece for pieces in inner for piece in pieces]


def _plus_and_minus(text: str) -> list[str]:
    """Both values of a part with one `\\pm`."""
    if text.count("\\pm") != 1 or "\\mp" in text:
        return [text]
    before, _, after = text.partition("\\pm")
    if not after.strip():
        return [text]
    return [f"{before}{'+' if before.strip() else ''}{after}", f"{before}-{after}"]


def labelled(text: str) -> tuple[str | None, str]:
    """The label of a part and the part without it: (`x`, `5`) of `x = 5` and of `5 = x`; (None, text) where the left
    side is no name, as of `12 + 6 = 18` and `2x + 3y = 6`."""
    sides = _sides(text)
    if len(sides) > 1 and is_name(sides[0]) and all(sides[1:]):
        return _short(sides[0]), labelled(text[_cuts(text)[0].end() :].strip())[1]
    exact, approximate, _ = text.partition("\\approx")
    if approximate and exact.strip():
        return labelled(exact.strip())
    if len(sides) == 2 and is_name(sides[1]) and sides[0]:
        return _short(sides[1]), sides[0]
    return None, text


def sides_of(text: str) -> list[str]:
    """The sides of a chain of equations."""
    return [side for side in _sides(text) if side] or [text]


def _sides(text: str) -> list[str]:
    edges = [0, *(edge for cut in _cuts(text) for edge in cut.span()), len(text)]
    return [text[begin:end].strip() for begin, end in zip(edges[::2], edges[1::2], strict=True)]


def _cuts(text: str) -> list[re.Match[str]]:
    """The signs of equality outside braces; the one of `\\sum_{k=1}` is inside."""
    return [cut for cut in _EQUALS.finditer(text) if text.count("{", 0, cut.start()) == text.count("}", 0, cut.start())]


def is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and len(text) <= 60


def _short(label: str) -> str:
    return label.replace(" ", "").replace("{", "").replace("}", "")


def _without_member(text: str) -> str:
    member = _MEMBER.match(text)
    return text[member.end() :] if member else text


def _unbraced(text: str) -> str:
    """Without LaTeX's grouping braces around the whole."""
    inner = text[1:-1]
    return inner if text.startswith("{") and text.endswith("}") and "{" not in inner else text


def _closes_at_end(text: str) -> bool:
    depth = 0
    for token in re.finditer(r"\\[{}]|\\.|[{}]", text):
        if token[0] == "\\{":
            depth += 1
        elif token[0] == "\\}":
            depth -= 1
            if depth == 0:
                return token.end() == len(text)
    return False


def _split(text: str, mark: str) -> Iterator[str]:
    """The text cut at a mark (with the comma also at `and` and `or`) outside all brackets; intervals may
    close otherwise than they open. A comma between digits that groups them (`1,000`) does not cut."""
    depth = start = 0
    for token in _SEPARATOR.finditer(text):
        found = token[0]
        if found in _OPEN or found == "\\{":
            depth += 1
        elif found in _CLOSE or found == "\\}":
            depth = max(0, depth - 1)
        elif (
            depth == 0
            and (found == mark or (mark == "," and found in ("and", "or")))
            and not _groups_digits(text, token)
        ):
            yield text[start : token.start()]
            start = token.end()
    yield text[start:]


_GROUPED = re.compile(r"(?<![0-9,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")


def after(pattern: re.Pattern[str], text: str, start: int = 0, end: int = sys.maxsize) -> int:
    """Where that ends which the pattern finds at `start`; `start` when it finds nothing there."""
    found = pattern.match(text, start, end)
    return start if found is None else found.end()


def _groups_digits(text: str, token: re.Match[str]) -> bool:
    if token[0] != "," or not text[token.end() : token.end() + 1].isdigit():
        return False
    begin = token.start()
    while begin > 0 and (text[begin - 1].isdigit() or text[begin - 1] == ","):
        begin -= 1
    return after(_GROUPED, text, begin) > token.start()
