"""The area under the ROC curve, with an interval that resamples clusters."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from tools_shared.errors import ToolError
from tools_shared.stats.bootstrap import cluster_index
from tools_shared.stats.rates import Interval, wilson

if TYPE_CHECKING:
    import numpy as np

_BLOCK = 1 << 22
_SAME = 1e-12


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a right one scores above a wrong one, ties half; NaN when one of them is missing."""
    import numpy as np

    return float(_weighted_aurocs(labels, scores, np.ones((1, len(labels))))[0])


def pooled_auroc(
    labels: np.ndarray, scores: np.ndarray, clusters: Sequence[Hashable], n_resamples: int = 2000, seed: int = 0
) -> Interval:
    """AUROC over all items; the interval resamples clusters (percentiles of the bootstrap).

    Where all resamples agree (every right one above every wrong one) it is Wilson's over as many clusters as hold
    the rarer class, for an AUROC of m right and n wrong ones varies at most as a rate of min(m, n) does (Birnbaum &
    Klose 1957, The Annals of Mathematical Statistics 28: 933).
    Raises ToolError when there is one class only, or fewer than two clusters.
    """
    import numpy as np

    index = cluster_index(clusters, len(labels))
    n = int(index.max()) + 1
    check_both(labels)
    if n < 2:
        raise ToolError("an interval needs at least 2 independent questions, got fewer; evaluate more")
    rng = np.random.default_rng(seed)
    found = []
    rows = max(1, _BLOCK // len(labels))
    for start in range(0, n_resamples, rows):
        counts = rng.multinomial(n, np.full(n, 1 / n), size=min(rows, n_resamples - start))
        found.append(_weighted_aurocs(labels, scores, counts[:, index].astype(np.float64)))
    low, high = (float(np.nanquantile(np.concatenate(found), share)) for share in (0.025, 0.975))
    estimate = auroc(labels, scores)
    if high - low < _SAME:
        rarer = min(len(np.unique(index[labels == label])) for label in (0, 1))
        alike = wilson(estimate * rarer, rarer)
        low, high = alike.low, alike.high
    return Interval(estimate, low, high, len(labels))


def _weighted_aurocs(labels: np.ndarray, scores: np.ndarray, weights_R_N: np.ndarray) -> np.ndarray:
    """AUROC under each row of weights."""
    import numpy as np

    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scores[order]) > 0]))
    weights = weights_R_N[:, order]
    positive = weights * (labels[order] > 0.5)
    # Per group of equal scores, so that ties count half.
    right = np.add.reduceat(positive, starts, axis=1)
    wrong = np.add.reduceat(weights - positive, starts, axis=1)
    below = np.cumsum(wrong, axis=1) - wrong
    pairs = right.sum(1) * wrong.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (right * (below + wrong / 2)).sum(1) / pairs


def check_both(labels: np.ndarray) -> None:
    n_right = int(labels.sum())
    if n_right in (0, len(labels)):
        which = "right" if n_right else "wrong"
        raise ToolError(f"all {len(labels)} traces are {which}; a score can only be judged where both are")
