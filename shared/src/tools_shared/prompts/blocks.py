"""Where the blocks of a reply are: the answer's tags, boxes, and the token that ends the turn.

Plain search and one pass over the braces: linear in the length of the text, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

BOXED = ("\\boxed{", "}")

Span = tuple[int, int]

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])[ \t]*")
_BARE = re.compile(
    r"[-+]?(?:[0-9][0-9.,/]*[0-9]|[0-9]|\\d?frac(?:[0-9]{2}|\{[^{}]*\}\{[^{}]*\})|\\sqrt(?:\{[^{}]*\}|[0-9]))"
)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_END_OF_TURN = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|eot|endoftext|end_of_text|end_of_turn|endofturn|END_OF_TURN_TOKEN|return|eos"
    r"|end(?!\|><\|start\|>assistant))\|>"
    r"|<end_of_turn>|<turn\|>|<eos>|<EOS>|<eot>|</s>|<\uff5cend\u2581of\u2581sentence\uff5c>|\[eos\]"
    r"|<\|im_start\|>(?:user|system)|<\|start_header_id\|>(?:user|system)|<start_of_turn>user|<\|(?:user|system)\|>"
)
"""What the chat templates of the common model families write behind a reply, or before the next turn of a user."""
_MARKS = ("<|", "<e", "<E", "</s>", "<turn|>", "<start_of_turn>", "<\uff5c", "[eos]")
"""One of these is in each of them; plain search for them is quick where the pattern, which every `<<` stops, is not."""
_TEX_WORDS = re.compile(r"\\(?:text[a-z]{0,2}|mathrm|mathbf|mbox|textbf)(?![A-Za-z])")
_NOTHING = re.compile(
    r"(?:\\(?:[lc]?dots|dotsc|square|Box|phantom\{[^{}]*\}|q?quad|underline|[ ,;:!_])|--|[\s._?\u2026\u25a1~*{}$])*"
)
_BLANK = r"(?:[ \t$]|\\[()\[\]]|\\q?quad(?![a-z])|\\[,;: ])*"
_JOINED = re.compile(
    rf"\}}{_BLANK}(?:(?:,|;|and|or"
    rf"|\\text ?\{{[^{{}}]{{0,40}}(?<![a-z])(?:and|or)(?![a-z])[^{{}}]{{0,9}}\}}){_BLANK}){{0,2}}"
    rf"(?:[A-Za-z](?:_\{{?\w\}}?)? ?={_BLANK})?\\f?box(?:ed)?[ \t]*\{{"
)
"""What is between two boxes that hold one answer: `\\boxed{2}$ or $x = \\boxed{3}`."""
_ADJOINED = re.compile(rf"\}}{_BLANK}\\f?box(?:ed)?[ \t]*\{{")
_PLACEHOLDER_WORD = frozenset("answer answers result solution value number final_answer ans".split())
_AROUND_IT = frozenset("your the final my correct numerical numeric here goes insert put in a an only".split())


def ends_turn(text: str) -> bool:
    """Whether there may be a token in the text that ends the turn."""
    return ("<" in text or "[" in text) and any(map(text.__contains__, _MARKS))


def said(text: str, tags: Sequence[str] = ()) -> str:
    """The reply itself: what comes before the token that ends the turn, unless that is one of the profile's `tags`."""
    if not ends_turn(text):
        return text
    for match in _END_OF_TURN.finditer(text):
        if match[0] not in tags:
            return text[: match.start()]
    return text


def blocks(text: str, open_tag: str, close_tag: str, start: int = 0) -> Iterator[Span]:
    """The content's range of each closed block at or after `start`, the outermost ones, in order.

    A closing brace is matched to its opening one. For BOXED, the other spellings of a box are read too: `\\fbox{18}`,
    `\\boxed {18}` and `\\boxed 18`.
    """
    if close_tag == "}":
        yield from _braced(text, open_tag, start)
        return
    end = text.find(close_tag, start)
    while end >= 0:
        begin = text.rfind(open_tag, start, end)
        if begin >= 0:
            yield begin + len(open_tag), end
        start = end + len(close_tag)
        end = text.find(close_tag, start)


