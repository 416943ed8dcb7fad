"""The rewards that have names: what each gives for one completion. The table is in the package's docstring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tools_shared.answers import OutOfBounds, Status, equal, extract, parse_number
from tools_shared.errors import ToolError
from tools_shared.prompts import BOXED, Profile

DEFAULT_LENGTH_LIMIT = 1024

Completion = str | Sequence[dict[str, str]]
Scores = list[float | None]


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion to be scored. `opened`: the prompt wrote the opening thinking tag. `n_tokens` is its length."""

    text: str
    gold: str
    opened: bool
    n_tokens: int


@dataclass(frozen=True)
class Reward:
    """A reward with the weight that it has in the sum. Calls share nothing, so threads may call one instance."""

    name: str
    weight: float

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> Scores:
        """A score for each completion, in order."""
        raise NotImplementedError


@dataclass(frozen=True)
class NamedReward(Reward):
    """One of ours: `score` is a function of this module, so that instances can be pickled."""

    profile: Profile
    score: Callable[[Sample, NamedReward], float | None]
    length_limit: int = DEFAULT_LENGTH_LIMIT

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> Scores:
        return [self.score(sample, self) for sample in _samples(self.name, completions, columns)]


def completion_text(completion: Completion) -> str:
    """The text of a completion that is a string, or the assistant's turns of one that is a list of chat messages."""
    if isinstance(completion, str):
        return completion
    return "".join(m["content"] for m in completion if m["role"] == "assistant")


def _samples(name: str, completions: Sequence[Completion], columns: dict[str, Any]) -> list[Sample]:
    if "answer" not in columns:
        raise ToolError(f"the reward '{name}' needs the gold answers in a column 'answer', got {sorted(columns)}")
    texts = [completion_text(completion) for completion in completions]
    opened = columns.get("opens_thinking") or [False] * len(texts)
    token_ids = columns.get("completion_ids")
    n_tokens = [len(ids) for ids in token_ids] if token_ids is not None else [len(text.split()) for text in texts]
    return [Sample(*row) for row in zip(texts, columns["answer"], opened, n_tokens, strict=True)]


def _well_formed(sample: Sample, profile: Profile) -> bool:
    return profile.parse(sample.text, sample.opened).well_formed


def _correct(sample: Sample, reward: NamedReward) -> float | None:
    answer = extract(sample.text, reward.profile, opened=sample.opened).answer
    status = equal(sample.gold, answer or "").status
    return None if status is Status.GOLD_INVALID else float(status is Status.CORRECT)


def _verified(sample: Sample, reward: NamedReward) -> float | None:
    correct = _correct(sample, reward)
    return correct if not correct or _well_formed(sample, reward.profile) else 0.0


def _format(sample: Sample, reward: NamedReward) -> float:
    return float(_well_formed(sample, reward.profile))


def _length(sample: Sample, reward: NamedReward) -> float:
    return -min(1.0, sample.n_tokens / reward.length_limit)


def _tiered_format(sample: Sample, reward: NamedReward) -> float:
    return 3.0 * _well_formed(sample, reward.profile)


def _tiered_tags(sample: Sample, reward: NamedReward) -> float:
    """A thinking tag that the prompt opened counts as one occurrence; of a box only the opening can be counted."""
    thinking, answer = reward.profile.think or (), reward.profile.answer
    text = reward.profile.think[0] + sample.text if sample.opened and reward.profile.think else sample.text
    return sum(
        0.5 if text.count(tag) == 1 else -1.0 for tag in (*thinking, *(answer[:1] if answer == BOXED else answer))
    )


def _tiered_answer(sample: Sample, reward: NamedReward) -> float | None:
    answer = extract(sample.text, reward.profile, opened=sample.opened).answer
    status = equal(sample.gold, answer or "").status
    if status is Status.GOLD_INVALID:
        return None
    if answer is None:
        return -2.0
    if status is Status.CORRECT:
        return 5.0
    gold, given = _value(sample.gold), _value(answer)
    if gold is not None and given is not None:
        return _by_distance(gold, given)
    return -2.5 if status is Status.WRONG else -4.5


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
PRESETS = {"gsm8k-tiered": ("tiered-format", "tiered-tags", "tiered-answer")}
