"""Which answer to take of k traces: any right (pass@k), the majority, a vote weighted by score, the best-scored.

Each number is the mean over random subsets of k of a question's traces, so all use the same traces and differ in the
rule alone. Ties are drawn by lot: a tied answer counts by its share.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tools_scorer.evaluation.judged import JudgedTrace
from tools_shared.answers.voting import best_scored, elected
from tools_shared.scorers.scorer import Aggregate
from tools_shared.stats import Interval, bounded_difference, bounded_mean, pass_at_k

N_SUBSETS = 64
RULES = ("majority", "weighted vote", "best of k")

Chosen = Sequence[tuple[JudgedTrace, float]]
"""Traces with their scores."""


@dataclass(frozen=True)
class Selection:
    """The rules at one k, over the questions that have k traces. `gain` is a rule's paired difference to majority."""

    k: int
    rates: dict[str, Interval]
    gain: dict[str, Interval]


def selections(
    questions: Sequence[Sequence[JudgedTrace]], aggregate: Aggregate, max_k: int, seed: int, n_resamples: int
) -> list[Selection]:
    """Selection at k = 1, 2, 4, ... and the most that half of the questions have. Needs two groups at each k."""
    sizes = sorted((len(q) for q in questions), reverse=True)
    most = min(max_k, sizes[len(sizes) // 2])
    ks = sorted({k for k in (1, 2, 4, 8, 16, 32, 64, most) if k <= most})
    found = [_at(k, questions, aggregate, seed, n_resamples) for k in ks]
    return [selection for selection in found if selection is not None]


def _at(
    k: int, questions: Sequence[Sequence[JudgedTrace]], aggregate: Aggregate, seed: int, n_resamples: int
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

    options = {"n_resamples": n_resamples, "seed": seed}
    gain = {
        rule: bounded_difference(
            [a - b for a, b in zip(values[rule], values["majority"], strict=True)], clusters, **options
        )
        for rule in RULES[1:]
    }
    rates = {name: bounded_mean(found, clusters, **options) for name, found in values.items()}
    return Selection(k, {("pass@k" if n.startswith("pass") else n): rate for n, rate in rates.items()}, gain)


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
    return elected(*_answers(scored), [1.0] * len(scored))


def vote(scored: Chosen) -> float:
    """The chance that the answer with the largest sum of scores is right."""
    return elected(*_answers(scored), [score for _, score in scored])


def best(scored: Chosen) -> float:
    """The chance that the trace with the highest score is right, among those that give an answer."""
    return best_scored(*_answers(scored), [score for _, score in scored])


def _answers(scored: Chosen) -> tuple[list[int | None], list[bool]]:
    return [trace.answer for trace, _ in scored], [trace.right for trace, _ in scored]
