"""Whether probabilities mean what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

N_BINS = 15


def brier(labels: np.ndarray, probabilities: np.ndarray | float) -> float:
    """Mean squared distance of probability and outcome (Brier 1950)."""
    return float(((probabilities - labels) ** 2).mean())


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[tuple[float, float, int]]:
    """(mean probability, share of right ones, n) of each of 15 bins of equal width that holds something."""
    import numpy as np

    bins = np.minimum((probabilities * N_BINS).astype(int), N_BINS - 1)
    return [
        (float(probabilities[bins == b].mean()), float(labels[bins == b].mean()), int((bins == b).sum()))
        for b in np.unique(bins)
    ]


def ece(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error over 15 bins of equal width (Guo et al. 2017, section 2)."""
    return sum(n * abs(p - share) for p, share, n in reliability(labels, probabilities)) / len(labels)
