"""Intervals of 100 metrics over 5,000 items from 10,000 resamples: ours, and scipy's on one metric, side by side.

pytest tests/benchmarks/test_statistics.py --benchmark-only --benchmark-group-by=group
"""

import numpy as np
import pytest

from tools_shared.stats import bootstrap_means

METRICS, ITEMS, RESAMPLES = 100, 5000, 10_000
SECONDS = 2


@pytest.fixture(scope="module")
def values():
    return (np.random.default_rng(0).random((METRICS, ITEMS)) < 0.6).astype(float)


@pytest.mark.benchmark(group="bootstrap")
def test_a_hundred_metrics(benchmark, values):
    found = benchmark.pedantic(bootstrap_means, (values,), {"n_resamples": RESAMPLES}, rounds=3, warmup_rounds=1)
    assert len(found) == METRICS
    assert all(one.low < one.estimate < one.high for one in found)
    assert benchmark.stats.stats.median < SECONDS


@pytest.mark.benchmark(group="bootstrap")
def test_one_metric_with_scipy(benchmark, values):
    stats = pytest.importorskip("scipy.stats", reason="scipy is not here")
    options = {"n_resamples": RESAMPLES, "method": "percentile", "batch": 100, "rng": np.random.default_rng(0)}
    found = benchmark.pedantic(stats.bootstrap, ((values[0],), np.mean), options, rounds=3, warmup_rounds=1)
    (ours,) = bootstrap_means(values[:1], n_resamples=RESAMPLES)
    assert found.confidence_interval.low == pytest.approx(ours.low, abs=0.001)
    assert found.confidence_interval.high == pytest.approx(ours.high, abs=0.001)
