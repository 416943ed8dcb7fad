"""Judge a completion: evaluation, rewards, traces and benchmarks all call this module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from tools_shared.answers.equal import Status, Verdict, equal, equal_many
from tools_shared.answers.extract import Extraction, extract, in_tags
from tools_shared.answers.numbers import OutOfBounds, parse_number
from tools_shared.prompts import Profile


@dataclass(frozen=True, slots=True)
class Case:
    """A completion with its gold answer.

    `opened`: the prompt has already written the opening thinking tag. `truncated`: the completion was cut at its
    longest length (`finish_reason` "length").
    """

    text: str
    gold: str
    opened: bool = False
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a completion is worth.

    `strict` is the answer inside the profile's tags, `lenient` the answer anywhere; each verdict is None where there is
    no such answer. `gold_invalid`: the gold answer cannot be read, so neither answer is right or wrong, whatever the
    completion says. A completion that was cut has no lenient answer outside tags and boxes: the number at which it
    was cut is no answer.
    """

    thinking: str | None
    well_formed: bool
    truncated: bool
    gold_invalid: bool
    strict: Extraction
    lenient: Extraction
    strict_verdict: Verdict | None
    lenient_verdict: Verdict | None

    @property
    def correct(self) -> bool:
        return _is_correct(self.strict_verdict)

    @property
    def lenient_correct(self) -> bool:
        return _is_correct(self.lenient_verdict)

    @property
    def outcome(self) -> str:
        """By the lenient answer, the first that holds: `gold_invalid`, `correct`, `truncated`, `no_answer`, `wrong`."""
        if self.gold_invalid:
            return Status.GOLD_INVALID.value
        if self.lenient_correct:
            return "correct"
        if self.truncated:
            return "truncated"
        return "no_answer" if self.lenient.answer is None else "wrong"


def judge(
    text: str, gold: str, profile: Profile, *, opened: bool = False, truncated: bool = False, lenient: bool = True
) -> Judgement:
    """Judge one completion. Without `lenient` nothing outside the profile's tags is looked for.

    Raises ToolError when a symbolic comparison is needed and math-verify is not installed; nothing else.
    """
    (judgement,) = judge_many([Case(text, gold, opened, truncated)], profile, lenient=lenient)
    return judgement


def judge_many(cases: Iterable[Case], profile: Profile, *, lenient: bool = True, threads: int = 4) -> list[Judgement]:
    """`judge` of each case, in order; each pair of answers is compared once, symbolic ones in `threads` processes."""
    taken = [_Taken.of(case, profile, lenient) for case in cases]
    pairs = list({pair: None for t in taken for pair in t.pairs()})
    verdicts = dict(zip(pairs, equal_many(pairs, threads), strict=True))
    return [t.judgement(verdicts) for t in taken]


def answer_anywhere(text: str, profile: Profile, *, opened: bool = False, truncated: bool = False) -> Extraction:
    """The lenient answer: in the tags, else wherever the final answer is; what it is worth is not looked at."""
    return extract(text, profile, opened=opened, lenient=True, truncated=truncated)


@lru_cache(maxsize=4096)
def readable(gold: str) -> bool:
    """Whether a gold answer can be compared with a plain number; raises ToolError as `judge` does."""
    return equal(gold, "0").status is not Status.GOLD_INVALID


@dataclass(frozen=True, slots=True)
class _Taken:
    """A completion taken apart and not yet compared."""

    case: Case
    thinking: str | None
    well_formed: bool
    strict: Extraction
    lenient: Extraction

    @classmethod
    def of(cls, case: Case, profile: Profile, lenient: bool) -> _Taken:
        parsed = profile.parse(case.text, case.opened)
        strict = in_tags(case.text, profile, parsed)
        if not lenient or strict.answer is not None:
            anywhere = strict
        else:
            anywhere = answer_anywhere(case.text, profile, opened=case.opened, truncated=case.truncated)
        return cls(case, parsed.thinking, parsed.well_formed, strict, anywhere)

    def pairs(self) -> list[tuple[str, str]]:
        gold = self.case.gold
        return [(gold, answer) for found in (self.strict, self.lenient) for answer in _readings(gold, found)]

    def judgement(self, verdicts: Mapping[tuple[str, str], Verdict]) -> Judgement:
        invalid = not readable(self.case.gold)
        strict, lenient = (
            _verdict([verdicts[self.case.gold, reading] for reading in _readings(self.case.gold, found)], invalid)
            for found in (self.strict, self.lenient)
        )
        return Judgement(
            self.thinking,
            self.well_formed,
            self.case.truncated,
            invalid,
            self.strict,
            self.lenient,
            strict,
            lenient,
        )


def _readings(gold: str, found: Extraction) -> list[str]:
    """What is compared with the gold answer: where that is one number, the answer; else first the whole that it was
    taken from, as in `Room 12` for `Room 12`."""
    if found.answer is None:
        return []
    if found.whole in (None, found.answer) or _is_number(gold):
        return [found.answer]
    return [found.answer, found.whole]


def _verdict(verdicts: list[Verdict], gold_invalid: bool) -> Verdict | None:
    if not verdicts:
        return None
    if gold_invalid:
        return Verdict(Status.GOLD_INVALID, "limit")
    return next((verdict for verdict in verdicts if verdict.correct), verdicts[0])


def _is_correct(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.correct


@lru_cache(maxsize=4096)
def _is_number(text: str) -> bool:
    try:
        return parse_number(text) is not None
    except OutOfBounds:
        return True
