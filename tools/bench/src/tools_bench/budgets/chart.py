"""Accuracy against the number of training rows, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tools_bench.budgets.points import Budgets, Point

PANELS = {"accuracy": "strict: inside the tags", "accuracy_lenient": "lenient: anywhere"}
COLOURS = ("#1f5a96", "#d1662b", "#3d8f5f", "#8a5ba8", "#7a7a7a")
MARKERS = "osD^v"


def draw(budgets: Budgets, path: Path, title: str | None = None) -> None:
    """Write a PNG: a panel for strict and one for lenient accuracy, in each a line a way of training.

    Bars are the intervals, dots beside them the seeds, the dotted line the model that all start from.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.7), dpi=150, sharey=True, layout="constrained")
    for axes, (metric, heading) in zip(panels, PANELS.items(), strict=True):
        for i, way in enumerate(budgets.ways):
            shift = 1 + 0.035 * (i - (len(budgets.ways) - 1) / 2)
            _line(axes, [p for p in budgets.points if p.way == way], metric, shift, i)
        if budgets.start:
            axes.axhline(
                100 * budgets.start[metric].estimate, color="#555555", linewidth=1, linestyle=":", label="start"
            )
        _dress(axes, sorted({point.rows for point in budgets.points}), heading)
    panels[0].set_ylabel("accuracy (%)")
    panels[0].legend(frameon=False, fontsize=8, loc="best")
    figure.suptitle(title or _title(budgets), fontsize=10)
    # No timestamp inside, so that the same runs give the same bytes.
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def _line(axes: Any, points: list[Point], metric: str, shift: float, i: int) -> None:
    """Each way a little beside the others, so that bars at the same budget do not hide each other."""
    colour = COLOURS[i % len(COLOURS)]
    rates = [point.rates[metric] for point in points]
    places = [point.rows * shift for point in points]
    heights = [100 * rate.estimate for rate in rates]
    errors = [[100 * (r.estimate - r.low) for r in rates], [100 * (r.high - r.estimate) for r in rates]]
    style = {"color": colour, "marker": MARKERS[i % len(MARKERS)], "markersize": 5, "linewidth": 1.6, "capsize": 3}
    axes.errorbar(places, heights, yerr=errors, label=points[0].way, elinewidth=1, **style)
    for place, point in zip(places, points, strict=True):
        if len(point.seeds) > 1:
            axes.plot(
                [place] * len(point.seeds), [100 * r for r in point.by_seed[metric]], "_", color=colour, alpha=0.6
            )


def _dress(axes: Any, rows: list[int], heading: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(rows, [str(n) for n in rows])
    axes.minorticks_off()
    axes.set_xlabel("training rows")
    axes.set_title(heading, fontsize=9)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _title(budgets: Budgets) -> str:
    seeds = max(len(point.seeds) for point in budgets.points)
    repeated = f", {seeds} seeds" if seeds > 1 else ""
    over = " over questions and seeds" if seeds > 1 else ""
    return f"n = {budgets.n} questions{repeated}; {100 * budgets.confidence:g} % intervals{over}"
