"""Find the answer of a completion.

Strict: inside the profile's answer tags. Lenient, in this order: the tags, the last filled box, `#### 18`, an answer
line, the last mathematics or number of the last sentence that has any. Reasoning that was opened and never closed has
no answer, in either way; nor has what follows the token that ends the turn.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools_shared.answers.items import is_number
from tools_shared.answers.numbers import plain_number
from tools_shared.answers.phrases import PhraseFound, answer_in, reduced
from tools_shared.answers.plain import ANSWER_LINE, ASIDE, BARE_A, has_hints, plain_answer
from tools_shared.answers.spans import Piece, delimited
from tools_shared.answers.structure import after
from tools_shared.prompts import Parsed, Profile
from tools_shared.prompts.blocks import BOXED, Span, blocks, last_filled, said

MAX_LINE = 500
MAX_TAIL = 20_000
"""Characters at the end of a text in which an answer outside tags, boxes and markers is looked for."""
MAX_TRIES = 8
MAX_WORDS = 8

_SENTENCE_END = re.compile(
    r"[.!?](?<!\bMr.)(?<!\bMs.)(?<!\bDr.)(?<!\bSt.)(?<!\bNo.)(?<!\bvs.)(?<!\bMrs.)(?<!\bRs.)(?<!\bapprox.)(?<!i\.e.)"
    r"(?<!e\.g.)(?:\*\*|__)?[\"')”]?\s+(?=[^\W\d_a-z]|[*_\"'“(\\$]|\Z)|[。！？]"
)
_ABOUT_ITSELF = re.compile(
    r"[ \t:*_]*(?:(?:in)?correct|right|wrong|helpful|clear|unclear|obvious|below|above|here|as follows|shown|found"
    r"|unique|verified|reasonable|consistent|valid|simple|the same|reached|obtained|hidden|not|in the|based on)\b[ \w]*"
    r"(?:[.,;!:]|$)",
    re.IGNORECASE | re.MULTILINE,
)
_CHOICE = re.compile(r"\s*(?:\\text(?:bf|rm|it)?\s?\{\s*)?\(?([A-J])[).:]\s?\}?(?:\\[ ,;]|[\s~:])*(?=[^\s}])")
"""The letter of an option before its text: `(B) 12`, `\\textbf{(B)}\\ 58`."""
_CALCULATION = re.compile(r"<<[^<>\n]{1,200}>>")
_OPTION = re.compile(r"(?:option|choice)\s+(?=\(?[A-J]\)?$)", re.IGNORECASE)
_BULLET = re.compile(r"[ \t]*(?:[-•+>|][ \t]+|\*[ \t]+|#{1,6}[ \t]*|\(?\d{1,2}[.)][ \t]+(?=\S))*")
_HEADING_NUMBER = re.compile(r"[\s*_]*\d{1,2}[.):][ \t]+[A-Z]")


@dataclass(frozen=True, slots=True)
class Extraction:
    """An answer, how it was found (`tags`, `boxed`, `hash`, `answer-line`, `last-math`, `last-number`, `none`), and the
    half-open character range it was taken from. `answer` is None exactly when `method` is `none`. `whole` is the
    sentence that the answer was taken out of, None where it is the answer."""

    answer: str | None
    method: str
    span: tuple[int, int] | None
    whole: str | None = None


NONE = Extraction(None, "none", None)


def extract(
    text: str, profile: Profile, *, opened: bool = False, lenient: bool = False, truncated: bool = False
) -> Extraction:
    """The answer of a completion; never raises.

    With `opened` the prompt has already written the opening thinking tag. Lenient looks behind the
    reasoning first and, where there is nothing, in the whole text; where the text was `truncated`, for a box alone.
    """
    if lenient and not opened and not truncated:
        tags = (profile.answer[0], profile.think[0]) if profile.think else profile.answer[:1]
        if plain := plain_answer(text, tags):
            method, (begin, end) = plain
            return Extraction(text[begin:end], method, (begin, end))
    strict = in_tags(text, profile, profile.parse(text, opened))
    if strict.answer is not None:
        return strict
    text = _without_calculations(said(text, (*(profile.think or ()), *profile.answer)))
    start = _after_thinking(text, profile, opened)
    if not lenient or start is None:
        return NONE
    found = _anywhere(text, start, truncated)
    return found if found.answer is not None or start == 0 else _anywhere(text, 0, truncated)


def _without_calculations(text: str) -> str:
    """With GSM8K's calculator notes, `<<48/2=24>>`, blanked out: each repeats what follows it."""
    return _CALCULATION.sub(lambda note: " " * len(note[0]), text) if "<<" in text else text


