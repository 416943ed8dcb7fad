"""How well scores tell right traces from wrong ones, with intervals clustered by question.

Within a question is the honest number: pooled over questions, a score that only knows which question is hard looks
good and can neither vote nor stop a trace.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from tools_shared.errors import ToolError
from tools_shared.stats import Interval, bounded_mean, wilson
from tools_shared.stats.bootstrap import cluster_index

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
    """AUROC over all traces; the interval resamples clusters (percentiles of the bootstrap).

    Where all resamples agree (every right trace above every wrong one) it is Wilson's over as many clusters as hold
    the rarer class, for an AUROC of m right and n wrong ones varies at most as a rate of min(m, n) does (Birnbaum &
    Klose 1957, The Annals of Mathematical Statistics 28: 933).
    Raises ToolError when there is one class only, or fewer than two clusters.
    """
    import numpy as np

    index = cluster_index(clusters, len(labels))
    n = int(index.max()) + 1
    _check_both(labels)
    if n < 2:
        raise ToolError("an interval needs at least 2 independent questions, got fewer; evaluate more")
    rng = np.random.default_rng(seed)
    found = []
    rows = max(1, _BLOCK // len(labels))
    for start in range(0, n_resamples, rows):
        counts = rng.multinomial(n, np.full(n, 1 / n), size=min(rows, n_resamples - start))
        found.append(_weighted_aurocs(labels, scores, counts[:, index].astype(np.float64)))
    low, high = np.nanquantile(np.concatenate(found), [0.025, 0.975])
    estimate = auroc(labels, scores)
    if high - low < _SAME:
        rarer = min(len(np.unique(index[labels == label])) for label in (0, 1))
        found = wilson(estimate * rarer, rarer)
        low, high = found.low, found.high
    return Interval(estimate, float(low), float(high), len(labels))


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


def question_aurocs(labels: np.ndarray, scores: np.ndarray, questions: np.ndarray) -> dict[int, float]:
    """The AUROC of each question that has both right and wrong traces. `questions` are numbers."""
    import numpy as np

    order = np.argsort(questions, kind="stable")
    bounds = np.flatnonzero(np.diff(questions[order])) + 1
    found = {}
    for part in np.split(order, bounds):
        if 0 < labels[part].sum() < len(part):
            found[int(questions[part[0]])] = auroc(labels[part], scores[part])
    return found


def within_auroc(
    labels: np.ndarray,
    scores: np.ndarray,
    questions: np.ndarray,
    groups: Sequence[Hashable],
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval | None:
    """Mean over questions of the AUROC among a question's own traces, each question counting once.

    `n` is the number of questions with both classes; `groups` (of each trace) are resampled together. None when fewer
    than two groups have such questions.
    """
    found = question_aurocs(labels, scores, questions)
    first = {int(q): i for i, q in reversed(list(enumerate(questions)))}
    clusters = [groups[first[q]] for q in found]
    if len(set(clusters)) < 2:
        return None
    return bounded_mean(list(found.values()), clusters, n_resamples=n_resamples, seed=seed)


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under precision against recall, by steps (no interpolation); equal scores enter together."""
    import numpy as np

    _check_both(labels)
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.concatenate([np.diff(scores[order]) < 0, [True]]))
    right = np.cumsum(labels[order] > 0.5)[ends]
    precision = right / (ends + 1)
    return float((np.diff(np.concatenate([[0], right])) * precision).sum() / right[-1])


def roc(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates, from (0, 0) to (1, 1)."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.concatenate([np.diff(scores[order]) < 0, [True]]))
    right = np.cumsum(labels[order] > 0.5)
    wrong = np.arange(1, len(labels) + 1) - right
    ends = np.concatenate([[-1], ends])
    rates = [np.where(ends < 0, 0, counts[ends]) / max(counts[-1], 1) for counts in (wrong, right)]
    return rates[0], rates[1]


def _check_both(labels: np.ndarray) -> None:
    n_right = int(labels.sum())
    if n_right in (0, len(labels)):
        which = "right" if n_right else "wrong"
        raise ToolError(f"all {len(labels)} traces are {which}; a score can only be judged where both are")
