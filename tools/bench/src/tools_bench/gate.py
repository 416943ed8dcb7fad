"""A comparison of two benchmark runs: made, written down, and turned into an exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from tools_bench.config import VerdictConfig
from tools_bench.sides import Side, flips, mismatches, pair, pair_aggregates, read_side
from tools_bench.verdicts import RegressionError, Verdict, failed_gates, judge, judge_aggregates
from tools_shared.cli import say
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, write_json, write_jsonl


@dataclass(frozen=True)
class BenchComparison:
    """Two runs judged: verdicts by metric, what differs in how they were made, flips, and gates that failed."""

    baseline: Side
    current: Side
    verdicts: list[Verdict]
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


def compare_sides(baseline: Side, current: Side, config: VerdictConfig) -> BenchComparison:
    """Judge two runs. Raises ToolError when they are not alike and `allow_mismatch` is off."""
    if current.graded is None:
        raise ToolError(f"{current.path}: holds aggregates only, it can be a baseline but not the current run")
    differs: list[str] = []
    warnings: list[str] = []
    if baseline.graded is None:
        pairs, warnings = pair_aggregates(baseline, current)
        verdicts = judge_aggregates(pairs, config.alpha, config.margin)
        changed = []
    else:
        differs = mismatches(baseline, current)
        if differs and not config.allow_mismatch:
            more = f" (and {len(differs) - 3} more)" if len(differs) > 3 else ""
            raise ToolError(
                f"{baseline.name} and {current.name} are not alike: {'; '.join(differs[:3])}{more}; "
                "run both in the same way, or pass --allow-mismatch"
            )
        if baseline.results["grader"] != current.results["grader"]:
            warnings.append("the runs were graded by different versions; both were graded again by this one")
        verdicts = judge(pair(baseline, current), config.alpha, config.margin)
        changed = flips(baseline, current)
    failures = failed_gates(verdicts, config.gates())
    options = (config.alpha, config.margin)
    return BenchComparison(baseline, current, verdicts, differs, warnings, changed, failures, *options)


def compare_with(baseline: str, folder: Path, config: VerdictConfig) -> None:
    """`run --compare`: compare a finished run with a baseline and write the result beside it; see `settle`."""
    comparison = compare_sides(read_side(baseline), read_side(folder), config)
    write_comparison(folder, comparison)
    say(as_text(comparison))
    settle(comparison)


def settle(comparison: BenchComparison) -> None:
    """Raise RegressionError (exit 4) when a gate has failed."""
    if comparison.failures:
        raise RegressionError("regression: " + "; ".join(comparison.failures))


def write_comparison(folder: Path, comparison: BenchComparison) -> None:
    write_json(folder / "comparison.json", comparison.to_json())
    write_jsonl(folder / "flips.jsonl", comparison.flips)
    with atomic_write(folder / "comparison.txt") as file:
        file.write(as_text(comparison))
    with atomic_write(folder / "junit.xml", "wb") as file:
        file.write(as_junit(comparison))


def as_text(comparison: BenchComparison) -> str:
    """The table that a person reads, and what it rests on."""
    rows = [["metric", "baseline", "current", "difference", "interval", "p (Holm)", "detectable", "verdict"]]
    rows += [_cells(v) for v in comparison.verdicts]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    sizes = sorted({v.n for v in comparison.verdicts})
    n = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
    foot = [
        f"baseline {comparison.baseline.name}, current {comparison.current.name}; n = {n} items; differences in "
        f"points, {100 * (1 - comparison.alpha):g} % intervals; a metric is called improved or regressed at p (Holm) "
        f"<= {comparison.alpha:g}, equivalent when its interval lies within {comparison.margin:g} points",
        f"{len(comparison.flips)} flips of the headline metrics (flips.jsonl)",
        *(f"differs: {sentence}" for sentence in comparison.mismatch),
        *(f"warning: {sentence}" for sentence in comparison.warnings),
    ]
    return "\n".join([*table, "", *foot]) + "\n"


def _cells(v: Verdict) -> list[str]:
    arrow = {1: "", -1: " (lower is better)", 0: " (described only)"}[v.direction]
    p = "" if v.direction == 0 else "<0.001" if v.p_holm < 0.001 else f"{v.p_holm:.3f}"
    found = "-" if v.minimum_detectable is None else f"{100 * v.minimum_detectable:.1f}"
    return [
        v.metric + arrow, f"{100 * v.baseline:.1f} %", f"{100 * v.current:.1f} %", f"{100 * v.difference:+.1f}",
        f"[{100 * v.low:+.1f}, {100 * v.high:+.1f}]", p, found, v.verdict,
    ]  # fmt: skip


def as_junit(comparison: BenchComparison) -> bytes:
    """JUnit XML: a test case a metric; those whose gate has failed are failures."""
    suite = Xml.Element(
        "testsuite",
        name=f"tools-bench: {comparison.current.name} against {comparison.baseline.name}",
        tests=str(len(comparison.verdicts)),
        failures=str(len(comparison.failures)),
    )
    failed = {sentence.split(" ", 1)[0]: sentence for sentence in comparison.failures}
    for v in comparison.verdicts:
        case = Xml.SubElement(suite, "testcase", classname="tools-bench", name=f"{v.metric}: {v.verdict}")
        if v.metric in failed:
            Xml.SubElement(case, "failure", message=failed[v.metric]).text = failed[v.metric]
        Xml.SubElement(case, "system-out").text = " ".join(_cells(v))
    return Xml.tostring(suite, encoding="utf-8", xml_declaration=True)


def only_two(runs: Sequence[str]) -> tuple[str, str]:
    if len(runs) != 2:
        raise ToolError(f"benchmark runs are compared two at a time, got {len(runs)}; tools-bench report shows many")
    return runs[0], runs[1]


def headline_of(comparison: BenchComparison) -> Mapping[str, Any]:
    """For the manifest: how many metrics went where."""
    names = [v.verdict for v in comparison.verdicts]
    return {name: names.count(name) for name in ("improved", "regressed", "equivalent", "inconclusive")}