def in_tags(text: str, profile: Profile, parsed: Parsed) -> Extraction:
    """The strict answer of a completion that the profile has parsed."""
    if not parsed.answer or parsed.answer_span is None:
        return NONE
    return _of_block(text, parsed.answer_span, "boxed" if profile.answer == BOXED else "tags")


def gold_answer(text: str) -> str | None:
    """What follows the last `####` of a GSM8K solution, to the end of its line; None where there is none."""
    begin = text.rfind("####")
    if begin < 0:
        return None
    return text[begin + 4 :].partition("\n")[0].strip() or None


def _after_thinking(text: str, profile: Profile, opened: bool) -> int | None:
    """Where the reasoning ends: 0 when there is none, None when it was opened and never closed."""
    if profile.think is None:
        return 0
    begin = 0 if opened else text.find(profile.think[0])
    if begin < 0:
        return 0
    end = text.find(profile.think[1], begin)
    return None if end < 0 else end + len(profile.think[1])


def _anywhere(text: str, start: int, truncated: bool) -> Extraction:
    boxed = last_filled(text, list(blocks(text, *BOXED, start=start)))
    if boxed:
        return _of_block(text, boxed, "boxed")
    if truncated:
        return NONE
    start = max(start, len(text) - MAX_TAIL)
    pieces = delimited(text, start)
    return _hash(text, start, pieces) or _answer_line(text, start, pieces) or _last(text, start, pieces)


def _of_block(text: str, span: Span, method: str) -> Extraction:
    """What tags or a box hold; of a sentence with one quantity, that quantity."""
    content = text[span[0] : span[1]]
    if plain_number(content):
        return Extraction(content, method, span)
    found = reduced(content, span[0])
    if found is None and (choice := _CHOICE.match(content)):
        found = span[0] + choice.end(), span[1]
    return _extraction(text, found or span, method, span)


def _extraction(text: str, span: Span, method: str, whole: Span | None = None) -> Extraction:
    begin, end = _stripped(text, *span)
    sentence = text[slice(*_stripped(text, *whole))] if whole else None
    answer = text[begin:end]
    if sentence and (choice := _CHOICE.match(sentence)):
        sentence = f"({choice[1]})"
    return Extraction(answer, method, (begin, end), None if sentence == answer else sentence)


def _stripped(text: str, begin: int, end: int) -> Span:
    """The range without blanks around it."""
    content = text[begin:end]
    begin += len(content) - len(content.lstrip())
    return begin, max(begin, end - (len(content) - len(content.rstrip())))


def _hash(text: str, start: int, pieces: Sequence[Piece]) -> Extraction | None:
    """The quantity that begins behind the last `####`, or is in its line; a Markdown heading has none."""
    begin = text.rfind("####", start)
    if begin < 0:
        return None
    line = _line(text, begin + 4, pieces)
    if _HEADING_NUMBER.match(text, *line) and text[line[1] :].strip():
        return None
    found = answer_in(text, *line, pieces, marked=True)
    return _extraction(text, found.span, "hash", found.equation or line) if found else None


def _answer_line(text: str, start: int, pieces: Sequence[Piece]) -> Extraction | None:
    """The quantity of the last `A:`, `Answer:` or `the answer is` that has one; else the few words of the last one."""
    words = None
    for match in _markers(text, start):
        line = _line(text, match.end(), pieces)
        if _ABOUT_ITSELF.match(text, *line):
            continue
        for _ in range(2):  # over a code fence, too
            if not text[slice(*line)].strip(" \t*_#:`"):
                line = _line(text, _next_line(text, line[1]), pieces)
        sentence = line[0], next((m.start() for m in _ends(text, line, pieces)), line[1])
        found = answer_in(text, *sentence, pieces, marked=True)
        sentence = _undecorated(text, *sentence)
        if found:
            return _extraction(text, found.span, "answer-line", found.equation or sentence)
        said_words = text[slice(*sentence)]
        if words is None and 0 < len(said_words.split()) <= MAX_WORDS:
            option = _OPTION.match(said_words)
            words = _extraction(text, (sentence[0] + (option.end() if option else 0), sentence[1]), "answer-line")
    return words


