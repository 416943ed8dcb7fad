"""Two runs on the same items: how much better is the second, and could it be chance?"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from tools_shared.stats.bootstrap import bootstrap_means, cluster_index, sign_flip_p
from tools_shared.stats.rates import Interval, z_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The mean of b minus that of a on the same `n` items, with its interval and test.

    `a_only` and `b_only` count the items where a, or b, is the better. `mde` is the difference that a comparison like
    this one finds with 80% power; None where no item differs in a way that tells. `method` names interval and test.
    """

    difference: float
    low: float
    high: float
    n: int
    p_value: float
    a_only: int
    b_only: int
    method: str
    mde: float | None


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Compare baseline `a` with candidate `b`, both (N), item by item; see `paired_differences`."""
    import numpy as np

    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    (found,) = paired_differences(a[None], b[None], clusters, confidence=confidence, n_resamples=n_resamples, seed=seed)
    return found


def paired_differences(
    a_M_N: ArrayLike,
    b_M_N: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> list[PairedDifference]:
    """Compare baseline and candidate on M metrics of the same N items; positive means that `b` is higher.

    For 0/1 metrics without clusters: Tango's score interval and McNemar's exact test (the test is the stricter at the
    edge: p may be 0.06 where the interval just excludes 0). For others, or where a cluster has several items: a
    bootstrap over clusters and a sign-flip test over clusters, with the same resamples for all metrics; where no item
    differs that interval has no width. Raises ValueError on shapes that differ or values that are not finite, and
    ToolError when a bootstrap has fewer than 2 clusters.
    """
    import numpy as np

    a, b = np.asarray(a_M_N, dtype=np.float64), np.asarray(b_M_N, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] == 0:
        raise ValueError(f"a and b have one shape (metrics, items) with at least 1 item, got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("values must be finite")
    index = np.arange(a.shape[1]) if clusters is None else cluster_index(clusters, a.shape[1])
    alone = int(index.max()) + 1 == a.shape[1]
    scored = np.array([alone and bool(np.isin((x, y), (0, 1)).all()) for x, y in zip(a, b, strict=True)], dtype=bool)
    rest = iter(_bootstrapped(a[~scored], b[~scored], index, confidence, n_resamples, seed) if not scored.all() else [])
    return [
        _binary(*_counts(x, y), a.shape[1], confidence) if is_scored else next(rest)
        for x, y, is_scored in zip(a, b, scored, strict=True)
    ]


def _counts(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    return int((a > b).sum()), int((b > a).sum())


def _binary(a_only: int, b_only: int, n: int, confidence: float) -> PairedDifference:
    interval = tango_interval(a_only, b_only, n, confidence)
    p_value = mcnemar_exact(a_only, b_only)
    mde = paired_mde(
        (a_only + b_only + 1) / (n + 2), n, confidence
    )  # + 1, + 2: no differing item is not "never differs"
    method = "Tango score interval, exact McNemar test"
    return PairedDifference(interval.estimate, interval.low, interval.high, n, p_value, a_only, b_only, method, mde)


def _bootstrapped(
    a: np.ndarray, b: np.ndarray, index: np.ndarray, confidence: float, n_resamples: int, seed: int
) -> list[PairedDifference]:
    import numpy as np

    gains = b - a
    clusters = index.tolist()
    intervals = bootstrap_means(gains, clusters, confidence=confidence, n_resamples=n_resamples, seed=seed)
    p_values = sign_flip_p(np.stack([np.bincount(index, row) for row in gains]), n_resamples, seed)
    method = f"bootstrap over {int(index.max()) + 1} clusters, sign-flip test"
    return [
        PairedDifference(i.estimate, i.low, i.high, i.n, p, *_counts(x, y), method, _mde(y - x, index, confidence))
        for i, p, x, y in zip(intervals, p_values, a, b, strict=True)
    ]


def _mde(gains: np.ndarray, index: np.ndarray, confidence: float, power: float = 0.8) -> float | None:
    """(z_alpha + z_power) times the cluster-robust standard error of the mean gain; None where that is 0."""
    import numpy as np

    residuals = np.bincount(index, gains - gains.mean())
    k = residuals.size
    error = math.sqrt(k / (k - 1) * float(residuals @ residuals)) / gains.size
    return (z_of(confidence) + NormalDist().inv_cdf(power)) * error or None


def mcnemar_exact(a_only: int, b_only: int) -> float:
    """Two-sided exact McNemar test: twice the smaller tail of Binomial(a_only + b_only, 1/2), at most 1.

    McNemar 1947, Psychometrika 12, with the binomial in place of chi-squared. In log space, so counts of a million are
    fine; about 10 times the square root of the count in steps. Raises ValueError on negative counts.
    """
    if a_only < 0 or b_only < 0:
        raise ValueError(f"counts are 0 or more, got {a_only} and {b_only}")
    n, smaller = a_only + b_only, min(a_only, b_only)
    if a_only == b_only:
        return 1.0
    log_term = math.lgamma(n + 1) - math.lgamma(smaller + 1) - math.lgamma(n - smaller + 1) - n * math.log(2)
    total, term = 0.0, 1.0
    for k in range(smaller, -1, -1):  # each term in units of the first, the largest
        total += term
        term *= k / (n - k + 1)
        if term < 1e-17 * total:
            break
    return min(1.0, 2 * math.exp(log_term) * total)


def tango_interval(a_only: float, b_only: float, n: int, confidence: float = 0.95) -> Interval:
    """Tango's score interval for p_b - p_a from `n` paired 0/1 items (Tango 1998, Statistics in Medicine 17: 891).

    All differences that the score test does not reject: it has a width even when no item differs, stays within
    [-1, 1], and excludes 0 exactly when McNemar's chi-squared rejects. Raises ValueError on counts that do not fit.
    """
    if n < 1 or a_only < 0 or b_only < 0 or a_only + b_only > n:
        raise ValueError(f"counts must fit into n, got {a_only} and {b_only} of {n}")
    z = z_of(confidence)
    low, high = (_where_score_is(quantile, a_only, b_only, n) for quantile in (z, -z))
    return Interval((b_only - a_only) / n, low, high, n)


def _where_score_is(quantile: float, a_only: float, b_only: float, n: int) -> float:
    """The difference at which the score, which falls with it, has this value; by bisection to the last bit."""
    low, high = -1.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        if _score(middle, a_only, b_only, n) > quantile:
            low = middle
        else:
            high = middle
    return high if quantile < 0 else low


def _score(difference: float, a_only: float, b_only: float, n: int) -> float:
    """(b - a - n d) / sqrt(n (2 q + d (1 - d))), q the likeliest share of a_only if the difference were d."""
    linear = (2 * n - b_only + a_only) * difference - a_only - b_only
    constant = -a_only * difference * (1 - difference)
    q = (math.sqrt(max(linear * linear - 8 * n * constant, 0.0)) - linear) / (4 * n)
    variance = n * (2 * q + difference * (1 - difference))
    distance = b_only - a_only - n * difference
    if variance > 0:
        return distance / math.sqrt(variance)
    return math.copysign(math.inf, distance) if distance else 0.0


def paired_mde(discordance: float, n: int, confidence: float = 0.95, power: float = 0.8) -> float:
    """The smallest true difference that McNemar's test on `n` items finds with this power; at most 1.

    With `discordance` the share of items on which the two differ, n d^2 = (z_alpha sqrt(s) + z_power sqrt(s - d^2))^2
    (Connor 1987, Biometrics 43: 207; s is the discordance) is a quadratic in d. Raises ValueError outside
    0 < discordance <= 1, n >= 1 and 0.5 <= power < 1.
    """
    if not (0 < discordance <= 1 and n >= 1 and 0.5 <= power < 1):
        raise ValueError(f"no detectable effect for discordance {discordance}, n {n}, power {power}")
    z_alpha, z_power = z_of(confidence), NormalDist().inv_cdf(power)
    leading = n + z_power**2
    half = z_alpha * math.sqrt(n * discordance)
    root = half**2 - leading * (z_alpha**2 - z_power**2) * discordance
    return min(1.0, (half + math.sqrt(max(root, 0.0))) / leading)
