"""Choosing one answer of several: equal answers count as one, and ties are broken at random."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tools_shared.answers import equal


def number_answers(answers: Sequence[str | None]) -> list[int | None]:
    """Each answer's number from 0, equal ones alike; None where there is none.

    An answer is compared with the first of each number, so that what a group is does not drift.
    """
    firsts: list[str] = []
    numbers: dict[str, int] = {}
    for answer in answers:
        if answer is None or answer in numbers:
            continue
        same = next((i for i, first in enumerate(firsts) if equal(first, answer).correct), None)
        numbers[answer] = len(firsts) if same is None else same
        if same is None:
            firsts.append(answer)
    return [None if answer is None else numbers[answer] for answer in answers]


def elected(numbers: Sequence[int | None], right: Sequence[bool], weights: Sequence[float]) -> float:
    """The chance that the answer with the largest sum of weights is right; 0 when nothing was answered.

    Weights of 1 make it the majority. Whether a number is right is what its first holder is.
    """
    totals: dict[int, float] = {}
    correct: dict[int, bool] = {}
    for number, is_right, weight in zip(numbers, right, weights, strict=True):
        if number is not None:
            totals[number] = totals.get(number, 0.0) + weight
            correct.setdefault(number, is_right)
    if not totals:
        return 0.0
    top = max(totals.values())
    winners = [number for number, total in totals.items() if math.isclose(total, top, rel_tol=1e-9)]
    return sum(correct[number] for number in winners) / len(winners)


def best_scored(numbers: Sequence[int | None], right: Sequence[bool], scores: Sequence[float]) -> float:
    """The chance that the one with the highest score is right, among those that give an answer."""
    answered = [
        (score, is_right) for number, is_right, score in zip(numbers, right, scores, strict=True) if number is not None
    ]
    if not answered:
        return 0.0
    top = max(score for score, _ in answered)
    tied = [is_right for score, is_right in answered if score == top]
    return sum(tied) / len(tied)
