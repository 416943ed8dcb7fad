"""Benchmark runs against their baseline as a picture: each difference with its interval, better to the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tools_bench.comparison.verdicts import MetricVerdict
from tools_bench.grading.metrics import metric_of

COLOURS = {"improved": "#1a7f37", "regressed": "#c0362c", "equivalent": "#57606a", "inconclusive": "#9a6700"}
MARKERS = "osD^vP*X"


def draw_verdicts(
    runs: Mapping[str, Sequence[MetricVerdict]], baseline: str, margin: float, path: Path, title: str | None = None
) -> None:
    """Write a PNG: a row a metric that has a direction, a mark a run, coloured by its verdict; `margin` in points.

    Where less is better the sign is turned, so that right is always better.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(v.metric for verdicts in runs.values() for v in verdicts if v.direction))
    height = 1.6 + len(names) * (0.22 + 0.16 * len(runs))
    figure, axes = plt.subplots(figsize=(7.5, height), dpi=200, layout="constrained")
    axes.axvspan(-margin, margin, color="#d0d7de", alpha=0.4, linewidth=0)
    axes.axvline(0, color="#57606a", linewidth=0.8)
    for number, verdicts in enumerate(runs.values()):
        offset = 0.5 * ((number + 0.5) / len(runs) - 0.5)
        for v in (v for v in verdicts if v.direction):
            _mark(axes, v, names.index(v.metric) + offset, MARKERS[number % len(MARKERS)])
    labels = [f"{name} (less is better)" if metric_of(name).direction < 0 else name for name in names]
    axes.set_yticks(range(len(names)), labels, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(f"points better than {baseline} (grey: within the margin of {margin:g})", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title or f"{', '.join(runs)} against {baseline}", fontsize=10)
    _add_legend(axes, runs)
    # No timestamp inside, so that the same comparison gives the same bytes.
    figure.savefig(path, format="png", metadata={"Software": None})
    plt.close(figure)


def _mark(axes, v: MetricVerdict, height: float, marker: str) -> None:
    low, middle, high = sorted(100 * v.direction * d for d in (v.low, v.difference, v.high))
    whiskers = [[middle - low], [high - middle]]
    style = {"color": COLOURS[v.verdict], "markersize": 4, "linewidth": 1, "capsize": 2}
    axes.errorbar(middle, height, xerr=whiskers, fmt=marker, **style)


def _add_legend(axes, runs: Mapping[str, Sequence[MetricVerdict]]) -> None:
    """What the colours mean, and which mark is which run where there are several."""
    from matplotlib.lines import Line2D

    seen = {v.verdict for verdicts in runs.values() for v in verdicts}
    marks = [Line2D([], [], color=c, lw=3, label=name) for name, c in COLOURS.items() if name in seen]
    if len(runs) > 1:
        marks += [
            Line2D([], [], color="#24292f", marker=MARKERS[i % len(MARKERS)], ls="", ms=4, label=run)
            for i, run in enumerate(runs)
        ]
    axes.legend(handles=marks, frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