def last_block(text: str, open_tag: str, close_tag: str, start: int = 0) -> Span | None:
    """The last of `blocks`, None where there is none."""
    last = None
    for last in blocks(text, open_tag, close_tag, start):  # noqa: B007 - the last one is wanted
        pass
    return last


def block_start(text: str, span: Span, tags: tuple[str, str]) -> int:
    """Where the block with this content begins; the content of several boxes begins with the first one's frame."""
    if tags != BOXED:
        return span[0] - len(tags[0])
    return span[0] if text.startswith(("\\boxed", "\\fbox"), span[0]) else text.rfind("\\", 0, span[0])


def reasoning_block(text: str, open_tag: str, close_tag: str, opened: bool) -> tuple[str | None, int | None, bool]:
    """The reasoning, where the rest begins (None: the tag was never closed), and whether it occurs once and first."""
    begin = 0 if opened else text.find(open_tag)
    if begin < 0:
        return None, 0, False
    body = begin if opened else begin + len(open_tag)
    end = text.find(close_tag, body)
    if end < 0:
        return text[body:].strip(), None, False
    rest = end + len(close_tag)
    once = text.find(open_tag, body) < 0 and text.find(close_tag, rest) < 0
    return text[body:end].strip(), rest, once and not text[:begin].strip()


def last_filled(text: str, spans: Sequence[Span]) -> Span | None:
    """The last span that holds an answer and not a placeholder of one; where several boxes are joined by commas, `and`,
    `or` or nothing into one answer, the range of them all, with their frames."""
    last = next((i for i in reversed(range(len(spans))) if not is_placeholder(text[slice(*spans[i])])), None)
    if last is None:
        return None
    first = last
    while first > 0 and _JOINED.fullmatch(text, spans[first - 1][1], spans[first][0]):
        first -= 1
    if len({text[slice(*span)] for span in spans[first : last + 1]}) == 1:
        return spans[last]
    return text.rfind("\\", 0, spans[first][0]), spans[last][1] + 1


def adjoined(text: str, spans: Sequence[Span], answer: Span) -> bool:
    """Whether the answer consists of boxes with nothing between them, as in `\\boxed{5}\\boxed{7}`.

    They are read as one answer, but two values tried in a row are not the form that was asked for.
    """
    inside = [span for span in spans if answer[0] <= span[0] and span[1] <= answer[1]]
    return any(_ADJOINED.fullmatch(text, left[1], right[0]) for left, right in pairwise(inside))


def is_placeholder(content: str) -> bool:
    """Whether a block is empty or only says that an answer belongs there: `...`, `\\square`, `your answer`."""
    if len(content) > 80:
        return False
    if _NOTHING.fullmatch(content):
        return True
    words = re.findall(r"[A-Za-z]+", _TEX_WORDS.sub(" ", content).replace("_", " ").lower())
    rest = re.sub(r"[A-Za-z]+|[\s{}\[\]()<>_.:\\$*'\"-]", "", content)
    asked = [word for word in words if word in _PLACEHOLDER_WORD]
    return not rest and bool(asked) and all(word in _AROUND_IT or word in _PLACEHOLDER_WORD for word in words)


def _braced(text: str, open_tag: str, start: int) -> Iterator[Span]:
    opening = _BOX if open_tag == BOXED[0] else re.compile(re.escape(open_tag[:-1]))
    first = opening.search(text, start)
    if first is None:
        return
    closing = _closing_braces(text, first.start())
    at = start
    for match in opening.finditer(text, first.start()):
        if match.start() < at:
            continue
        if text[match.end() : match.end() + 1] == "{":
            end = closing.get(match.end())
            if end is not None:
                yield match.end() + 1, end
                at = end
        elif opening is _BOX and (bare := _BARE.match(text, match.end())):
            yield bare.span()
            at = bare.end()


def _closing_braces(text: str, start: int) -> dict[int, int]:
    """Where each brace that is closed closes; an escaped brace is a character like any other."""
    closing, opened = {}, []
    for match in _BRACE.finditer(text, start):
        if match[0] == "{":
            opened.append(match.start())
        elif match[0] == "}" and opened:
            closing[opened.pop()] = match.start()
    return closing
