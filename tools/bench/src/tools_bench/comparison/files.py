"""What a comparison of benchmark runs leaves behind: JSON, a table, a chart, the flips, and JUnit XML for CI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml

from tools_bench.comparison.lineage_cost import cost_behind
from tools_bench.comparison.regressions import BenchComparison
from tools_bench.comparison.verdict_chart import draw_verdicts
from tools_bench.comparison.verdicts import MetricVerdict
from tools_shared.files import atomic_write, write_json, write_jsonl
from tools_shared.runs.read import MANIFEST

FILES = ("comparison.json", "flips.jsonl", "comparison.txt", "junit.xml", "comparison.png")


def write_comparisons(
    files: Mapping[str, Path], comparisons: Sequence[BenchComparison], title: str | None = None
) -> None:
    """Write the FILES where `files` says.

    `comparison.json` is that of the pair where two runs are compared; of more, it holds one under each name.
    """
    found = {c.current.name: c.to_json() for c in comparisons}
    baseline = comparisons[0].baseline.name
    write_json(
        files["comparison.json"],
        comparisons[0].to_json() if len(comparisons) == 1 else {"baseline": baseline, "runs": found},
    )
    write_jsonl(files["flips.jsonl"], ({"run": c.current.name, **flip} for c in comparisons for flip in c.flips))
    with atomic_write(files["comparison.txt"]) as file:
        file.write(describe(comparisons))
    with atomic_write(files["junit.xml"], "wb") as file:
        file.write(as_junit(comparisons))
    verdicts = {c.current.name: c.verdicts for c in comparisons}
    draw_verdicts(verdicts, baseline, comparisons[0].margin, files["comparison.png"], title)


def describe(comparisons: Sequence[BenchComparison]) -> str:
    """The tables that a person reads, one for each run."""
    return "\n".join(as_text(comparison) for comparison in comparisons)


def as_text(comparison: BenchComparison) -> str:
    """The table that a person reads, and what it rests on."""
    rows = [["metric", "baseline", "current", "difference", "interval", "p (adjusted)", "detectable", "verdict"]]
    rows += [_cells(v) for v in comparison.verdicts]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    sides = (comparison.baseline, comparison.current)
    sizes = sorted({v.n for v in comparison.verdicts})
    n = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
    foot = [
        f"baseline {comparison.baseline.name}, current {comparison.current.name}; n = {n} items; differences in "
        f"points, {100 * (1 - comparison.alpha):g} % intervals; a metric is called improved or regressed at p "
        f"(adjusted) <= {comparison.alpha:g}, equivalent when its interval lies within {comparison.margin:g} points",
        f"{len(comparison.flips)} flips of the headline metrics (flips.jsonl)",
        *(f"cost of {one.name} with its ancestors: {cost_behind([one.path])}" for one in sides if _is_run(one.path)),
        *(f"differs: {sentence}" for sentence in comparison.mismatch),
        *(f"warning: {sentence}" for sentence in comparison.warnings),
    ]
    return "\n".join([*table, "", *foot]) + "\n"


def _is_run(path: Path) -> bool:
    return (path / MANIFEST).is_file()


def _cells(v: MetricVerdict) -> list[str]:
    arrow = {1: "", -1: " (lower is better)", 0: " (described only)"}[v.direction]
    p = "" if v.direction == 0 else "<0.001" if v.p_adjusted < 0.001 else f"{v.p_adjusted:.3f}"
    found = "-" if v.minimum_detectable is None else f"{100 * v.minimum_detectable:.1f}"
    return [
        v.metric + arrow, f"{100 * v.baseline:.1f} %", f"{100 * v.current:.1f} %", f"{100 * v.difference:+.1f}",
        f"[{100 * v.low:+.1f}, {100 * v.high:+.1f}]", p, found, v.verdict,
    ]  # fmt: skip


def as_junit(comparisons: Sequence[BenchComparison]) -> bytes:
    """JUnit XML: a suite a run, a test case a metric; those whose gate has failed are failures."""
    suites = [_suite(comparison) for comparison in comparisons]
    if len(suites) == 1:
        return Xml.tostring(suites[0], encoding="utf-8", xml_declaration=True)
    root = Xml.Element("testsuites")
    root.extend(suites)
    return Xml.tostring(root, encoding="utf-8", xml_declaration=True)


def _suite(comparison: BenchComparison) -> Xml.Element:
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
    return suite
