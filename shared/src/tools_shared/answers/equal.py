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
from tools_shared.answers.numbers import MAX_LENGTH, Number, OutOfBounds, literals, parse_clean, simple_integer


class Status(StrEnum):
    """`gold_invalid`: the gold answer itself cannot be read, so the given one cannot be judged."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSEABLE = "unparseable"
    GOLD_INVALID = "gold_invalid"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`method` is what decided: `exact`, `number`, `text`, `symbolic`, or `limit` (too long, too large, empty)."""

    status: Status
    method: str

    @property
    def correct(self) -> bool:
        return self.status is Status.CORRECT


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer read: a number, or words, or neither. `invalid`: empty, too long, or out of bounds."""

    text: str
    key: str
    number: Number | None = None
    words: bool = False
    invalid: bool = False


_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc log ln exp sqrt frac pi det gcd lcm max min arcsin arccos arctan".split()
)
_LETTERS = re.compile(r"[^\W\d_]+")
_CHOICE = re.compile(r"\(?([A-Za-z])\)?")
_LOOSE_BLANK = re.compile(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])")
_LATEX_NAME = re.compile(r"\\[A-Za-z]+")
_LISTED = re.compile(r"[,;]|[0-9.] [0-9.]")
_EQUALS = re.compile(r"(?<![<>!=\\])=")
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
    quick_gold, quick_given = simple_integer(gold), simple_integer(given)
    if quick_gold is not None and quick_given is not None:
        return _SAME_NUMBER if quick_gold == quick_given else _OTHER_NUMBER
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
    if want.number and have.number:
        return _SAME_NUMBER if want.number.same(have.number) else _OTHER_NUMBER
    if want.key == have.key:
        return Verdict(Status.CORRECT, "text")
    if want.number:
        return _against_number(have)
    if want.words:
        return Verdict(Status.WRONG, "text")
    if have.words:
        return Verdict(Status.UNPARSEABLE, "text")
    if _BASE.fullmatch(want.key):
        return Verdict(Status.WRONG, "text")
    return None


def _against_number(have: _Answer) -> Verdict | None:
    """A given answer that is not a number, where one is wanted: several numbers, words, or an expression (None)."""
    several = len(literals(have.text)) > 1
    plain = _LATEX_NAME.sub(" ", have.text)
    wordy = any(len(w) > 1 and w.lower() not in _FUNCTIONS for w in _LETTERS.findall(plain))
    if several and (wordy or _LISTED.search(plain)):
        return Verdict(Status.WRONG, "number")
    if wordy or have.words or _BASE.fullmatch(have.key):
        return Verdict(Status.UNPARSEABLE, "number")
    return None


@lru_cache(maxsize=4096)
def _read(answer: str) -> _Answer:
    text = clean(answer)
    try:
        number = parse_clean(text)
    except OutOfBounds:
        return _Answer(text, text, invalid=True)
    words = _is_words(text)
    return _Answer(text, _key(text, words), number, words, invalid=not text)


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
    if words:
        return " ".join(text.casefold().split())
    base = _BASE.fullmatch(text.replace(" ", ""))
    return f"{base[1]}_{base[2]}" if base else _LOOSE_BLANK.sub("", text)


def _symbolic(gold: str, given: str) -> Verdict:
    """By algebra. Unless an equation is wanted, each side of a given one has to be the answer: a chain such as
    `12 + 6 = 18` is 18, while `20 = 18` is not."""
    from tools_shared.answers.symbolic import compare

    want, have = _read(gold), _read(given)
    for side in map(_read, [have.text] if "=" in want.text else _sides(have.text)):
        if want.number and side.number:
            status = Status.CORRECT if want.number.same(side.number) else Status.WRONG
        else:
            status = Status(compare(_for_algebra(want), _for_algebra(side)))
        if status is not Status.CORRECT:
            return Verdict(status, "symbolic")
    return Verdict(Status.CORRECT, "symbolic")


def _sides(text: str) -> list[str]:
    """The sides of an equation, without what it may define first: `x = 2 + 3` and `f(x) = 2 + 3` are `2 + 3`."""
    first, *others = (side.strip() for side in _EQUALS.split(text))
    defines = others and _LETTERS.search(_LATEX_NAME.sub("", first)) and not first[0].isdigit()
    return others if defines else [first, *others]


def _for_algebra(answer: _Answer) -> str:
    """LaTeX for math-verify; a number goes as an exact fraction, so that it is never rounded."""
    if answer.number is None or answer.number.percent:
        return answer.text.replace("%", "\\%").replace("$", "")
    value = answer.number.value
    return str(value) if value.denominator == 1 else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
