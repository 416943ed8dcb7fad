"""Means of bounded values over clusters, with an interval that has a width where nothing varies.

A bootstrap over values that are all equal has no width, as if three questions answered alike proved the next one. What
lies in [0, 1] varies at most as much as 0 and 1 with the same mean do (Bhatia & Davis 2000, The American Mathematical
Monthly 107: 353), so the intervals of rates hold there too: Wilson's, and Tango's for differences.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from tools_shared.errors import ToolError
from tools_shared.stats.bootstrap import bootstrap_mean
from tools_shared.stats.paired import tango_interval
from tools_shared.stats.rates import Interval, wilson

_SAME = 1e-12


def bounded_mean(
    values: Sequence[float], clusters: Sequence[Hashable], *, n_resamples: int = 10_000, seed: int = 0
) -> Interval:
    """The mean of values in [0, 1]; `n` is the number of values, `clusters` names what is independent of each other.

    Wilson's interval over the clusters where each holds one value of 0 or 1, or where all values are equal; else the
    cluster bootstrap. Raises ToolError with fewer than 2 clusters, ValueError on a value outside [0, 1].
    """
    k = _n_clusters(values, clusters, 0.0)
    if not (_all_equal(values) or (k == len(values) and set(values) <= {0.0, 1.0})):
        return bootstrap_mean(values, clusters, n_resamples=n_resamples, seed=seed)
    mean = sum(values) / len(values)
    found = wilson(min(k, max(0.0, mean * k)), k)
    return Interval(mean, found.low, found.high, len(values))


def bounded_difference(
    values: Sequence[float], clusters: Sequence[Hashable], *, n_resamples: int = 10_000, seed: int = 0
) -> Interval:
    """The mean of paired differences in [-1, 1]; as `bounded_mean`, with Tango's interval in Wilson's place."""
    k = _n_clusters(values, clusters, -1.0)
    if not (_all_equal(values) or (k == len(values) and set(values) <= {-1.0, 0.0, 1.0})):
        return bootstrap_mean(values, clusters, n_resamples=n_resamples, seed=seed)
    mean, share = sum(values) / len(values), k / len(values)
    lost, won = (sum(max(sign * value, 0.0) for value in values) * share for sign in (-1, 1))
    found = tango_interval(min(k, lost), min(k, won), k)
    return Interval(mean, found.low, found.high, len(values))


def _n_clusters(values: Sequence[float], clusters: Sequence[Hashable], low: float) -> int:
    if len(clusters) != len(values):
        raise ValueError(f"each of the {len(values)} values needs a cluster, got {len(clusters)}")
    if wrong := [value for value in values if not low - _SAME <= value <= 1 + _SAME]:
        raise ValueError(f"values lie in [{low:g}, 1], got {wrong[0]}")
    if (n := len(set(clusters))) < 2:
        raise ToolError("an interval needs at least 2 independent questions, got fewer; evaluate more")
    return n


def _all_equal(values: Sequence[float]) -> bool:
    return max(values) - min(values) <= _SAME
