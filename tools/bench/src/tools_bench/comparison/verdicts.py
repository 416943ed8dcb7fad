"""Judging differences: each metric paired by item, all of them corrected together, each in its own direction.

A difference is called real only if Hommel's adjusted p-value over all metrics is at most alpha; so if two models are
the same, the chance that anything at all is called improved or regressed is at most alpha (simulated in
`tests/test_verdicts.py`). Metrics that a gate names were chosen beforehand: they are corrected among themselves, and
the others among themselves.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tools_bench.grading.metrics import metric_of
from tools_shared.config import nearest
from tools_shared.errors import ToolError
from tools_shared.stats import hommel, paired_difference, wilson

Name = Literal["improved", "regressed", "equivalent", "inconclusive", "described"]


class RegressionError(ToolError):
    """A gate has failed: a metric is worse by more than `--fail-on` allows."""

    exit_code = 4


@dataclass(frozen=True)
class MetricVerdict:
    """One metric of two runs, on the `n` items that both have. Rates are shares; `difference` is current minus
    baseline, whatever the direction. `minimum_detectable` is what this comparison finds with 80 % power at the
    strictest level that the correction may ask for; None where no item differs in a way that tells."""

    metric: str
    direction: int
    verdict: Name
    baseline: float
    current: float
    difference: float
    low: float
    high: float
    n: int
    p_value: float
    p_adjusted: float
    minimum_detectable: float | None
    only_baseline: int
    only_current: int
    method: str

    @property
    def worse_by(self) -> float:
        """Points by which the current run is worse; negative when it is better."""
        return -100 * self.difference * (self.direction or 1)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


Pairs = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def judge(pairs: Pairs, alpha: float = 0.05, margin: float = 2.0, gated: Collection[str] = ()) -> list[MetricVerdict]:
    """Verdicts for metrics given as (baseline values, current values), item by item. `margin` is in points; `gated`
    are the metrics that a gate names.

    Metrics without a direction are described and not tested. Raises ToolError when a bootstrap has fewer than 2 items.
    """
    return judge_all({"": pairs}, alpha, margin, gated)[""]


def judge_all(
    runs: Mapping[str, Pairs], alpha: float = 0.05, margin: float = 2.0, gated: Collection[str] = ()
) -> dict[str, list[MetricVerdict]]:
    """The verdicts of several runs against one baseline, by run: as `judge`, with the metrics of all runs corrected
    together, so that the chance of any false call among them is at most alpha."""
    found = {
        (run, name): paired_difference(a, b, confidence=1 - alpha)
        for run, pairs in runs.items()
        for name, (a, b) in pairs.items()
    }
    adjusted = _adjusted({key: d.p_value for key, d in found.items()}, gated)
    verdicts: dict[str, list[MetricVerdict]] = {run: [] for run in runs}
    for (run, name), d in found.items():
        a, b = runs[run][name]
        direction, (p_adjusted, n_tests) = metric_of(name).direction, adjusted.get((run, name), (1.0, 1))
        strict = paired_difference(a, b, confidence=1 - alpha / n_tests).mde
        values = (sum(a) / len(a), sum(b) / len(b), d.difference, d.low, d.high, d.n, d.p_value, p_adjusted, strict)
        verdict = name_of(d.difference, d.low, d.high, p_adjusted <= alpha, direction, margin / 100)
        verdicts[run].append(MetricVerdict(name, direction, verdict, *values, d.a_only, d.b_only, d.method))
    return verdicts


def _adjusted(
    p_values: Mapping[tuple[str, str], float], gated: Collection[str]
) -> dict[tuple[str, str], tuple[float, int]]:
    """For each (run, metric) with a direction its adjusted p-value, and among how many it was corrected."""
    tested = [key for key in p_values if metric_of(key[1]).direction]
    families = [[key for key in tested if (key[1] in gated) is named] for named in (True, False)]
    return {
        key: (p, len(family))
        for family in families
        for key, p in zip(family, hommel([p_values[key] for key in family]), strict=True)
    }


def name_of(difference: float, low: float, high: float, real: bool, direction: int, margin: float) -> Name:
    if direction == 0:
        return "described"
    if real and difference:
        return "improved" if difference * direction > 0 else "regressed"
    return "equivalent" if -margin <= low and high <= margin else "inconclusive"


def judge_aggregates(
    pairs: Mapping[str, tuple[float, int, float, int]],
    alpha: float = 0.05,
    margin: float = 2.0,
    gated: Collection[str] = (),
) -> list[MetricVerdict]:
    """Verdicts for metrics known only as rates: (baseline rate, its n, current rate, its n); unpaired and so weaker.

    The interval is Newcombe's hybrid score one (1998, Statistics in Medicine 17: 873, method 10), the test the
    two-proportion z test.
    """
    found = {name: _unpaired(*values, 1 - alpha) for name, values in pairs.items()}
    adjusted = _adjusted({("", name): one[3] for name, one in found.items()}, gated)
    verdicts = []
    for name, (a, n_a, b, n_b) in pairs.items():
        difference, low, high, p, detectable = found[name]
        direction, (p_adjusted, _) = metric_of(name).direction, adjusted.get(("", name), (1.0, 1))
        verdict = name_of(difference, low, high, p_adjusted <= alpha, direction, margin / 100)
        values = (a, b, difference, low, high, min(n_a, n_b), p, p_adjusted, detectable)
        verdicts.append(MetricVerdict(name, direction, verdict, *values, 0, 0, "unpaired: Newcombe interval, z test"))
    return verdicts


def _unpaired(a: float, n_a: int, b: float, n_b: int, confidence: float) -> tuple[float, float, float, float, float]:
    """Difference, interval, p-value and the difference found with 80 % power."""
    one, two = wilson(round(a * n_a), n_a, confidence), wilson(round(b * n_b), n_b, confidence)
    d = b - a
    low = d - math.hypot(b - two.low, one.high - a)
    high = d + math.hypot(two.high - b, a - one.low)
    pooled = (a * n_a + b * n_b) / (n_a + n_b)
    error = math.sqrt(max(pooled * (1 - pooled), 0.25 / (n_a + n_b)) * (1 / n_a + 1 / n_b))
    return d, low, high, math.erfc(abs(d) / error / math.sqrt(2)), 2.8 * error


def failed_gates(verdicts: Sequence[MetricVerdict], gates: Mapping[str, float]) -> list[str]:
    """A sentence for each gate that fails; raises ToolError for a metric that the comparison does not have."""
    by_name = {v.metric: v for v in verdicts}
    sentences = []
    for name, points in gates.items():
        if name not in by_name:
            raise ToolError(f"--fail-on {name}: not among the compared metrics{nearest(name, by_name)}")
        v = by_name[name]
        if v.verdict == "regressed" and v.worse_by > points:
            sentences.append(
                f"{name} is worse by {v.worse_by:.1f} points ({100 * v.baseline:.1f} to {100 * v.current:.1f} %, "
                f"p={v.p_adjusted:.2g}); allowed are {points:g}"
            )
    return sentences
