"""Benchmark runs judged against a baseline, and what that means for the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tools_bench.comparison.stored_runs import Side, flips, mismatches, pair, pair_aggregates
from tools_bench.comparison.verdicts import MetricVerdict, RegressionError, failed_gates, judge_aggregates, judge_all
from tools_bench.config import VerdictConfig
from tools_shared.errors import ToolError


@dataclass(frozen=True)
class BenchComparison:
    """Two runs judged: verdicts by metric, what differs in how they were made, flips, and gates that failed."""

    baseline: Side
    current: Side
    verdicts: list[MetricVerdict]
    mismatch: list[str]
    warnings: list[str]
    flips: list[dict[str, Any]]
    failures: list[str]
    alpha: float
    margin: float

    def to_json(self) -> dict[str, Any]:
        def those(name: str) -> dict[str, Any]:
            return {
                v.metric: {"baseline": v.baseline, "current": v.current, "change": v.difference}
                for v in self.verdicts
                if v.verdict == name
            }

        return {
            "baseline": self.baseline.name,
            "current": self.current.name,
            "improvements": those("improved"),
            "regressions": those("regressed"),
            "equivalent": those("equivalent"),
            "inconclusive": those("inconclusive"),
            "metrics": {v.metric: v.to_json() for v in self.verdicts},
            "alpha": self.alpha,
            "margin_points": self.margin,
            "mismatch": self.mismatch,
            "warnings": self.warnings,
            "failed_gates": self.failures,
            "n_flips": len(self.flips),
        }


def compare_all(baseline: Side, others: Sequence[Side], config: VerdictConfig) -> list[BenchComparison]:
    """Judge runs against one baseline, all metrics of all runs corrected together. Raises ToolError when two are not
    alike and `allow_mismatch` is off."""
    baseline, *others = _named_apart([baseline, *others])
    differs = [_differences(baseline, current, config.allow_mismatch) for current in others]
    if baseline.graded is None:
        judged, warnings = _by_aggregates(baseline, others, config)
    else:
        pairs = {current.name: pair(baseline, current) for current in others}
        judged = judge_all(pairs, config.alpha, config.margin, config.gates())
        warnings = {current.name: _other_graders(baseline, current) for current in others}
    return [
        BenchComparison(
            baseline,
            current,
            judged[current.name],
            mismatch,
            warnings[current.name],
            flips(baseline, current) if baseline.graded is not None else [],
            failed_gates(judged[current.name], config.gates()),
            config.alpha,
            config.margin,
        )
        for current, mismatch in zip(others, differs, strict=True)
    ]


def _named_apart(sides: Sequence[Side]) -> list[Side]:
    """With the names of their models, or of their folders where two models are called alike; raises ToolError when
    those are alike too."""
    names = [side.name for side in sides]
    if len(sides) == 2 or len(set(names)) == len(names):
        return list(sides)
    folders = [side.path.resolve().name for side in sides]
    if twice := next((name for name in folders if folders.count(name) > 1), None):
        raise ToolError(f"two runs are called '{twice}'; rename a folder")
    return [replace(side, name=name) for side, name in zip(sides, folders, strict=True)]


def _differences(baseline: Side, current: Side, allow_mismatch: bool) -> list[str]:
    """What differs in how two runs were made; raises ToolError unless that is allowed."""
    if current.graded is None:
        raise ToolError(f"{current.path}: contains aggregates only, so it can be a baseline but not the current run")
    differs = mismatches(baseline, current) if baseline.graded is not None else []
    refuse_unlike(baseline.name, current.name, differs, allow_mismatch)
    return differs


def refuse_unlike(baseline: str, current: str, differs: Sequence[str], allow_mismatch: bool) -> None:
    """Raise ToolError for two runs that differ in how they were, or will be, made, unless that is allowed."""
    if differs and not allow_mismatch:
        more = f" (and {len(differs) - 3} more)" if len(differs) > 3 else ""
        raise ToolError(
            f"{baseline} and {current} are not alike: {'; '.join(differs[:3])}{more}; "
            "run both in the same way (a tutor's API is --api chat), or pass --allow-mismatch"
        )


def _other_graders(baseline: Side, current: Side) -> list[str]:
    if baseline.results["grader"] == current.results["grader"]:
        return []
    return ["the runs were graded by different versions; both were graded again by this one"]


def _by_aggregates(
    baseline: Side, others: Sequence[Side], config: VerdictConfig
) -> tuple[dict[str, list[MetricVerdict]], dict[str, list[str]]]:
    """Verdicts where the baseline is in the old format; alpha is shared equally between the runs."""
    judged, warnings = {}, {}
    for current in others:
        pairs, warnings[current.name] = pair_aggregates(baseline, current)
        judged[current.name] = judge_aggregates(pairs, config.alpha / len(others), config.margin, config.gates())
    return judged, warnings


def settle(comparisons: Sequence[BenchComparison]) -> None:
    """Raise RegressionError (exit 4) when a gate has failed."""
    failed = [
        f"{c.current.name}: {sentence}" if len(comparisons) > 1 else sentence
        for c in comparisons
        for sentence in c.failures
    ]
    if failed:
        raise RegressionError("regression: " + "; ".join(failed))


def count_verdicts(comparisons: Sequence[BenchComparison]) -> dict[str, int]:
    """For the manifest: how many metrics went where."""
    names = [v.verdict for c in comparisons for v in c.verdicts]
    return {name: names.count(name) for name in ("improved", "regressed", "equivalent", "inconclusive")}
