"""Accuracy of the majority against the share of tokens sampled, for each rule, paired by question.

The honest comparison is the majority over fewer samples, which saves tokens without any rule: the accuracy at the same
share of tokens, each question's own interpolated between neighbouring numbers of samples. Beside it: no pruning, and
random pruning of as many traces of the same questions after the same shares of their lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tools_bench.savings.replay import at_random, by_agreement, by_confidence, by_step
from tools_bench.savings.samples import Stop, WholeTrace
from tools_shared.answers.voting import elected
from tools_shared.stats import Interval, bounded_difference, bounded_mean

QUANTILES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PROBABILITIES = (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6)
LOTS = 32
"""How often what is chosen at random is chosen again; each question's mean is taken."""

Question = Sequence[WholeTrace]
Replayed = Callable[[Question], list[Stop]]


@dataclass(frozen=True)
class Setting:
    """One setting of a rule. `share` of the tokens of all whole traces were sampled; differences are in accuracy, over
    questions: from no pruning, from the majority over fewer samples at this share, and from random pruning."""

    setting: str
    share: float
    stopped: float
    accuracy: Interval
    from_whole: Interval
    from_fewer: Interval
    from_random: Interval | None


@dataclass(frozen=True)
class Curves:
    """All rules, by name, with the baselines: `whole` is the majority over all samples, `fewer` over 1, 2, ... of
    them."""

    n_questions: int
    n_samples: int
    n_tokens: int
    whole: Interval
    fewer: list[Interval]
    rules: dict[str, list[Setting]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def draw_curves(questions: Sequence[Question], seed: int) -> Curves:
    """Every rule that the samples have what it needs for, at its settings."""
    fewer = np.array([_fewer(question, seed + i) for i, question in enumerate(questions)])
    rules = {
        name: [_point(setting, questions, replayed, fewer, seed) for setting, replayed in settings]
        for name, settings in _settings(questions)
    }
    n = range(len(questions))
    means = [bounded_mean(column.tolist(), n, seed=seed) for column in fewer.T]
    n_tokens = sum(sample.n_tokens for question in questions for sample in question)
    return Curves(len(questions), len(questions[0]), n_tokens, means[-1], means, rules)


def _settings(questions: Sequence[Question]) -> Iterable[tuple[str, list[tuple[str, Replayed]]]]:
    samples = [sample for question in questions for sample in question]
    if any(sample.steps for sample in samples):
        means = [sum(p for _, p in sample.steps) / len(sample.steps) for sample in samples if sample.steps]
        levels = [float(np.quantile(means, q)) for q in QUANTILES]
        yield "step", [(f"step:SCORER<{level:.4g}", _fixed(by_step, level)) for level in levels]
    if all(sample.confidence for sample in samples):
        percents = [100 * q for q in QUANTILES]
        yield "confidence", [(f"confidence:W<{p:g}%", _fixed(by_confidence, p)) for p in percents]
    yield "agree", [(f"agree:{p:g}", _fixed(by_agreement, p)) for p in PROBABILITIES]


def _fixed(rule: Callable[[Question, float], list[Stop]], value: float) -> Replayed:
    return lambda question: rule(question, value)


def _fewer(question: Question, seed: int) -> list[float]:
    """The accuracy of the majority over 1, 2, ... samples, each the mean of several choices of them."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(question)) for _ in range(LOTS)]
    return [
        float(
            np.mean([_vote([question[k] for k in order[:m]]) for order in orders[: 1 if m == len(question) else LOTS]])
        )
        for m in range(1, len(question) + 1)
    ]


def _vote(samples: Question) -> float:
    return elected([s.answer for s in samples], [s.is_right for s in samples], [1.0] * len(samples))


def _accuracy(question: Question, stops: Sequence[Stop]) -> float:
    return _vote([sample for sample, stop in zip(question, stops, strict=True) if not stop.is_stopped])


def _point(words: str, questions: Sequence[Question], replayed: Replayed, fewer: np.ndarray, seed: int) -> Setting:
    stops = [replayed(question) for question in questions]
    accuracy = np.array([_accuracy(q, s) for q, s in zip(questions, stops, strict=True)])
    whole = sum(sample.n_tokens for question in questions for sample in question)
    share = sum(stop.n_tokens for mine in stops for stop in mine) / whole
    stopped = float(np.mean([stop.is_stopped for mine in stops for stop in mine]))
    at = float(np.clip(share * fewer.shape[1], 1, fewer.shape[1]))
    low, n = int(np.floor(at)), range(len(questions))
    high = min(low + 1, fewer.shape[1])
    same = fewer[:, low - 1] + (at - low) * (fewer[:, high - 1] - fewer[:, low - 1])
    lots = _lots(questions, stops, seed) if not words.startswith("agree") else None

    def difference(other: np.ndarray) -> Interval:
        return bounded_difference((accuracy - other).tolist(), n, seed=seed)

    return Setting(
        words,
        share,
        stopped,
        bounded_mean(accuracy.tolist(), n, seed=seed),
        difference(fewer[:, -1]),
        difference(same),
        None if lots is None else difference(lots),
    )


def _lots(questions: Sequence[Question], stops: Sequence[Sequence[Stop]], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array(
        [
            np.mean([_accuracy(question, at_random(question, mine, rng)) for _ in range(LOTS)])
            for question, mine in zip(questions, stops, strict=True)
        ]
    )
