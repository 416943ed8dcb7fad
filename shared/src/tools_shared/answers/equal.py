"""Whether a given answer equals the gold one, and how that was decided.

Numbers are compared exactly, words by their letters, and what is left (roots, intervals, sets, matrices,
expressions) by math-verify in a process of its own. A number with decimals is that number and no other:
`0.333` is not `1/3`, and `1.414` is not the root of 2. math-verify's own conventions hold for the rest: the case of
a variable does not matter, `(2,3)` is a point and an interval, `y = 2x` is also `2x`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from tools_shared.answers.clean import clean
from tools_shared.answers.numbers import MAX_LENGTH, Number, OutOfBounds, literals, parse_clean, plain_number
from tools_shared.answers.structure import Parts, parts_of, sides_of


class Status(StrEnum):
    """`gold_invalid`: the gold answer itself cannot be read, so the given one cannot be judged."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSEABLE = "unparseable"
    GOLD_INVALID = "gold_invalid"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`method` is what decided: `exact`, `number`, `text`, `list`, `symbolic`, or `limit` (empty, or too large)."""

    status: Status
    method: str

    @property
    def correct(self) -> bool:
        return self.status is Status.CORRECT


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer read: a number, or words, or neither, and the parts of its list. `invalid`: empty, too long, or out of
    bounds."""

    text: str
    key: str
    parts: Parts
    number: Number | None = None
    words: bool = False
    invalid: bool = False

    @property
    def several(self) -> bool:
        return len(self.parts.texts) > 1


_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc log ln exp sqrt frac pi det gcd lcm max min arcsin arccos arctan".split()
)
_LETTERS = re.compile(r"[^\W\d_]+")
_CHOICE = re.compile(r"\(?([A-Za-z])\)?")
_LOOSE_BLANK = re.compile(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])")
_LATEX_NAME = re.compile(r"\\[A-Za-z]+")
_LISTED = re.compile(r"[,;]|(?<![_^0-9.])[0-9.]+ [0-9.]")
_CHOICE_WITH_TEXT = re.compile(r"(?:\(([A-E])\)|([A-E])[.:)])\s+\S")
_TIME = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9](?::[0-5][0-9])?)(?: ?([ap])(?:\.? ?m)?\.?)?", re.IGNORECASE)
_DIFFERENTIAL = re.compile("d[a-z]")
_BASE = re.compile(r"([0-9A-F]+)_\{?([0-9]{1,2})\}?")


_SAME_NUMBER = Verdict(Status.CORRECT, "number")
_OTHER_NUMBER = Verdict(Status.WRONG, "number")


def equal(gold: str, given: str) -> Verdict:
    """Judge `given` against `gold`.

    A gold answer that is one number is matched by one number, or by an expression that has its value
    (`2^5`, `\\sqrt{16}`); two different numbers (`18 or 20`, `3, 5`) are wrong. `12%` is both 12 and 0.12.
    Raises ToolError when a symbolic comparison is needed and math-verify is not installed; nothing else.
    """
    verdict = _decide(gold, given)
    return _symbolic(gold, given) if verdict is None else verdict


def equal_many(pairs: Iterable[tuple[str, str]], threads: int = 4) -> list[Verdict]:
    """`equal` of each (gold, given), in order; symbolic comparisons run side by side in `threads` processes."""
    pairs = list(pairs)
    verdicts = [_decide(gold, given) for gold, given in pairs]
    open_rows = [i for i, verdict in enumerate(verdicts) if verdict is None]
    if open_rows:
        with ThreadPoolExecutor(threads) as executor:
            for i, verdict in zip(open_rows, executor.map(lambda i: _symbolic(*pairs[i]), open_rows), strict=True):
                verdicts[i] = verdict
    return [verdict for verdict in verdicts if verdict is not None]


def _decide(gold: str, given: str) -> Verdict | None:
    """The verdict where no algebra is needed, else None."""
    plain = plain_number(gold)
    if plain is not None and (other := plain_number(given)) is not None:
        return _SAME_NUMBER if plain == other else _OTHER_NUMBER
    if len(gold) > MAX_LENGTH:
        return Verdict(Status.GOLD_INVALID, "limit")
    if len(given) > MAX_LENGTH:
        return Verdict(Status.UNPARSEABLE, "limit")
    want = _read(gold)
    if want.invalid:
        return Verdict(Status.GOLD_INVALID, "limit")
    if gold == given:
        return Verdict(Status.CORRECT, "exact")
    have = _read(given)
    if have.invalid:
        return Verdict(Status.UNPARSEABLE, "limit")
    return _without_algebra(want, have)


