"""The quick way to an answer that is a plain number: `A: 18`, `\\boxed{18}`, `So she has 15 apples left.`

Nearly every reply to a word problem ends like that. What is found here is what the ladder of `extract` finds; where
that is not certain at a glance, nothing is found, and the ladder is climbed.
"""

from __future__ import annotations

import re

from tools_shared.answers.items import is_counted, is_label
from tools_shared.answers.numbers import PLAIN
from tools_shared.prompts.blocks import Span, ends_turn

MAX_SENTENCE = 500
MAX_WORD = 14

ANSWER_LINE = re.compile(
    r"(?:^[ \t*_>#\-•|]{0,8}(?:the )?(?:(?:final|correct|short)[ \t])?"
    r"(?:a|ans|answers?|final result|réponse(?: finale)?|antwort|respuesta|risposta|resposta|ответ)"
    r"[ \t]?(?:\(s\))?[ \t]?[*_]{0,3}[ \t\u00a0]?[:=：][*_]{0,3}"
    r"|^[ \t]*[#*_>]{1,6}[ \t*_]*(?:the )?(?:final |correct )?answer[ \t*_#:]{0,8}$"
    r"|\b(?:answers?|correct (?:option|choice)|solutions?)(?: to [a-z ]{1,40}| for [a-z ]{1,30})?"
    r"(?: is| are| equals| would be| will be| must be| should be| comes out to(?: be)?| =)\b:?"
    r"|\b(?:die |la |le )?(?:(?:end)?antwort (?:ist|lautet)|réponse(?: finale)? est|respuesta(?: final)? es"
    r"|risposta (?:finale )?è|resposta (?:final )?é)\b:?"
    r"|(?:最终)?答案(?:应该)?(?:是|为|：|:)|答[：:])",
    re.IGNORECASE | re.MULTILINE,
)
BARE_A = re.compile(r"[ \t*_>#\-•|]{0,8}(?:the )?(?:(?:final|correct|short)[ \t])?a[ \t(*_\u00a0:=：]", re.IGNORECASE)
"""What a line begins with that may be marked by `A` alone, of which has_hints knows the usual spellings."""
ASIDE = re.compile(
    r"[\s*_(>\-]*(?:note|check|verif|hint|remember|let me know|p\.?s\b|confidence|sanity)", re.IGNORECASE
)
_HINTS = tuple("ans|a:|a :|a=|a =|a*|a_|result|solution|correct|antwort|puesta|rispos|respos".split("|"))
_OTHER_HINTS = tuple("：|ponse|ответ|答".split("|"))
"""One of these is in every text that has a marker; looking for them is quicker than looking for that."""
_MARKED = re.compile(
    r"(?:(?:A|(?:\*\*)?(?:The )?(?:[Ff]inal )?[Aa]nswer(?:\*\*)?):(?:\*\*)?|####"
    rf"|(?:(?:So|Therefore|Thus|Hence),? t|T)he (?:final )?answer is:?) ?(?P<number>{PLAIN})(?P<stop>\.?)"
)
_WORD = r"[A-Za-z][a-z]*(?:'[a-z]+)?"
_SENTENCE = re.compile(rf"[A-Z][a-z]*(?:,? {_WORD})* (?P<number>{PLAIN})(?: [a-z]{{2,}})*\.?")
_NOT_PLAIN = frozenset(
    "Minus minus Negative negative Rs hundred thousand million billion trillion percent per pct "
    "sqrt pi sin cos tan log ln exp".split()
)
"""Words that have a part in the number beside them."""
_BOX = re.compile(rf"\\boxed\{{({PLAIN})\}}")


def has_hints(text: str) -> bool:
    """Whether there may be the marker of an answer in the text."""
    lowered = text.lower()
    hints = _HINTS if lowered.isascii() else _HINTS + _OTHER_HINTS
    return any(map(lowered.__contains__, hints))


def plain_answer(text: str, tags: tuple[str, ...]) -> tuple[str, Span] | None:
    """How a plain number is given as the answer (`Extraction.method`), and its range; None where the ladder decides.

    `tags` are those that open the profile's blocks: a text that has one is not looked at.
    """
    for tag in tags:
        if tag in text and tag != "\\boxed{":
            return None
    if ends_turn(text):
        return None
    if "\\" in text and ("\\boxed" in text or "\\fbox" in text):
        return _boxed(text)
    end = len(text) if text[-1:] not in " \n" else len(text.rstrip(" \n"))
    begin = text.rfind("\n", 0, end) + 1
    match = _MARKED.fullmatch(text, begin, end)
    if match:
        hash_mark = text[begin] == "#"
        if (hash_mark and match["stop"]) or text.find("####", 0, begin) >= 0:
            return None
        return ("hash" if hash_mark else "answer-line"), match.span("number")
    return _in_sentence(text, begin, end)


def _boxed(text: str) -> tuple[str, Span] | None:
    """The number in the only box of the text."""
    at = text.rfind("\\boxed")
    match = _BOX.match(text, at) if at >= 0 and text.find("\\boxed") == at and "\\fbox" not in text else None
    return ("boxed", match.span(1)) if match else None


def _in_sentence(text: str, begin: int, end: int) -> tuple[str, Span] | None:
    """The only number of the last line, where that is one sentence of words and no line is marked as the answer."""
    if end - begin > MAX_SENTENCE:
        return None
    match = _SENTENCE.fullmatch(text, begin, end)
    if match is None or "####" in text or not _NOT_PLAIN.isdisjoint(text[begin:end].rstrip(".").split()):
        return None
    span = match.span("number")
    word = text[begin : span[0]].split()[-1]
    if len(word) > MAX_WORD or is_label(word) or is_counted(text, span[1]) or ASIDE.match(text, begin, end):
        return None
    if has_hints(text) and ANSWER_LINE.search(text):
        return None
    return "last-number", span
