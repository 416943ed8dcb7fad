"""Single rates and sets of p-values; plain arithmetic, no arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence interval; `n` is the number of items behind it."""

    estimate: float
    low: float
    high: float
    n: int


def z_of(confidence: float) -> float:
    """The two-sided normal quantile: 1.96 for 0.95. Raises ValueError outside (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a rate of `n` independent items (Wilson 1927, JASA 22: 209), without continuity
    correction. A fraction of a success counts as one (values in [0, 1] vary less than 0 and 1 with the same mean).

    Raises ValueError when `n` is 0 or `successes` is not in 0..n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"a rate needs n >= 1 and 0 <= successes <= n, got {successes} of {n}")
    z2 = z_of(confidence) ** 2
    centre = (successes + z2 / 2) / (n + z2)
    half = math.sqrt(z2 * (successes * (n - successes) / n + z2 / 4)) / (n + z2)
    low = 0.0 if successes == 0 else centre - half  # exact in theory, one rounding off in floats
    high = 1.0 if successes == n else centre + half
    return Interval(successes / n, low, high, n)


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased chance that one of `k` samples is right, from `c` right ones among `n`: 1 - C(n-c, k) / C(n, k).

    Chen et al. 2021, "Evaluating Large Language Models Trained on Code", section 2.1. Raises ValueError unless
    0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given (Holm 1979, Scand. J. Statist. 6).

    Rejecting where the result is at most alpha keeps the chance of any false rejection at most alpha, however the
    tests depend on each other. Raises ValueError on a p-value outside [0, 1].
    """
    if wrong := [p for p in p_values if not 0 <= p <= 1]:
        raise ValueError(f"p-values lie between 0 and 1, got {wrong[0]}")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def hommel(p_values: Sequence[float]) -> list[float]:
    """Hommel's adjusted p-values, in the order given: never above Holm's, and near copies of one test cost little.

    The chance of any false call is at most alpha where Simes' inequality holds, as for tests that hang together
    positively (Hommel 1988, Biometrika 75: 383; the algorithm is Wright's, 1992, Biometrics 48: 1005).
    """
    n = len(p_values)
    order = sorted(range(n), key=lambda i: p_values[i])
    p = [p_values[i] for i in order]
    adjusted = [min((n * value / rank for rank, value in enumerate(p, start=1)), default=1.0)] * n
    for m in range(n - 1, 1, -1):
        split = n - m + 1
        simes = min(m * value / rank for rank, value in enumerate(p[split:], start=2))
        found = [min(m * value, simes) for value in p[:split]]
        found += [found[-1]] * (m - 1)
        adjusted = [max(pair) for pair in zip(adjusted, found, strict=True)]
    by_place = dict(zip(order, (max(pair) for pair in zip(adjusted, p, strict=True)), strict=True))
    return [min(1.0, by_place[i]) for i in range(n)]
