"""The figures of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tools_scorer.evaluation.plots import BLUE, GREEN, GREY, ORANGE, RED, Figures, legend
from tools_scorer.evaluation.results import FRACTIONS

if TYPE_CHECKING:
    from tools_scorer.evaluation.replay import ReplayPoint
    from tools_scorer.evaluation.results import AtPosition, Results


def draw(results: Results, folder: Path) -> Figures:
    """ROC, reliability, AUROC against position, trajectories, savings against accuracy, best-of-N."""
    figures = Figures(folder)
    _roc(figures, results)
    _reliability(figures, results)
    _positions(figures, "auroc_by_fraction", "share of the trace read", results.by_fraction)
    _positions(figures, "auroc_by_tokens", "tokens of the response read", results.by_tokens)
    _trajectories(figures, results)
    _selection(figures, results)
    _savings(figures, results)
    return figures


def _roc(figures: Figures, results: Results) -> None:
    with figures.axes("roc", "wrong traces taken", "right traces taken") as axes:
        false, true = results.curves["roc"]
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
        axes.plot(false, true, color=BLUE, label=f"pooled AUROC {results.pooled.estimate:.3f}")
        legend(axes, loc="lower right")


def _reliability(figures: Figures, results: Results) -> None:
    with figures.axes("reliability", "probability given", "share that is right") as axes:
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
        for name, label, colour in (
            ("reliability_before", f"before (ECE {results.calibration['ece_before']:.3f})", GREY),
            ("reliability", f"calibrated (ECE {results.calibration['ece_after']:.3f})", BLUE),
        ):
            given, shares, sizes = zip(*results.curves[name], strict=True)
            axes.plot(given, shares, color=colour, linewidth=1, label=label)
            axes.scatter(given, shares, s=[8 + 120 * n / max(sizes) for n in sizes], color=colour, alpha=0.6)
        legend(axes)


def _positions(figures: Figures, name: str, label: str, points: list[AtPosition]) -> None:
    known = [p for p in points if p.within is not None]
    with figures.axes(name, label, "within-question AUROC") as axes:
        axes.axhline(0.5, color=GREY, linestyle=":")
        places = [p.place for p in known]
        axes.plot(places, [p.within.estimate for p in known], "o-", color=BLUE, markersize=3)
        axes.fill_between(
            places, [p.within.low for p in known], [p.within.high for p in known], color=BLUE, alpha=0.2, linewidth=0
        )
        if name.endswith("tokens") and places:
            axes.set_xscale("log", base=2)
            axes.set_xticks(places, [f"{place:g}" for place in places])


def _trajectories(figures: Figures, results: Results) -> None:
    with figures.axes("trajectories", "share of the trace read", "probability") as axes:
        for name, colour in (("right", GREEN), ("wrong", RED)):
            drawn = results.curves["trajectories"][name]
            for places, steps in drawn["single"]:
                axes.plot(places, steps, color=colour, alpha=0.18, linewidth=0.7)
            known = [(f, m) for f, m in zip(FRACTIONS, drawn["mean"], strict=True) if m is not None]
            axes.plot(*zip(*known, strict=True), color=colour, linewidth=2, label=f"{name} traces, running mean")
        axes.set_ylim(0, 1)
        legend(axes)


def _selection(figures: Figures, results: Results) -> None:
    colours = {"pass@k": GREY, "majority": ORANGE, "weighted vote": BLUE, "best of k": GREEN}
    with figures.axes("best_of_n", "traces of a question (k)", "right (%)") as axes:
        for rule, colour in colours.items():
            ks = [s.k for s in results.selected]
            rates = [s.rates[rule] for s in results.selected]
            axes.plot(ks, [100 * r.estimate for r in rates], "o-", color=colour, markersize=3, label=rule)
        if len(results.selected) > 1:
            axes.set_xscale("log", base=2)
            axes.set_xticks(ks, [str(k) for k in ks])
        legend(axes)


def _savings(figures: Figures, results: Results) -> None:
    with figures.axes("savings", "tokens saved (%)", "weighted vote right (%)") as axes:
        _curve(axes, results.stopped, BLUE, "stop below a threshold")
        _curve(axes, results.dropped, GREEN, "full cache: drop the lowest mean")
        _curve(axes, results.dropped_by_lot, GREY, "full cache: drop by lot")
        legend(axes)


def _curve(axes, points: list[ReplayPoint], colour: str, label: str) -> None:
    x, y = [100 * p.saved for p in points], [100 * p.accuracy.estimate for p in points]
    low, high = ([100 * getattr(p.accuracy, end) for p in points] for end in ("low", "high"))
    axes.plot(x, y, "o-", color=colour, markersize=3, label=label)
    axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