def _without_algebra(want: _Answer, have: _Answer) -> Verdict | None:
    """The verdict on two answers that were read, or None where their parts have to be compared."""
    if want.number and have.number:
        return _SAME_NUMBER if want.number.same(have.number) else _OTHER_NUMBER
    if _same_key(want.key, have.key) and not _labels_differ(want, have):
        return Verdict(Status.CORRECT, "text")
    if want.several or have.several:
        return _different_lists(want, have)
    if want.number:
        return _against_number(have)
    if want.words:
        return Verdict(Status.WRONG, "text")
    if have.words:
        return Verdict(Status.UNPARSEABLE, "text")
    if any(pattern.fullmatch(answer.key) for pattern in (_BASE, _TIME) for answer in (want, have)):
        return Verdict(Status.WRONG, "text")
    return None


def _same_key(want: str, have: str) -> bool:
    """Whether two keys are alike; a time of day may leave out which half of the day it is in."""
    short, long = sorted((want, have), key=len)
    return want == have or (long in (f"{short}a", f"{short}p") and ":" in short)


def _labels_differ(want: _Answer, have: _Answer) -> bool:
    """Whether two single answers are for different variables, as `x = 5` and `y = 5`."""
    labels = (*want.parts.labels, *have.parts.labels)
    return len(labels) == 2 and all(label and len(label) == 1 for label in labels) and labels[0] != labels[1]


def _different_lists(want: _Answer, have: _Answer) -> Verdict | None:
    """Lists that cannot be equal, because they are not equally long, or a set and a point; None where they could be."""
    set_and_point = (want.parts.braced or have.parts.braced) and not (want.several and have.several)
    if _length(want) == _length(have) and not set_and_point:
        return None
    if want.number and any(_is_words(part) for part in have.parts.texts):
        return Verdict(Status.UNPARSEABLE, "number")
    return Verdict(Status.WRONG, "number" if want.number else "list")


def _length(answer: _Answer) -> int:
    """How many parts; a point counts as many as it has coordinates, when it is alone."""
    if answer.several or answer.number:
        return len(answer.parts.texts)
    return len(_coordinates(answer.parts.texts[0]) or answer.parts.texts)


def _against_number(have: _Answer) -> Verdict | None:
    """A given answer that is not a number, where one is wanted: several numbers, words, or an expression (None)."""
    several = len(literals(have.text)) > 1
    plain = _LATEX_NAME.sub(" ", have.parts.texts[0])
    wordy = any(
        len(w) > 1 and w.lower() not in _FUNCTIONS and not _DIFFERENTIAL.fullmatch(w) for w in _LETTERS.findall(plain)
    )
    if several and (wordy or _LISTED.search(plain)):
        return Verdict(Status.WRONG, "number")
    unfinished = "<<" in have.text and not any(sign in have.text for sign in (">>", "="))  # `$<<41.47+8`
    if unfinished or wordy or have.words or _BASE.fullmatch(have.key) or _TIME.fullmatch(have.key):
        return Verdict(Status.UNPARSEABLE, "number")
    return None


@lru_cache(maxsize=4096)
def _read(answer: str) -> _Answer:
    text = clean(answer)
    parts = Parts((text,), (None,))
    try:
        number = parse_clean(text)
        if number is None and text:
            parts = parts_of(text)
            if len(parts.texts) == 1 and parts.texts[0] != text:
                number = parse_clean(parts.texts[0])
                number = number and Number(number.value, number.percent, parts.labels[0])
    except OutOfBounds:
        return _Answer(text, text, parts, invalid=True)
    words = all(map(_is_words, parts.texts))
    alone = parts.texts[0] if len(parts.texts) == 1 else text
    return _Answer(text, _key(alone, words), parts, number, words, invalid=not text)


def _is_words(text: str) -> bool:
    """Whether the answer is words or a choice letter, to be compared by its letters: `Evelyn`, `(C)`, `east`."""
    if any(c in text for c in "\\^_={}<>+*/|$"):
        return False
    found = _LETTERS.findall(text)
    if any(w.lower() in _FUNCTIONS for w in found):
        return False
    choice = _CHOICE.fullmatch(text)
    if choice:
        return text != choice[1] or choice[1] in "ABCDE"
    return text.lower() in ("no", "am", "pm") or any(len(w) > 2 for w in found)


