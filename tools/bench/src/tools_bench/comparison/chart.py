"""The comparison as a bar chart with error bars."""

from __future__ import annotations

from pathlib import Path

from tools_bench.comparison.evaluations import Comparison

SERIES = {"accuracy": ("strict: inside the tags", "#1f5a96"), "accuracy_lenient": ("lenient: anywhere", "#9cc3e6")}


def draw(comparison: Comparison, path: Path, title: str | None = None) -> None:
    """Write a PNG: two bars a run, strict and lenient accuracy, each with its interval."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    lines = comparison.lines
    figure, axes = plt.subplots(figsize=(max(4.5, 1.5 * len(lines) + 1), 3.6), dpi=200, layout="constrained")
    width = 0.38
    for i, (metric, (label, colour)) in enumerate(SERIES.items()):
        rates = [line.rates[metric] for line in lines]
        places = [x + (i - 0.5) * width for x in range(len(lines))]
        heights = [100 * rate.estimate for rate in rates]
        errors = [[100 * (r.estimate - r.low) for r in rates], [100 * (r.high - r.estimate) for r in rates]]
        axes.bar(places, heights, width, label=label, color=colour, yerr=errors, capsize=3, error_kw={"linewidth": 1})
        for x, rate in zip(places, rates, strict=True):
            axes.annotate(
                f"{100 * rate.estimate:.1f}",
                (x, 100 * rate.high),
                (0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    axes.set_xticks(range(len(lines)), [line.name for line in lines])
    axes.set_ylabel("accuracy (%)")
    top = max(100 * rate.high for line in lines for rate in line.rates.values())
    axes.set_ylim(0, min(100, top * 1.25 + 5) if top < 78 else 118)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title or f"n = {comparison.n} questions, {100 * comparison.confidence:g} % intervals", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    # No timestamp inside, so that the same comparison gives the same bytes.
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
