"""What a budget experiment found: for each way of training and number of rows, rates over seeds and questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools_bench.comparison.evaluations import METRICS, ScoredRun, refuse_other_questions
from tools_shared.errors import ToolError
from tools_shared.stats import Interval, crossed_difference, crossed_mean, paired_difference, wilson


@dataclass(frozen=True)
class Trained:
    """One evaluated run: how it was trained (its kind), on how many rows of those asked for, and with which seed."""

    way: str
    asked: int
    rows: int
    seed: int
    scored: ScoredRun


@dataclass(frozen=True)
class Point:
    """One way of training at one budget: rates over its seeds and all questions.

    `rates`, `gains` and `by_seed` are by metric; `gains` are the differences from the first way at the same budget,
    over the seeds that both have; None for the first way itself and where there is no such seed.
    """

    way: str
    asked: int
    rows: int
    seeds: tuple[int, ...]
    rates: dict[str, Interval]
    gains: dict[str, Interval] | None
    by_seed: dict[str, list[float]]


@dataclass(frozen=True)
class Budgets:
    """All points, by way and budget, on `n` questions; `start` are the rates of the model that all start from."""

    n: int
    confidence: float
    points: list[Point]
    start: dict[str, Interval] | None

    @property
    def ways(self) -> list[str]:
        return list(dict.fromkeys(point.way for point in self.points))

    def to_json(self) -> dict[str, Any]:
        start = self.start and {metric: interval_json(rate) for metric, rate in self.start.items()}
        points = [_point_json(point) for point in self.points]
        return {"n": self.n, "confidence": self.confidence, "start": start, "points": points}


def interval_json(interval: Interval) -> dict[str, Any]:
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high, "n": interval.n}


def _point_json(point: Point) -> dict[str, Any]:
    result: dict[str, Any] = {"way": point.way, "asked": point.asked, "rows": point.rows, "seeds": list(point.seeds)}
    for metric, rate in point.rates.items():
        result[metric] = interval_json(rate) | {"by_seed": point.by_seed[metric]}
    for metric, gain in (point.gains or {}).items():
        result[f"{metric}_difference"] = interval_json(gain)
    return result


def by_budget(trained: Sequence[Trained], start: ScoredRun | None = None, confidence: float = 0.95) -> Budgets:
    """Points in the order in which the ways were given, each way's by budget.

    Raises ToolError when a way has a seed twice at one budget, or the questions are not the same in all runs.
    """
    first = trained[0].scored
    for one in [*(t.scored for t in trained), *([start] if start else [])]:
        refuse_other_questions(first, one)
    groups: dict[tuple[str, int], dict[int, Trained]] = {}
    for one in trained:
        group = groups.setdefault((one.way, one.asked), {})
        if one.seed in group:
            raise ToolError(
                f"{one.scored.path} and {group[one.seed].scored.path}: both are {one.way} on {one.asked} rows with "
                f"seed {one.seed}; leave one out"
            )
        group[one.seed] = one
    ids = sorted(first.questions)
    ways = list(dict.fromkeys(way for way, _ in groups))
    order = sorted(groups, key=lambda key: (ways.index(key[0]), key[1]))
    points = [_point(groups[key], groups.get((ways[0], key[1])), ids, confidence) for key in order]
    rates = start and {m: wilson(sum(start.right[m].values()), len(ids), confidence) for m in METRICS}
    return Budgets(len(ids), confidence, points, rates)


def _point(group: dict[int, Trained], base: dict[int, Trained] | None, ids: Sequence[str], confidence: float) -> Point:
    right = {metric: _right(group, metric, ids) for metric in METRICS}
    one = next(iter(group.values()))
    gains = None
    if base is not group and (common := set(base or ()) & set(group)):
        ours, theirs = ({seed: runs[seed] for seed in common} for runs in (group, base))
        gains = {m: _gain(_right(theirs, m, ids), _right(ours, m, ids), confidence) for m in METRICS}
    return Point(
        one.way,
        one.asked,
        one.rows,
        tuple(sorted(group)),
        {metric: _rate(values, confidence) for metric, values in right.items()},
        gains,
        {metric: [sum(row) / len(row) for row in values] for metric, values in right.items()},
    )


def _right(group: dict[int, Trained], metric: str, ids: Sequence[str]) -> list[list[bool]]:
    """Whether each question (column) was right with each seed (row, in the order of the seeds)."""
    return [[group[seed].scored.right[metric][i] for i in ids] for seed in sorted(group)]


def _rate(right_S_Q: list[list[bool]], confidence: float) -> Interval:
    if len(right_S_Q) == 1:
        return wilson(sum(right_S_Q[0]), len(right_S_Q[0]), confidence)
    return crossed_mean(right_S_Q, confidence)


def _gain(base_S_Q: list[list[bool]], right_S_Q: list[list[bool]], confidence: float) -> Interval:
    if len(right_S_Q) == 1:
        d = paired_difference(base_S_Q[0], right_S_Q[0], confidence=confidence)
        return Interval(d.difference, d.low, d.high, d.n)
    return crossed_difference(base_S_Q, right_S_Q, confidence)