def _key(text: str, words: bool) -> str:
    """What two answers share that are written alike: blanks that separate nothing are left out; for words, case too."""
    choice = _CHOICE.fullmatch(text)
    if choice and (text != choice[1] or choice[1].upper() in "ABCDE"):
        return choice[1].upper()
    choice = _CHOICE_WITH_TEXT.match(text)
    if choice:
        return choice[1] or choice[2]
    time = _TIME.fullmatch(text)
    if time:
        return f"{time[1].lstrip('0') or '0'}:{time[2]}{(time[3] or '').lower()}"
    if words:
        return " ".join(text.casefold().split())
    base = _BASE.fullmatch(text.replace(" ", ""))
    return f"{base[1]}_{base[2]}" if base else _LOOSE_BLANK.sub("", text)


def _symbolic(gold: str, given: str) -> Verdict:
    want, have = _read(gold), _read(given)
    if want.several or have.several:
        return Verdict(_same_lists(want, have), "list")
    return Verdict(_same_part(want, have), "symbolic")


def _same_lists(want: _Answer, have: _Answer) -> Status:
    """Part by part: in order where labels or a point say which is which, else in any order."""
    one, other = _parts_in_order(want), _parts_in_order(have)
    by_label = want.parts.ordered and have.parts.ordered and set(want.parts.labels) == set(have.parts.labels)
    if by_label:
        other = [other[have.parts.labels.index(label)] for label in want.parts.labels]
    ordered = want.parts.ordered or have.parts.ordered or not (want.several and have.several)
    left = [_read(text) for text in other]
    for part in map(_read, one):
        found = next((i for i in range(1 if ordered else len(left)) if _same_pair(part, left[i])), None)
        if found is None:
            return Status.WRONG
        del left[found]
    return Status.CORRECT


def _parts_in_order(answer: _Answer) -> list[str]:
    return list(answer.parts.texts) if answer.several else _coordinates(answer.parts.texts[0])


def _coordinates(text: str) -> list[str]:
    """The coordinates of a point, or nothing where the text is none."""
    if text.startswith("(") and text.endswith(")") and not any(bracket in text[1:-1] for bracket in "()"):
        parts = parts_of(text[1:-1])
        return list(parts.texts) if len(parts.texts) > 1 else []
    return []


def _same_pair(want: _Answer, have: _Answer) -> bool:
    if want.invalid or have.invalid or want.several or have.several:
        return want.key == have.key
    verdict = _without_algebra(want, have)
    return verdict.correct if verdict else _same_part(want, have) is Status.CORRECT


def _same_part(want: _Answer, have: _Answer) -> Status:
    """Two single answers by algebra. An equation with variables is compared as one with another, by its value with a
    value: `12 + 6 = 18` is 18 if all its sides are, and `20 = 18` is not."""
    (label,), (text,) = want.parts.labels, want.parts.texts
    (other_label,), (other_text,) = have.parts.labels, have.parts.texts
    one, other = sides_of(text), sides_of(other_text)
    if _labels_differ(want, have):
        values = [_read(sides[-1]).number for sides in (one, other)]
        return Status.WRONG if all(values) else _algebra(_read(want.text), _read(have.text))
    if len(one) > 1 and len(other) > 1:
        return _algebra(want, have)
    if (len(one) > 1 and other_label) or (len(other) > 1 and label):
        return _algebra(want, have)
    for sides in (one, other):
        if len(sides) > 1 and _LETTERS.search(_LATEX_NAME.sub("", sides[0])):
            del sides[0]  # 2x + z = 1 says that 2x + z is 1
            if sides[-1] == "0":
                return Status.WRONG
    for a in one:
        for b in other:
            status = _same_side(_read(a), _read(b))
            if status is not Status.CORRECT:
                return status
    return Status.CORRECT


def _same_side(want: _Answer, have: _Answer) -> Status:
    if want.number and have.number:
        return Status.CORRECT if want.number.same(have.number) else Status.WRONG
    return _algebra(want, have)


def _algebra(want: _Answer, have: _Answer) -> Status:
    from tools_shared.answers.symbolic import compare

    return Status(compare(_for_algebra(want), _for_algebra(have)))


def _for_algebra(answer: _Answer) -> str:
    """LaTeX for math-verify; a number goes as an exact fraction, so that it is never rounded."""
    if answer.number is None or answer.number.percent:
        return answer.text.replace("%", "\\%").replace("$", "")
    value = answer.number.value
    return str(value) if value.denominator == 1 else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
