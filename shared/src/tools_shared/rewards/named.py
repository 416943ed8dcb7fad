"""The rewards that have names: what each gives for one completion. The table is in the package's docstring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from tools_shared.answers import Judgement, OutOfBounds, Status, judge, parse_number
from tools_shared.prompts import Profile
from tools_shared.prompts.blocks import BOXED, said
from tools_shared.rewards.inputs import Completion, Sample, read_samples

DEFAULT_LENGTH_LIMIT = 1024

Scores = list[float | None]


@dataclass(frozen=True)
class Reward:
    """A reward with the weight that it has in the sum. Calls share nothing, so threads may call one instance.

    `is_verifiable`: the gold answer alone decides it, so that what the reward check finds odd is a fault. `is_slow`:
    each call waits for another program; completions are handed to it a group at a time, while others are sampled.
    """

    name: str
    weight: float

    is_verifiable: ClassVar[bool] = False
    is_slow: ClassVar[bool] = False

    @property
    def needs_answer(self) -> bool:
        """Whether each row has to have a gold answer."""
        return False

    @property
    def has_budget(self) -> bool:
        """Whether what it may cost is limited."""
        return False

    @property
    def is_relative(self) -> bool:
        """Whether a completion is compared with the others of its group, so that one alone has no score."""
        return False

    def check_row(self, columns: Mapping[str, Any]) -> None:
        """Raise UnusableError, naming the column, for a row without what this reward wants."""

    @property
    def __name__(self) -> str:
        return self.name

    def inputs(self) -> list[tuple[str, str, str]]:
        """What it is made from: name, address and sha256 of each, for a run's manifest."""
        return []

    def attach(self, folder: Path) -> None:
        """Keep in a run's folder what a resumed run has to know."""

    def spent(self) -> dict[str, float]:
        """What it has cost since this was asked the last time; empty for what costs nothing."""
        return {}

    def share(self, n: int, spent: Mapping[str, float]) -> None:
        """Be one of `n` workers, of which a budget is divided; `spent` is what all have cost before."""

    def add_spent(self, spent: Mapping[str, float]) -> None:
        """Count what it has cost in a worker (see `spent` and `share`)."""

    def total(self) -> dict[str, float]:
        """What it has cost in all."""
        return {}

    def signs(self) -> dict[str, float]:
        """What its latest scores go with, beside what they should."""
        return {}

    def first_batch(self, arguments: Mapping[str, Any]) -> list[str]:
        """What is to be said of a first batch that has been scored; `arguments` are those of `__call__`."""
        return []

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> Scores:
        """A score for each completion, in order."""
        raise NotImplementedError


@dataclass(frozen=True)
class NamedReward(Reward):
    """One of ours: `score` is a function of this module, so that instances can be pickled."""

    profile: Profile
    score: Callable[[Sample, NamedReward], float | None]
    length_limit: int = DEFAULT_LENGTH_LIMIT

    is_verifiable: ClassVar[bool] = True

    @property
    def needs_answer(self) -> bool:
        return self.score in _OF_ANSWERS

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> Scores:
        samples = read_samples(self.name, completions, columns, self.needs_answer)
        return [self.score(sample, self) for sample in samples]


def _judged(sample: Sample, reward: NamedReward) -> Judgement:
    return judge(sample.text, sample.gold, reward.profile, opened=sample.opened, lenient=False)


def _correct(sample: Sample, reward: NamedReward) -> float | None:
    judged = _judged(sample, reward)
    return None if judged.gold_invalid else float(judged.correct)


def _verified(sample: Sample, reward: NamedReward) -> float | None:
    judged = _judged(sample, reward)
    return None if judged.gold_invalid else float(judged.correct and judged.well_formed)


def _well_formed(sample: Sample, profile: Profile) -> bool:
    return profile.parse(sample.text, sample.opened).well_formed


def _format(sample: Sample, reward: NamedReward) -> float:
    return float(_well_formed(sample, reward.profile))


def _length(sample: Sample, reward: NamedReward) -> float:
    return -min(1.0, sample.n_tokens / reward.length_limit)


def _tiered_format(sample: Sample, reward: NamedReward) -> float:
    return 3.0 * _well_formed(sample, reward.profile)


def _tiered_tags(sample: Sample, reward: NamedReward) -> float:
    """A thinking tag that the prompt opened counts as one occurrence; of a box only the opening can be counted."""
    thinking, answer = reward.profile.think or (), reward.profile.answer
    text = said(sample.text, (*thinking, *answer))
    if sample.opened and thinking:
        text = thinking[0] + text
    return sum(
        0.5 if text.count(tag) == 1 else -1.0 for tag in (*thinking, *(answer[:1] if answer == BOXED else answer))
    )


def _tiered_answer(sample: Sample, reward: NamedReward) -> float | None:
    """Several answers are as good as none: else one could try again until one is right."""
    judged = _judged(sample, reward)
    if judged.gold_invalid:
        return None
    if judged.strict.answer is None or _answered_twice(sample, reward.profile):
        return -2.0
    if judged.correct:
        return 5.0
    gold, given = _value(sample.gold), _value(judged.strict.answer)
    if gold is not None and given is not None:
        return _by_distance(gold, given)
    return -2.5 if judged.strict_verdict is not None and judged.strict_verdict.status is Status.WRONG else -4.5


def _answered_twice(sample: Sample, profile: Profile) -> bool:
    return profile.parse(sample.text, sample.opened).n_blocks > 1


def _by_distance(gold: Fraction, given: Fraction) -> float:
    distance = abs(given - gold)
    if distance * 10 <= abs(gold):
        return 2.0
    return 1.5 if distance * 5 <= abs(gold) else -2.5


def _value(text: str) -> Fraction | None:
    try:
        number = parse_number(text)
    except OutOfBounds:
        return None
    return number.value if number else None


SCORES: dict[str, Callable[[Sample, NamedReward], float | None]] = {
    "verified": _verified,
    "correct": _correct,
    "format": _format,
    "length": _length,
    "tiered-format": _tiered_format,
    "tiered-tags": _tiered_tags,
    "tiered-answer": _tiered_answer,
}
_OF_ANSWERS = (_verified, _correct, _tiered_answer)
PRESETS = {"gsm8k-tiered": ("tiered-format", "tiered-tags", "tiered-answer")}
