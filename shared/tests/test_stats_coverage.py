"""The choice of methods, measured: how often a 95% interval holds the truth, and how often a test cries wolf.

For 0/1 pairs the coverage is computed, not simulated: over every table that `n` pairs can give, with its probability.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest

from tools_shared.stats import bootstrap_mean, paired_difference, tango_interval

Z = 1.959964
DISCORDANCES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
SHARES = (0.5, 0.6, 0.75, 0.9, 0.99)  # of the differing items, those on which b is right


def wald(a_only: int, b_only: int, n: int) -> tuple[float, float]:
    """The textbook interval that the others are measured against."""
    d = (b_only - a_only) / n
    half = Z * math.sqrt(max(a_only + b_only - (b_only - a_only) ** 2 / n, 0)) / n
    return d - half, d + half


def bonett_price(a_only: int, b_only: int, n: int) -> tuple[float, float]:
    """Bonett & Price 2012, J. Educ. Behav. Stat. 37: Wald with one item added to each differing cell."""
    d = (b_only - a_only) / (n + 2)
    half = Z * math.sqrt(((a_only + b_only + 2) / (n + 2) - d * d) / (n + 2))
    return max(-1.0, d - half), min(1.0, d + half)


def tango(a_only: int, b_only: int, n: int) -> tuple[float, float]:
    interval = tango_interval(a_only, b_only, n)
    return interval.low, interval.high


def coverages(method: Callable[[int, int, int], tuple[float, float]], n: int) -> np.ndarray:
    """The chance that the interval holds the true difference, for each discordance and share."""
    tables = [(a, b) for a in range(n + 1) for b in range(n + 1 - a)]
    a, b = np.array(tables).T
    low, high = np.array([method(x, y, n) for x, y in tables]).T
    log_ways = np.array([math.lgamma(n + 1) - sum(math.lgamma(k + 1) for k in (x, y, n - x - y)) for x, y in tables])
    found = []
    for discordance in DISCORDANCES:
        for share in SHARES:
            p_a, p_b = discordance * (1 - share), discordance * share
            chance = np.exp(log_ways + a * np.log(p_a) + b * np.log(p_b) + (n - a - b) * np.log(1 - p_a - p_b))
            found.append(chance[(low <= p_b - p_a + 1e-9) & (high >= p_b - p_a - 1e-9)].sum())
    return np.array(found)


@pytest.mark.parametrize("n", [20, 60])
def test_tango_covers_as_promised_and_comes_nearest_to_95_percent(n):
    by_method = {method.__name__: coverages(method, n) for method in (wald, bonett_price, tango)}
    distance = {name: np.abs(found - 0.95).mean() for name, found in by_method.items()}
    assert min(distance, key=distance.get) == "tango"
    assert by_method["tango"].min() > 0.93
    assert by_method["wald"].min() < 0.70


def clustered(rng: np.random.Generator, n_clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Right or wrong samples of questions of differing difficulty, 1 to 8 samples each; the true mean is 0.5."""
    sizes = rng.integers(1, 9, n_clusters)
    index = np.repeat(np.arange(n_clusters), sizes)
    return rng.binomial(1, rng.beta(1, 1, n_clusters)[index]), index


@pytest.mark.parametrize(("n_clusters", "least"), [(10, 0.92), (30, 0.925), (100, 0.925)])
def test_the_cluster_bootstrap_covers_also_with_few_clusters(n_clusters, least):
    rng, n_trials, held, items_held = np.random.default_rng(n_clusters), 600, 0, 0
    for trial in range(n_trials):
        values, index = clustered(rng, n_clusters)
        interval = bootstrap_mean(values, index.tolist(), n_resamples=1000, seed=trial)
        held += interval.low <= 0.5 <= interval.high
        half = Z * values.std() / math.sqrt(values.size)
        items_held += abs(values.mean() - 0.5) <= half
    assert least < held / n_trials < 0.98
    assert items_held / n_trials < 0.80  # what counting samples as independent questions would have given


def answers(rng: np.random.Generator, n: int, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Two runs on n questions at about 60%, right together more often than by chance."""
    difficulty = rng.beta(1.2, 0.8, n)
    return rng.binomial(1, difficulty), rng.binomial(1, np.clip(difficulty + gain, 0, 1))


def test_equal_models_are_flagged_at_most_as_often_as_alpha_says():
    rng, n_trials = np.random.default_rng(1), 2000
    found = [paired_difference(*answers(rng, 1319, 0.0)) for _ in range(n_trials)]
    flagged = np.mean([f.p_value <= 0.05 for f in found])
    held = np.mean([f.low <= 0 <= f.high for f in found])
    assert flagged <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_trials)
    assert 0.94 <= held <= 0.96


def test_equal_models_with_8_samples_a_question_are_flagged_no_more_often():
    rng, n_trials, flagged, held = np.random.default_rng(2), 500, 0, 0
    clusters = np.repeat(np.arange(60), 8).tolist()
    for trial in range(n_trials):
        skill = rng.beta(1, 1, (2, 60)).repeat(8, axis=1)
        found = paired_difference(*rng.binomial(1, skill), clusters=clusters, n_resamples=1000, seed=trial)
        flagged += found.p_value <= 0.05
        held += found.low <= 0 <= found.high
    assert flagged / n_trials <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_trials)
    assert held / n_trials >= 0.92


def test_the_detectable_effect_is_found_in_4_of_5_runs():
    rng, n_trials = np.random.default_rng(3), 400
    found = [paired_difference(*answers(rng, 1319, 0.046)) for _ in range(n_trials)]
    truth, mde = np.mean([f.difference for f in found]), np.mean([f.mde for f in found])
    power = np.mean([f.p_value <= 0.05 for f in found])
    assert truth == pytest.approx(mde, abs=0.002)
    assert power == pytest.approx(0.8, abs=0.06)
