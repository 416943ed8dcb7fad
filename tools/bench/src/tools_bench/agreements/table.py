"""The agreement of a judge as a table, for the screen and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

HEAD = ("criterion", "rater", "balanced accuracy", "Cohen's kappa", "accuracy", "Brier", "ECE", "n")


def rows_of(criteria: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for name, figures in criteria.items():
        n = f"{figures['n']} ({figures['n_yes']} yes) in {figures['n_groups']} groups"
        yield (name, "judge", *_cells(figures), n)
        if at := figures.get("with_threshold"):
            first, second = at["thresholds"]
            yield ("", f"judge, yes from {first:.3f} or {second:.3f} (chosen on the other half)", *_cells(at), "")
        for rater, theirs in figures["baselines"].items():
            yield ("", f"{rater}: {theirs['rule']}", *_cells(theirs), "")


def _cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        percent(figures.get("balanced_accuracy")),
        plain(figures.get("kappa")),
        percent(figures.get("accuracy")),
        plain(figures.get("brier"), 3),
        plain(figures.get("calibration_error"), 3),
    )


def percent(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    return f"{100 * found['estimate']:.1f} % [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def plain(found: Mapping[str, Any] | None, digits: int = 2) -> str:
    if found is None:
        return "-"
    return f"{found['estimate']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def as_markdown(criteria: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [HEAD, ("---",) * len(HEAD), *rows_of(criteria)]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def as_text(criteria: Mapping[str, Mapping[str, Any]]) -> str:
    """The table with aligned columns, and a line for each comparison and for what failed."""
    lines = [HEAD, *rows_of(criteria)]
    widths = [max(len(cells[i]) for cells in lines) for i in range(len(HEAD))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in lines]
    text.append("")
    for name, figures in criteria.items():
        for rater, theirs in figures["baselines"].items():
            if gained := theirs.get("judge_minus_this"):
                low, high = 100 * gained["low"], 100 * gained["high"]
                text.append(
                    f"{name}: balanced accuracy of the judge minus {rater} {100 * gained['estimate']:+.1f} points "
                    f"[{low:+.1f}, {high:+.1f}]"
                )
        if rho := figures.get("rank_correlation"):
            text.append(
                f"{name}: rank correlation of scores and labels {rho['rho']:+.2f} [{rho['low']:+.2f}, "
                f"{rho['high']:+.2f}], n={rho['n']}"
            )
        if apart := figures.get("mean_distance"):
            text.append(f"{name}: mean distance of score and label {percent(apart)} of the scale, n={apart['n']}")
        if order := figures.get("auroc"):
            text.append(f"{name}: a yes has a higher probability than a no in {percent(order)} of pairs (AUROC)")
        if "brier" in figures:
            text.append(f"{name}: the share of yes for every reply has Brier {figures['base_rate_brier']:.3f}")
        if figures["n_failed"]:
            text.append(f"{name}: {figures['n_failed']} of {figures['n']} judgements failed and count as disagreement")
    text.append("95 % intervals, over groups.")
    return "\n".join(text) + "\n"
