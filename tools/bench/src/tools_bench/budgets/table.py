"""Accuracy by training rows as CSV, as Markdown and for the terminal."""

from __future__ import annotations

import io

from tools_bench.budgets.points import Budgets, Point
from tools_bench.comparison.tables import HEADINGS, markdown, show_rate, text
from tools_shared.files import csv_cells
from tools_shared.stats import Interval


def as_csv(budgets: Budgets) -> str:
    """One row a way and budget; rates and differences as fractions, the seeds' own rates with spaces between."""
    file = io.StringIO()
    writer = csv_cells.Writer(file, "\n")
    columns = ["way", "rows_asked", "rows", "seeds", "questions"]
    for metric in HEADINGS:
        columns += [metric, f"{metric}_low", f"{metric}_high", f"{metric}_by_seed"]
        columns += [f"{metric}_difference", f"{metric}_difference_low", f"{metric}_difference_high"]
    writer.row(columns)
    for point in budgets.points:
        row = [point.way, point.asked, point.rows, " ".join(map(str, point.seeds)), budgets.n]
        for metric in HEADINGS:
            row += [*_ends(point.rates[metric]), " ".join(f"{rate:.6g}" for rate in point.by_seed[metric])]
            row += _ends(point.gains[metric]) if point.gains else ["", "", ""]
        writer.row(row)
    return file.getvalue()


def _ends(interval: Interval) -> list[str]:
    return [f"{value:.6g}" for value in (interval.estimate, interval.low, interval.high)]


def as_markdown(budgets: Budgets) -> str:
    return markdown(cells(budgets), footnote(budgets))


def as_text(budgets: Budgets) -> str:
    return text(cells(budgets), footnote(budgets))


def cells(budgets: Budgets) -> list[list[str]]:
    """Heading, the model that all start from, and one row a way and budget."""
    first = budgets.ways[0]
    head = ["run", "rows"]
    for heading in HEADINGS.values():
        head += [f"{heading} accuracy", f"{heading} difference from {first}"]
    rows = [head]
    if budgets.start:
        rows.append(["(start)", "0", *(c for metric in HEADINGS for c in (show_rate(budgets.start[metric]), ""))])
    return rows + [_row(point, first) for point in budgets.points]


def _row(point: Point, first: str) -> list[str]:
    row = [point.way, str(point.rows) if point.rows == point.asked else f"{point.rows} of {point.asked}"]
    for metric in HEADINGS:
        row.append(show_rate(point.rates[metric]))
        row.append(_gain(point.gains[metric]) if point.gains else "baseline" if point.way == first else "")
    return row


def _gain(gain: Interval) -> str:
    return f"{100 * gain.estimate:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"


def footnote(budgets: Budgets) -> str:
    """How many questions and seeds, and what the intervals are over."""
    numbers = sorted({len(point.seeds) for point in budgets.points})
    seeds = f"{' or '.join(map(str, numbers))} seed{'s' if numbers[-1] > 1 else ''}"
    over = "questions and seeds" if numbers[0] > 1 else "questions, and over seeds where there are several"
    return (
        f"n = {budgets.n} questions, {seeds}; {100 * budgets.confidence:g} % intervals over {over}; differences in "
        "points, paired by question and seed, at the same number of rows. A seed draws the order of the rows and all "
        "that is sampled, not the rows: those are the first ones."
    )
