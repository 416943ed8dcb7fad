"""stats: published values, properties that must hold for any data, and refusals."""

import itertools
import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_shared.errors import ToolError
from tools_shared.stats import (
    bootstrap_mean,
    bootstrap_means,
    holm,
    mcnemar_exact,
    paired_difference,
    paired_differences,
    paired_mde,
    pass_at_k,
    tango_interval,
    wilson,
)
from tools_shared.stats.bootstrap import t_of


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_published_values(successes, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17: 857, table I, method 3."""
    interval = wilson(successes, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)
    assert interval.estimate == successes / n


@settings(deadline=None)
@given(st.integers(1, 10_000), st.data())
def test_wilson_stays_inside_and_around_its_estimate(n, data):
    successes = data.draw(st.integers(0, n))
    interval = wilson(successes, n)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    mirrored = wilson(n - successes, n)
    assert mirrored.low == pytest.approx(1 - interval.high, abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_rate(successes, n):
    with pytest.raises(ValueError, match=f"got {successes} of {n}"):
        wilson(successes, n)


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_is_between_0_and_1(confidence):
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 2, confidence)


def test_holm_gives_what_r_gives():
    """R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") and an unsorted set worked by hand."""
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([]) == []
    with pytest.raises(ValueError, match=r"got 1\.5"):
        holm([0.1, 1.5])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_lies_between_raw_and_bonferroni(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= min(1, len(p_values) * p) + 1e-12 for p, q in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert all(adjusted[i] <= adjusted[j] for i, j in itertools.pairwise(order))


@settings(deadline=None)
@given(st.integers(1, 12), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    subsets = list(itertools.combinations(range(n), k))
    hits = sum(min(s) < c for s in subsets)
    assert pass_at_k(n, c, k) == pytest.approx(hits / len(subsets))


def test_pass_at_k_bounds():
    assert pass_at_k(200, 40, 1) == pytest.approx(0.2)
    assert pass_at_k(10, 8, 5) == 1.0
    with pytest.raises(ValueError, match="k=3"):
        pass_at_k(2, 1, 3)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial(a_only, b_only):
    n = a_only + b_only
    tail = sum(math.comb(n, k) for k in range(min(a_only, b_only) + 1))
    assert mcnemar_exact(a_only, b_only) == pytest.approx(float(min(Fraction(1), Fraction(2 * tail, 2**n))), rel=1e-9)


def test_mcnemar_published_and_large():
    """5 against 15: 0.0414 (R: binom.test(5, 20)); a million pairs agree with the normal limit."""
    assert round(mcnemar_exact(5, 15), 4) == 0.0414
    z = (2000 - 1) / math.sqrt(1_000_000)
    assert mcnemar_exact(499_000, 501_000) == pytest.approx(2 * NormalDist().cdf(-z), rel=1e-3)
    assert mcnemar_exact(0, 0) == 1.0
    assert 0 < mcnemar_exact(0, 1000) < 1e-300
    with pytest.raises(ValueError, match="0 or more"):
        mcnemar_exact(-1, 2)


def likelihood_score(difference: float, a_only: int, b_only: int, n: int) -> float:
    """The score statistic with its nuisance found by search over the likelihood, not by formula."""
    same = n - a_only - b_only

    def log_likelihood(q):
        terms = ((a_only, q), (b_only, q + difference), (same, 1 - 2 * q - difference))
        return sum(count * math.log(p) if p > 0 else -math.inf for count, p in terms if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    for _ in range(200):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (left, high) if log_likelihood(left) < log_likelihood(right) else (low, right)
    variance = n * (2 * low + difference * (1 - difference))
    return (b_only - a_only - n * difference) / math.sqrt(variance)


@pytest.mark.parametrize(("a_only", "b_only", "n"), [(12, 2, 50), (2, 12, 50), (0, 7, 30), (40, 60, 1319), (1, 1, 3)])
def test_tango_ends_where_the_likelihood_score_is_1_96(a_only, b_only, n):
    interval = tango_interval(a_only, b_only, n)
    assert likelihood_score(interval.low, a_only, b_only, n) == pytest.approx(1.959964, abs=1e-4)
    assert likelihood_score(interval.high, a_only, b_only, n) == pytest.approx(-1.959964, abs=1e-4)


@settings(deadline=None)
@given(st.integers(1, 3000), st.data())
def test_tango_holds_its_estimate_mirrors_and_agrees_with_mcnemars_chi_squared(n, data):
    a_only = data.draw(st.integers(0, n))
    b_only = data.draw(st.integers(0, n - a_only))
    interval, mirrored = tango_interval(a_only, b_only, n), tango_interval(b_only, a_only, n)
    assert -1 <= interval.low <= interval.estimate <= interval.high <= 1
    assert mirrored.low == pytest.approx(-interval.high, abs=1e-9)
    chi_squared = (a_only - b_only) ** 2 / max(a_only + b_only, 1)
    if abs(chi_squared - 3.841459) > 1e-6:
        assert (interval.low > 0 or interval.high < 0) == (chi_squared > 3.841459)


def test_no_differing_item_still_leaves_room_for_a_difference():
    found = paired_difference([1] * 50 + [0] * 50, [1] * 50 + [0] * 50)
    assert (found.difference, found.p_value, found.a_only, found.b_only) == (0, 1, 0, 0)
    assert found.low == pytest.approx(-found.high)
    assert 0.03 < found.high < 0.04
    assert found.mde > 0
    with pytest.raises(ValueError, match="fit into n"):
        tango_interval(3, 3, 5)


def test_binary_difference_names_its_method_and_its_direction():
    a, b = [0] * 10 + [1] * 40, [1] * 8 + [0] * 2 + [1] * 38 + [0] * 2
    found = paired_difference(a, b)
    assert (found.a_only, found.b_only, found.n, found.difference) == (2, 8, 50, pytest.approx(0.12))
    assert found.p_value == mcnemar_exact(2, 8)
    assert "Tango" in found.method
    assert paired_difference(a, b, clusters=[str(i) for i in range(50)]) == found
    assert paired_difference(b, a).difference == pytest.approx(-0.12)


def test_clusters_widen_what_repeats_itself():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 2, 60), rng.integers(0, 2, 60)
    alone = paired_difference(a, b)
    eight_times = paired_difference(np.repeat(a, 8), np.repeat(b, 8), clusters=np.repeat(np.arange(60), 8).tolist())
    assert eight_times.difference == pytest.approx(alone.difference)
    assert eight_times.high - eight_times.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert eight_times.p_value == pytest.approx(alone.p_value, abs=0.02)
    assert eight_times.mde == pytest.approx(alone.mde, rel=0.1)


def test_few_clusters_are_tested_over_all_sign_patterns():
    found = paired_difference([0.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.5])
    assert found.p_value == pytest.approx(2 / 2**5)
    assert paired_difference([0.0] * 5, [1.0, -1.0, 1.0, -1.0, 0.5]).p_value == 1


def test_many_metrics_equal_the_same_ones_alone():
    rng = np.random.default_rng(0)
    a = np.stack([rng.random(200), rng.integers(0, 2, 200), rng.random(200) + 1e6])
    b = np.stack([rng.random(200), rng.integers(0, 2, 200), rng.random(200) + 1e6])
    for together, x, y in zip(paired_differences(a, b), a, b, strict=True):
        alone = paired_difference(x, y)
        assert together.method == alone.method
        assert together.low == pytest.approx(alone.low, abs=1e-6)
        assert together.p_value == pytest.approx(alone.p_value, abs=1e-3)


@pytest.mark.parametrize(
    ("a", "b", "says"), [([1, 0], [1], "one shape"), ([], [], "at least 1"), ([math.nan], [1], "finite")]
)
def test_paired_difference_refuses(a, b, says):
    with pytest.raises(ValueError, match=says):
        paired_difference(a, b)


def test_mde_matches_connors_sample_size():
    """n from Connor's formula for d = 0.05 at discordance 0.2, put back in, gives d again."""
    z_alpha, z_power = NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(0.8)
    n = ((z_alpha * math.sqrt(0.2) + z_power * math.sqrt(0.2 - 0.05**2)) / 0.05) ** 2
    assert paired_mde(0.2, math.ceil(n)) == pytest.approx(0.05, rel=1e-3)
    assert paired_mde(1.0, 1) == 1.0
    with pytest.raises(ValueError, match="discordance 0"):
        paired_mde(0, 10)


def test_bootstrap_of_independent_items_has_the_width_of_student_t():
    values = np.random.default_rng(0).normal(1000.0, 0.1, 400)
    interval = bootstrap_mean(values)
    half = 1.966 * values.std(ddof=1) / math.sqrt(400)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.03)
    assert interval == bootstrap_mean(values)
    assert interval != bootstrap_mean(values, seed=1)


def test_a_mask_is_a_mean_over_what_applies():
    values = np.array([[1.0, 0, 1, 1, math.nan, 0]] * 2)
    mask = np.array([[True] * 4 + [False] * 2, [True, False, True, True, False, True]])
    first, second = bootstrap_means(values, mask_M_N=mask)
    assert (first.estimate, first.n) == (0.75, 4)
    assert (second.estimate, second.n) == (0.75, 4)
    assert 0 <= first.low < first.high <= 1
    with pytest.raises(ValueError, match="finite"):
        bootstrap_means(values)
    with pytest.raises(ValueError, match="applies to no item"):
        bootstrap_means(values, mask_M_N=np.zeros_like(mask))
    with pytest.raises(ValueError, match="shape"):
        bootstrap_means(values, mask_M_N=mask[:1])


def test_one_question_is_not_enough():
    with pytest.raises(ToolError, match="at least 2 independent questions"):
        bootstrap_mean([0.5])
    with pytest.raises(ToolError, match="at least 2"):
        bootstrap_mean([0.5, 0.7], clusters=["q", "q"])
    with pytest.raises(ValueError, match="needs a cluster"):
        bootstrap_mean([0.5, 0.7], clusters=["q"])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40), st.integers(1, 5))
def test_bootstrap_interval_lies_among_the_values(values, n_clusters):
    clusters = [i % n_clusters for i in range(len(values))] if n_clusters > 1 else None
    interval = bootstrap_mean(values, clusters, n_resamples=200)
    slack = 1e-9 * max(map(abs, values))
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack


def test_t_quantile_against_the_published_table():
    """Abramowitz & Stegun table 26.10."""
    assert t_of(0.95, 10) == pytest.approx(2.228, abs=1e-3)
    assert t_of(0.95, 30) == pytest.approx(2.042, abs=1e-3)
    assert t_of(0.99, 20) == pytest.approx(2.845, abs=1e-3)
    assert t_of(0.95, 4) == pytest.approx(2.776, rel=4e-3)
