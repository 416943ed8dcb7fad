"""What a metric is: one object that carries all that is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tools_bench.grading.detectors.agreement import Agreement
from tools_bench.grading.replies import MeasuredReply
from tools_bench.requests.item import Item


def _always(item: Item) -> bool:
    return True


def _once(item: Item) -> int:
    return 1


@dataclass(frozen=True)
class Metric:
    """`direction` +1: higher is better, -1: lower, 0: neither, only described.

    `value` is that of a reply, as a number or truth, None where nothing can be said; `applies` whether the metric says
    anything about an item. `on_error` says what a failed request counts as: the worst value, or nothing (the metric
    is then over the answered items). `of_gold`: it compares with the gold answer, and is over the items whose gold
    answer can be read. `weight` is how often an item counts (once for each of its instructions, say). `judged_as` is
    the judge's word for the same, `agreement` what was measured against people's labels. `decides`: a reply that is
    worst by it is shown as a bad example.
    """

    name: str
    kind: str
    direction: int
    what: str
    value: Callable[[MeasuredReply], float | None] | None = None
    on_error: Literal["worst", "left out"] = "worst"
    of_gold: bool = False
    weight: Callable[[Item], int] = _once
    applies: Callable[[Item], bool] = _always
    judged_as: str | None = None
    agreement: Agreement | None = None
    decides: bool = False

    @property
    def has_one_weight(self) -> bool:
        """Whether every item counts once."""
        return self.weight is _once

    @property
    def worst(self) -> float:
        return 0.0 if self.direction >= 0 else 1.0
