"""The distribution of scores as a PNG, with the threshold in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tools_shared.files import atomic_write

N_BINS = 100


def draw(scores: Sequence[float], threshold: float | None, label: str, path: Path) -> None:
    """A histogram of the rows' scores on a logarithmic count axis; the same scores give the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    low = min(0.0, *scores) if scores else 0.0
    axes.hist(scores, bins=N_BINS, range=(low, 1.0), color="#1f5a96", log=True)
    if scores:
        axes.axvline(median(scores), color="#7a7a7a", linestyle=":", label=f"median {median(scores):.3f}")
    if threshold is not None:
        n_over = sum(score >= threshold for score in scores)
        axes.axvline(threshold, color="#c0392b", label=f"threshold {threshold:.3g}: {n_over} of {len(scores)} rows")
    axes.set_xlim(low, 1.0)
    axes.set_xlabel(f"{label} of the nearest test row")
    axes.set_ylabel("training rows")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", metadata={"Software": None})
