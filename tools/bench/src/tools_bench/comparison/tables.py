"""A comparison as a table, for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from tools_bench.comparison.evaluations import Comparison, Line
from tools_shared.stats import Interval, PairedDifference

HEADINGS = {"accuracy": "strict", "accuracy_lenient": "lenient"}


def cells(comparison: Comparison, costs: Mapping[str, str]) -> list[list[str]]:
    """Heading and one row a run; `costs` are what each took with its ancestors, by name."""
    head = ["run"]
    for heading in HEADINGS.values():
        head += [f"{heading} accuracy", f"{heading} difference from {comparison.baseline}"]
    head.append("cost with ancestors")
    return [head, *(_row(line, costs.get(line.name, "unknown")) for line in comparison.lines)]


def _row(line: Line, cost: str) -> list[str]:
    row = [line.name]
    for metric in HEADINGS:
        row.append(show_rate(line.rates[metric]))
        row.append(_difference(line.differences[metric], line.p_holm[metric]) if line.differences else "baseline")
    return [*row, cost]


def show_rate(rate: Interval) -> str:
    return f"{100 * rate.estimate:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _difference(d: PairedDifference, p_holm: float) -> str:
    p = f"p={p_holm:.2g}" if p_holm >= 0.001 else "p<0.001"
    return f"{100 * d.difference:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}] {p}"


def footnote(comparison: Comparison) -> str:
    detectable = [line.differences["accuracy"].mde for line in comparison.lines if line.differences]
    found = [d for d in detectable if d is not None]
    power = f"; differences of {100 * max(found):.1f} points would be found with 80 % power" if found else ""
    return (
        f"n = {comparison.n} questions; {100 * comparison.confidence:g} % intervals (rates: Wilson; differences: "
        f"paired, in points, Tango); p: exact McNemar test, Holm-adjusted{power}"
    )


def as_text(comparison: Comparison, costs: Mapping[str, str], together: str) -> str:
    """`together` is what all runs cost, ancestors that they share counted once."""
    return text(cells(comparison, costs), f"{footnote(comparison)}\n{together}")


def as_markdown(comparison: Comparison, costs: Mapping[str, str], together: str) -> str:
    return markdown(cells(comparison, costs), f"{footnote(comparison)}\n\n{together}")


def text(rows: list[list[str]], below: str) -> str:
    """Aligned columns, the first row their headings, and a line below."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", below, ""])


def markdown(rows: list[list[str]], below: str) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- " * len(rows[0]) + "|")
    return "\n".join([*lines, "", below, ""])
