"""What an evaluation measures: an estimate with its interval and n, in logs, manifests and on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Figure = Mapping[str, float]
"""`low`, `high`, `n` and either `estimate`, a rate, or `mean`, any other number."""
HIGHER_IS_BETTER = {"loss": False, "accuracy": True}


def loss_figure(sums: Sequence[float], counts: Sequence[int]) -> Figure:
    """The loss per learned token over rows, from each row's sum and number of tokens; its interval is a bootstrap over
    rows, whose tokens are not independent."""
    import numpy as np

    from tools_shared.stats import bootstrap_mean

    held = [(s, n) for s, n in zip(sums, counts, strict=True) if n]
    means: Any = np.repeat([s / n for s, n in held], [n for _, n in held])
    rows: Any = np.repeat(np.arange(len(held)), [n for _, n in held])
    found = bootstrap_mean(means, rows.tolist(), n_resamples=2000)
    return {"mean": found.estimate, "low": found.low, "high": found.high, "n": len(held)}


def centre(figure: Figure) -> float:
    return figure["estimate"] if "estimate" in figure else figure["mean"]


def logged(figures: Mapping[str, Figure]) -> dict[str, float]:
    """Figures as a line of the log holds them: `eval_loss`, `eval_loss_low`, `eval_loss_high`, `eval_loss_n`."""
    values: dict[str, float] = {}
    for name, figure in figures.items():
        values[f"eval_{name}"] = centre(figure)
        values |= {f"eval_{name}_{key}": figure[key] for key in ("low", "high", "n")}
    return values


def from_log(entry: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures of such a line."""
    return {
        name: {("mean" if name == "loss" else "estimate"): entry[f"eval_{name}"]}
        | {key: entry[f"eval_{name}_{key}"] for key in ("low", "high", "n")}
        for name in HIGHER_IS_BETTER
        if f"eval_{name}" in entry
    }
