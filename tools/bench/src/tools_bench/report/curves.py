"""Which curves of a run's history a page draws, in which order, of how many points, and the script that draws them.

uPlot 1.6.32 (MIT, Leon Sorokin) is inlined as its package has it; `uplot/LICENSE` goes into every page with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).parent
MOST_POINTS = 500
"""Of one curve; a longer one is thinned."""
MOST_COLUMNS = 12
"""Of one run; the rest is in its `metrics.jsonl`, and the page says how many."""
_FIRST = {
    "loss": "loss",
    "reward": "reward",
    "frac_reward_zero_std": "zero_variance_share",
    "entropy": "entropy",
    "completions/mean_length": "completion_length",
    "tokens_per_second": "tokens_per_second",
    "completions/clipped_ratio": "truncated_share",
    "mean_token_accuracy": "token_accuracy",
    "verified": "verified",
    "reward_std": "reward_std",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}
"""Keys of `metrics.jsonl` and the names of their curves, in the order in which they are drawn; others come after."""
_COUNTERS = {"step", "seconds", "epoch", "num_tokens", "step_loss", "step_time"}
"""What says where a step is, or says again what another column says."""


def named(keys: Iterable[str]) -> dict[str, str]:
    """Keys of `metrics.jsonl`, without those that say where a step is, and the name of each one's curve: first
    those that have a place, then parts of the reward and evaluations, then others."""
    places = {key: place for place, key in enumerate(_FIRST)}
    drawn = [key for key in keys if key not in _COUNTERS]
    drawn.sort(key=lambda key: (places.get(key, len(places)), not key.startswith(("rewards/", "eval_")), key))
    return {key: _FIRST.get(key, key) for key in drawn}


def thinned(values: Sequence[float], most: int) -> list[int]:
    """The rising indices of at most `most` (4 or more) values: the first, the last, and the least and the greatest of
    each of equally long spans between them, so that no peak of the curve is lost."""
    if len(values) <= most:
        return list(range(len(values)))
    inner = len(values) - 2
    n_spans = (most - 2) // 2
    edges = [1 + inner * i // n_spans for i in range(n_spans + 1)]
    return [0, *_extremes(values, edges), len(values) - 1]


def _extremes(values: Sequence[float], edges: Sequence[int]) -> Iterator[int]:
    for start, end in pairwise(edges):
        span = range(start, end)
        yield from sorted({min(span, key=values.__getitem__), max(span, key=values.__getitem__)})


def charting() -> tuple[str, str]:
    """What a page needs for `drawCurves(element, series)`: script and style, uPlot with its licence included."""
    library, licence, ours = (_text(name) for name in ("uplot/uPlot.iife.min.js", "uplot/LICENSE", "curves.js"))
    style = _text("uplot/uPlot.min.css") + "\n" + _text("curves.css")
    return f"/* uPlot\n\n{licence.strip()}\n*/\n{library}\n{ours}", style


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
