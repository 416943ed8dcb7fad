"""Agreement of yes/no verdicts with labels: balanced accuracy and Cohen's kappa, with intervals over groups.

An interval resamples groups, all replies to a prompt together (percentiles of the bootstrap). Where every resample
agrees, it would have no width, as if a few replies that are judged right proved the next one: there it is Wilson's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

from tools_shared.stats import Interval, wilson
from tools_shared.stats.bootstrap import cluster_index

if TYPE_CHECKING:
    import numpy as np

    Statistic = Callable[[np.ndarray], np.ndarray]

N_RESAMPLES = 2000
_SAME = 1e-12


def confusion(labels: Sequence[bool], verdicts: Sequence[bool], groups: Sequence[Hashable]) -> np.ndarray:
    """Counts (K groups, 4) of right yes, missed yes, wrong yes, right no."""
    import numpy as np

    index = cluster_index(groups, len(labels))
    cell = [(0 if said else 1) if label else (2 if said else 3) for label, said in zip(labels, verdicts, strict=True)]
    counts = np.zeros((int(index.max()) + 1, 4))
    np.add.at(counts, (index, cell), 1)
    return counts


def balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    """The mean of the shares of yes and of no that are judged right, from counts (..., 4); NaN where a label lacks."""
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        yes = counts[..., 0] / (counts[..., 0] + counts[..., 1])
        no = counts[..., 3] / (counts[..., 2] + counts[..., 3])
    return (yes + no) / 2


def kappa(counts: np.ndarray) -> np.ndarray:
    """Cohen's kappa from counts (..., 4): agreement beyond what two raters with these shares of yes reach by chance
    (Cohen 1960, Educational and Psychological Measurement 20: 37); NaN where that is certain."""
    import numpy as np

    observed, chance = _agreements(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (observed - chance) / (1 - chance)


def _agreements(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The observed agreement, and the one of chance."""
    import numpy as np

    total = counts.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        label_yes = (counts[..., 0] + counts[..., 1]) / total
        said_yes = (counts[..., 0] + counts[..., 2]) / total
        observed = (counts[..., 0] + counts[..., 3]) / total
    return observed, label_yes * said_yes + (1 - label_yes) * (1 - said_yes)


def resampled(counts_K_4: np.ndarray, statistic: Statistic, seed: int = 0) -> np.ndarray:
    """The statistic of N_RESAMPLES resamples of the groups; the same resamples for counts with as many groups."""
    import numpy as np

    n = len(counts_K_4)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES)
    return statistic(weights @ counts_K_4)


def interval(counts_K_4: np.ndarray, statistic: Statistic, seed: int = 0) -> Interval | None:
    """The statistic over all groups with its 95 % interval; None where it has no value. `n` is the number of labels."""
    import numpy as np

    whole = counts_K_4.sum(0)
    estimate, n = float(statistic(whole)), int(whole.sum())
    if math.isnan(estimate):
        return None
    low, high = np.nanquantile(resampled(counts_K_4, statistic, seed), [0.025, 0.975])
    if high - low < _SAME:
        low, high = _by_wilson(counts_K_4, statistic, estimate)
    return Interval(estimate, float(low), float(high), n)


def _by_wilson(counts_K_4: np.ndarray, statistic: Statistic, estimate: float) -> tuple[float, float]:
    """Wilson's interval over as many groups as hold the rarer label; for kappa the agreement's, over all groups."""
    if statistic is kappa:
        observed, chance = (float(value) for value in _agreements(counts_K_4.sum(0)))
        found = wilson(observed * len(counts_K_4), len(counts_K_4))
        return (found.low - chance) / (1 - chance), (found.high - chance) / (1 - chance)
    rarer = int(min((counts_K_4[:, :2].sum(1) > 0).sum(), (counts_K_4[:, 2:].sum(1) > 0).sum()))
    found = wilson(estimate * rarer, rarer)
    return found.low, found.high


def difference(ours_K_4: np.ndarray, theirs_K_4: np.ndarray, seed: int = 0) -> Interval | None:
    """Balanced accuracy of one rater minus another's on the same labels, on the same resamples; None without both
    labels. Where no resample differs the interval has no width: the two say the same."""
    import numpy as np

    gained = float(balanced_accuracy(ours_K_4.sum(0)) - balanced_accuracy(theirs_K_4.sum(0)))
    if math.isnan(gained):
        return None
    both = [resampled(counts, balanced_accuracy, seed) for counts in (ours_K_4, theirs_K_4)]
    low, high = np.nanquantile(both[0] - both[1], [0.025, 0.975])
    return Interval(gained, float(low), float(high), int(ours_K_4.sum()))
