"""Which quantity of a sentence is its answer.

The rule, in this order: what is joined by `and`, `or` or commas is one answer (`x=2 or x=3`); what is printed in bold;
the result of a computation (`3 * 5 = 15 apples`); in a sentence that is known to hold the answer, the quantity that it
begins with (`18 dollars for 9 eggs`); mathematics before plain numbers; and of several the last one that no preposition
makes a circumstance (`15 apples out of 18`), or simply the last. What follows `because` is not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tools_shared.answers.items import AnswerItem, is_number, items_of, names_something
from tools_shared.answers.spans import Piece, delimited
from tools_shared.answers.structure import after
from tools_shared.prompts.blocks import Span

_LEAD_IN = re.compile(
    r"(?:[\s*_`:>=~\"'“”≈：]|\([A-E]\)|\\approx|\\text\s?\{|\\[,;: ]"
    r"|(?:is|are|was|be|equals?|to|that|therefore|thus|hence|so|simply|just|exactly|precisely|only|about|approximately"
    r"|approx|around|roughly|nearly|almost|equal|given|by|the|number|value|total|of|a|an|in total|it|we|get|have|obtain"
    r"|there|Rs|USD|EUR|ist|est|es|son|sont|sind|lautet|etwa|environ)(?![A-Za-z])[.,]?)*",
    re.IGNORECASE,
)
_CAUSE = re.compile(r"[,;]?\s*\b(?:because|since|due to|given that|assuming)\b")
_REASON = re.compile(
    r"[,;]?\s*\b(?:because|since|as (?=\d|\$|she|he|they|we|it|there)|due to|where|which|given that|assuming|not|i\.e"
    r"|that is|weil|car|porque|因为)\b"
)
_RELATIVE = re.compile(r", (?:who|whose|with|where|(?P<which>which is))\b")
_JOIN = re.compile(
    r"\s*(?:[,;]\s*)?(?:\\text\w*\s?\{\s*)?(?:and|or|to|und|oder|et|ou|y|o|&|和|或)(?:\s*\})?\s*|\s*[,;]\s*(?:\\\s*)?"
)
_DETERMINER = (
    r"(?:(?:the|a|an|his|her|their|its|these|those|all|each|every|about|only|first|last|other|remaining)\s+)?$"
)
_CIRCUMSTANCE = re.compile(
    r"\b(?:in|for|from|after|(?<!left )with|at|by|per|over|into|between|among|than|on|every|each|within|during"
    r"|before|if|when|radius|across|without|through|against|under|instead of|or (?:about|approximately|roughly|around)"
    r"|(?:out|half|third|quarter|percent|all|some|most|one|each|rest|remaining|\d+) of"
    rf"|(?:after|by|before|while|from|for|of) \w{{2,20}}ing)\s+{_DETERMINER}|% of\s+{_DETERMINER}",
    re.IGNORECASE,
)
_PURPOSE = re.compile(
    rf"\bto (?!about|approximately|exactly|roughly|only|just|a|the|be)[a-z]{{2,20}}\s+{_DETERMINER}", re.IGNORECASE
)
_COPULA = re.compile(r"(?<!which )\b(?:is|are|was|equals?|be)\s+(?:about\s+|approximately\s+|only\s+)?[*$\\(]*$")
_CONDITION = re.compile(
    r"\s*(?:if|when|since|because|given|for|with|in|after|on|at|from|while|as|out of)\b[^,\n]{1,120},\s", re.IGNORECASE
)
_PROSE = re.compile(r"(?:^|(?<=[\s{(*_:;,.]))[^\W\d_]{2,}(?![\w(^_=])")
_WORDS_OF_ALGEBRA = frozenset("sin cos tan cot sec csc log ln exp sqrt pi det gcd lcm max min mod".split())


@dataclass(frozen=True, slots=True)
class PhraseFound:
    """The range of an answer, and of the equation whose last side it is."""

    span: Span
    equation: Span | None = None


def has_prose(text: str) -> bool:
    """Whether there are words in it besides the names of functions."""
    return any(
        m[0].lower() not in _WORDS_OF_ALGEBRA and text[m.start() - 1 : m.start()] != "\\" for m in _PROSE.finditer(text)
    )


def answer_in(text: str, begin: int, end: int, pieces: Sequence[Piece], marked: bool) -> PhraseFound | None:
    """The answer in a sentence, None where there is no quantity.

    `pieces` is the delimited mathematics of the text, in order. `marked`: the sentence is where an answer belongs
    (a box, behind `####` or `the answer is`), so that what it begins with counts.
    """
    condition = None if marked else _CONDITION.match(text, begin, end)
    ranges = [(condition.end(), end), (begin, end)] if condition else [(begin, end)]
    return next(filter(None, (_in_range(text, *part, pieces, marked) for part in ranges)), None)


def _in_range(text: str, begin: int, end: int, pieces: Sequence[Piece], marked: bool) -> PhraseFound | None:
    start = min(after(_LEAD_IN, text, begin, end), end)
    items = items_of(text, begin, end, pieces, marked)
    if not items:
        return None
    if len(items) > 1 and (reason := (_REASON if marked else _CAUSE).search(text, items[0].outer[1], end)):
        comma = -1 if marked else text.find(", ", reason.end(), end)
        over = end if comma < 0 else comma
        items = [item for item in items if not reason.start() <= item.outer[0] < over]
    items = _joined(text, items, marked)
    chosen = _chosen(text, items, start, marked)
    return PhraseFound((chosen.begin, chosen.end), chosen.whole)


def _chosen(text: str, items: Sequence[AnswerItem], start: int, marked: bool) -> AnswerItem:
    bold = [item for item in items if _is_bold(text, item)]
    if len(bold) == 1:
        return bold[0]
    first = items[0]
    items = [i for i in items if i is first or not _in_brackets(text, first.outer[1], i.outer[0])]
    if marked:
        if results := [item for item in items if item.equated]:
            return results[-1]
        if first.outer[0] <= start:
            return first
    elif results := [item for item in items if item.computed]:
        later = [i for i in items if i.begin > results[-1].end and _COPULA.search(text, i.outer[0] - 24, i.outer[0])]
        return (later or results)[-1]
    relative = _RELATIVE.search(text, first.outer[1], items[-1].outer[0])
    if relative and (first.delimited or not relative["which"]):
        items = [item for item in items if item.outer[0] < relative.start()]
    best = min(_distance(text, item) for item in items)
    free = [item for item in items if _distance(text, item) == best]
    if best == 1:
        return free[0]
    return ([item for item in free if item.delimited] or free)[-1]


def _distance(text: str, item: AnswerItem) -> int:
    """How far an item is from what the sentence says: 0 for a free one, 1 for a purpose (`to earn $480`), 2 for a
    circumstance (`in 5 days`)."""
    place = max(0, item.outer[0] - 40), item.outer[0]
    return 2 if _CIRCUMSTANCE.search(text, *place) else int(_PURPOSE.search(text, *place) is not None)


def _joined(text: str, items: Sequence[AnswerItem], marked: bool) -> list[AnswerItem]:
    """Items with only `and`, `or` or a comma between them, as one; plain numbers are joined by a comma alone only where
    an answer belongs."""
    groups: list[list[AnswerItem]] = []
    for item in items:
        last = groups[-1][-1] if groups else None
        gap = text[last.outer[1] : item.outer[0]] if last else ""
        comma = gap.strip(" \\") in (",", ";")
        if (
            last
            and _JOIN.fullmatch(gap)
            and not _concludes(text, last, item)
            and (not comma or marked or (last.delimited and item.delimited))
        ):
            groups[-1].append(item)
        else:
            groups.append([item])
    return [
        group[0]
        if len(group) == 1
        else AnswerItem(
            group[0].outer[0], group[-1].outer[1], (group[0].outer[0], group[-1].outer[1]), group[0].delimited
        )
        for group in groups
    ]


def _concludes(text: str, last: AnswerItem, item: AnswerItem) -> bool:
    """Whether two equations are not of one list: `a = 3` and `a - b = 5`."""
    if not (last.whole and item.whole):
        return False
    return names_something(text[slice(*last.whole)]) and not names_something(text[slice(*item.whole)])


def _is_bold(text: str, item: AnswerItem) -> bool:
    """Whether the item is printed in bold, alone or with its unit."""
    before = text[max(0, item.outer[0] - 4) : item.outer[0]].rstrip(" $\\(")
    line_end = text.find("\n", item.outer[1], item.outer[1] + 60)
    after = text[item.outer[1] : line_end if line_end >= 0 else item.outer[1] + 60]
    return before.endswith(("**", "__")) and re.match(r"[^*_.!?]{0,40}[.!]?(?:\*\*|__)", after) is not None


def _in_brackets(text: str, begin: int, at: int) -> bool:
    return text.count("(", begin, at) > text.count(")", begin, at)


def reduced(content: str, offset: int = 0) -> Span | None:
    """The quantity of a block that is a sentence (`about 18`, `John has 15 apples`), as a range; None for one that is
    an answer as it is."""
    if len(content) > 500 or is_number(content) or not has_prose(content):
        return None
    found = answer_in(content, 0, len(content), delimited(content), marked=True)
    return None if found is None else (offset + found.span[0], offset + found.span[1])