def _markers(text: str, start: int) -> Iterator[re.Match[str]]:
    """The markers of an answer, from the last: first those of the last line, where answers nearly always are."""
    tail = max(start, text.rfind("\n", start, len(text.rstrip())) + 1)
    if has_hints(text[tail:]) or BARE_A.match(text, tail):
        yield from reversed(deque(ANSWER_LINE.finditer(text, tail), MAX_TRIES))
    if tail > start and has_hints(text):
        yield from reversed(deque(ANSWER_LINE.finditer(text, start, tail), MAX_TRIES))


def _last(text: str, start: int, pieces: Sequence[Piece]) -> Extraction:
    """The answer of the last sentence that has a quantity and is no question; remarks such as `Note:` come last."""
    aside = None
    for begin, end in _sentences(text, start, pieces):
        found = answer_in(text, begin, end, pieces, marked=False)
        if found is None or text[begin:end].rstrip(" *_\n").endswith(("?", "？")):
            continue
        if not ASIDE.match(text, begin, end):
            return _of_sentence(text, found)
        aside = aside or found
    return _of_sentence(text, aside) if aside else NONE


def _of_sentence(text: str, found: PhraseFound) -> Extraction:
    kind = "last-number" if is_number(text[slice(*found.span)].strip()) else "last-math"
    return _extraction(text, found.span, kind, found.equation)


def _sentences(text: str, start: int, pieces: Sequence[Piece]) -> Iterator[Span]:
    """The sentences from the last to the first, without bullets and numbers of lists before them."""
    end = len(text)
    while end > start:
        begin = text.rfind("\n", start, end) + 1
        begin = max(start, begin)
        if piece := _around(pieces, begin):
            begin = max(start, text.rfind("\n", start, piece.outer[0]) + 1)
        at = after(_BULLET, text, begin, end)
        edges = [at, *(m.end() for m in _ends(text, (at, end), pieces)), end]
        yield from reversed(list(itertools.pairwise(edges)))
        end = begin - 1


def _ends(text: str, line: Span, pieces: Sequence[Piece]) -> Iterator[re.Match[str]]:
    """The ends of the sentences in a line, none of them inside mathematics."""
    return (m for m in _SENTENCE_END.finditer(text, *line) if not _around(pieces, m.start()))


def _around(pieces: Sequence[Piece], at: int) -> Piece | None:
    """The mathematics that a position is inside of."""
    i = bisect_right(pieces, at, key=lambda piece: piece.outer[0]) - 1
    return pieces[i] if i >= 0 and pieces[i].outer[0] < at < pieces[i].outer[1] else None


def _line(text: str, begin: int, pieces: Sequence[Piece]) -> Span:
    """The rest of the line, at most MAX_LINE characters of it; mathematics that goes on over the line is kept whole."""
    end = text.find("\n", begin, begin + MAX_LINE)
    end = end if end >= 0 else min(len(text), begin + MAX_LINE)
    piece = _around(pieces, end)
    return begin, piece.outer[1] if piece and piece.outer[0] >= begin else end


def _next_line(text: str, end: int) -> int:
    """Where the next line that is not empty begins, bullets left out."""
    return after(_BULLET, text, end + len(text[end : end + MAX_LINE]) - len(text[end : end + MAX_LINE].lstrip()))


def _undecorated(text: str, begin: int, end: int) -> Span:
    """The range without blanks, Markdown emphasis and a full stop around it."""
    raw = text[begin:end]
    content = raw.strip(" \t\r\n*_:").removesuffix(".").rstrip(" *_")
    begin += raw.index(content)
    return begin, begin + len(content)
