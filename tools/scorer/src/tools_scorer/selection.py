"""Which answer to take of k traces: any right (pass@k), the majority, a vote weighted by score, the best-scored.

Each number is the mean over random subsets of k of a question's traces, so all use the same traces and differ in the
rule alone. Ties are drawn by lot: a tied answer counts by its share.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools_scorer.judged import Judged
from tools_shared.scoring import Aggregate
from tools_shared.stats import Interval, bootstrap_mean, pass_at_k

N_SUBSETS = 64
RULES = ("majority", "weighted vote", "best of k")

Chosen = Sequence[tuple[Judged, float]]
"""Traces with their scores."""


@dataclass(frozen=True)
class Selection:
    """The rules at one k, over the questions that have k traces. `gain` is a rule's paired difference to majority."""

    k: int
    rates: dict[str, Interval]
    gain: dict[str, Interval]


def selections(
    questions: Sequence[Sequence[Judged]], aggregate: Aggregate, max_k: int, seed: int, n_resamples: int
) -> list[Selection]:
    """Selection at k = 1, 2, 4, ... and the most that half of the questions have. Needs two groups at each k."""
    sizes = sorted((len(q) for q in questions), reverse=True)
    most = min(max_k, sizes[len(sizes) // 2])
    ks = sorted({k for k in (1, 2, 4, 8, 16, 32, 64, most) if k <= most})
    found = [_at(k, questions, aggregate, seed, n_resamples) for k in ks]
    return [selection for selection in found if selection is not None]


def _at(
    k: int, questions: Sequence[Sequence[Judged]], aggregate: Aggregate, seed: int, n_resamples: int
) -> Selection | None:
    enough = [q for q in questions if len(q) >= k]
    clusters = [q[0].info.group for q in enough]
    if len(set(clusters)) < 2:
        return None
    values: dict[str, list[float]] = {f"pass@{k}": [pass_at_k(len(q), sum(t.right for t in q), k) for q in enough]}
    for rule in RULES:
        values[rule] = []
    for question in enough:
        scored = [(t, getattr(t.score, aggregate)) for t in question]
        chances = _mean_over_subsets(scored, k, seed)
        for rule, chance in zip(RULES, chances, strict=True):
            values[rule].append(chance)

    def interval(numbers: Sequence[float]) -> Interval:
        return bootstrap_mean(numbers, clusters, n_resamples=n_resamples, seed=seed)

    gain = {
        rule: interval([a - b for a, b in zip(values[rule], values["majority"], strict=True)]) for rule in RULES[1:]
    }
    return Selection(k, {("pass@k" if n.startswith("pass") else n): interval(v) for n, v in values.items()}, gain)


def _mean_over_subsets(scored: Chosen, k: int, seed: int) -> list[float]:
    import numpy as np

    n = len(scored)
    if math.comb(n, k) <= N_SUBSETS:
        subsets = list(itertools.combinations(range(n), k))
    else:
        rng = np.random.default_rng([seed, n, k])
        subsets = [tuple(rng.choice(n, k, replace=False)) for _ in range(N_SUBSETS)]
    totals = [0.0] * len(RULES)
    for subset in subsets:
        part = [scored[i] for i in subset]
        totals = [t + chance for t, chance in zip(totals, (majority(part), vote(part), best(part)), strict=True)]
    return [total / len(subsets) for total in totals]


def majority(scored: Chosen) -> float:
    """The chance that the most frequent answer is right."""
    return _elected(scored, lambda score: 1.0)


def vote(scored: Chosen) -> float:
    """The chance that the answer with the largest sum of scores is right."""
    return _elected(scored, lambda score: score)


def _elected(scored: Chosen, weight: Callable[[float], float]) -> float:
    totals: dict[int, float] = {}
    right: dict[int, bool] = {}
    for trace, score in scored:
        if trace.answer is not None:
            totals[trace.answer] = totals.get(trace.answer, 0.0) + weight(score)
            right.setdefault(trace.answer, trace.right)
    if not totals:
        return 0.0
    top = max(totals.values())
    winners = [answer for answer, total in totals.items() if math.isclose(total, top, rel_tol=1e-9)]
    return sum(right[answer] for answer in winners) / len(winners)


def best(scored: Chosen) -> float:
    """The chance that the trace with the highest score is right, among those that give an answer."""
    answered = [(score, trace.right) for trace, score in scored if trace.answer is not None]
    if not answered:
        return 0.0
    top = max(score for score, _ in answered)
    tied = [right for score, right in answered if score == top]
    return sum(tied) / len(tied)
