"""Does a tutor's reply give the answer away?

With a known answer: it occurs as a number (or a word) in a sentence that is not a question. Without one: such a
sentence brings a number that nobody has mentioned yet, or asserts ("actually", "called a").
"""

from __future__ import annotations

import re

from tools_bench.grading.detectors.text import LONGEST, is_question, numbers, sentences

_ASSERTS = re.compile(r"\bactually\b|\bcalled an?\b", re.IGNORECASE)
_FRACTION = re.compile(r"[0-9]+/[0-9]+")


def reveals_answer(reply: str, gold: str | None, context: str = "") -> bool:
    """`context` is what had been said before (question, student's attempt); it is used where `gold` is None."""
    said = [s for s in sentences(reply) if not is_question(s)]
    if gold is None:
        known = numbers(context)
        return any(_ASSERTS.search(s) or numbers(s) - known for s in said)
    if _FRACTION.fullmatch(gold.strip()):
        return any(gold.strip() in _FRACTION.findall(s) for s in said)
    wanted = numbers(gold)
    if wanted:
        return any(wanted & numbers(s) for s in said)
    word = gold.strip().casefold()
    return bool(word) and any(f" {word} " in _spaced(s) for s in said)


def _spaced(sentence: str) -> str:
    return " " + re.sub(r"\W+", " ", sentence[:LONGEST].casefold()) + " "
