"""How well scores tell right traces from wrong ones, with intervals clustered by question.

Within a question is the honest number: pooled over questions, a score that only knows which question is hard looks
good and can neither vote nor stop a trace.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from tools_shared.stats import Interval, bounded_mean
from tools_shared.stats.auroc import auroc, check_both

if TYPE_CHECKING:
    import numpy as np


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

    check_both(labels)
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
