"""All that an evaluation found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tools_scorer.evaluation.power import Power
from tools_scorer.evaluation.replay import ReplayPoint
from tools_scorer.evaluation.selection import Selection
from tools_shared.stats import Interval

FRACTIONS = tuple(i / 10 for i in range(1, 11))
"""Shares of a trace after which it is judged."""


@dataclass(frozen=True)
class AtPosition:
    """Within-question AUROC of the mean over the steps up to a place, and how many traces have one by then."""

    place: float
    within: Interval | None
    n_traces: int


@dataclass(frozen=True)
class Compared:
    """A baseline: both AUROCs, and by how much the scorer is better within a question (paired)."""

    name: str
    what: str
    pooled: Interval
    within: Interval | None
    difference: Interval | None


@dataclass(frozen=True)
class StepAurocs:
    """Where the data label steps: AUROC of the steps' probabilities, over all of them and within a trace."""

    pooled: Interval
    within: Interval | None


@dataclass(frozen=True)
class Results:
    """All that is reported. Curves are pairs of lists."""

    split: str
    aggregate: str
    n_traces: int
    n_questions: int
    n_groups: int
    n_mixed: int
    share_right: float
    pooled: Interval
    within: Interval | None
    average_precision: float
    brier: float
    calibration: dict[str, float]
    by_fraction: list[AtPosition]
    by_tokens: list[AtPosition]
    compared: list[Compared]
    power: Power
    steps: StepAurocs | None
    selected: list[Selection]
    stopped: list[ReplayPoint]
    dropped: list[ReplayPoint]
    dropped_by_lot: list[ReplayPoint]
    curves: dict[str, Any]
