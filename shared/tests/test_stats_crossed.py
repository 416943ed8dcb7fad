"""Seeds and questions crossed: the formula by hand, how often the interval holds the truth, and the edges."""

import math

import numpy as np
import pytest

from tools_shared.stats import bootstrap_mean, crossed_difference, crossed_mean, tango_interval, wilson


def test_the_variance_is_that_of_the_means_of_seeds_and_of_questions():
    right = np.tile([[1, 1, 0, 0, 1], [1, 0, 0, 1, 0], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]], (1, 8))
    of_seeds = np.var([0.6, 0.4, 0.6, 0.4], ddof=1) / 4
    of_questions = np.var([1, 0.75, 0.25, 0.25, 0.25] * 8, ddof=1) / 40
    variance = of_seeds + of_questions
    assert variance**2 / (of_seeds**2 / 3 + of_questions**2 / 39) == pytest.approx(8.982, abs=0.001)
    interval = crossed_mean(right)
    assert (interval.estimate, interval.n) == (0.5, 40)
    # Student's t at these degrees of freedom, from a table.
    assert (interval.high - 0.5) / math.sqrt(variance) == pytest.approx(2.2629, rel=0.002)


def drawn(rng, spread_of_seeds, n_seeds, n_questions):
    """Right or wrong, from a level, a difficulty each question and a luck each seed (all in logits)."""
    logits = 1.5 + rng.normal(0, 2, (1, n_questions)) + rng.normal(0, spread_of_seeds, (n_seeds, 1))
    return (rng.random((n_seeds, n_questions)) < 1 / (1 + np.exp(-logits))).astype(float)


def share(method, spread_of_seeds, n_seeds=3, n_questions=256, n_rounds=600):
    """How often the interval of `method` holds the true mean."""
    rng = np.random.default_rng(0)
    luck = 1.5 + rng.normal(0, 2, 400_000) + rng.normal(0, spread_of_seeds, 400_000)
    truth = (1 / (1 + np.exp(-luck))).mean()
    intervals = [method(drawn(rng, spread_of_seeds, n_seeds, n_questions)) for _ in range(n_rounds)]
    return np.mean([i.low <= truth <= i.high for i in intervals])


def over_questions_alone(right):
    return bootstrap_mean(right.mean(axis=0), n_resamples=500)


@pytest.mark.parametrize("spread_of_seeds", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("n_seeds", [3, 5])
def test_a_95_percent_interval_holds_the_truth_about_95_times_in_100(spread_of_seeds, n_seeds):
    assert 0.93 <= share(crossed_mean, spread_of_seeds, n_seeds) <= 0.995


def test_an_interval_over_questions_alone_speaks_of_these_seeds_only():
    assert share(over_questions_alone, 0.3) < 0.85


def test_a_difference_is_paired_by_question_and_seed():
    rng = np.random.default_rng(1)
    a = drawn(rng, 0.1, 3, 200)
    b = np.maximum(a, rng.random(a.shape) < 0.1)
    gain = crossed_difference(a, b)
    assert gain.estimate == pytest.approx((b - a).mean())
    assert 0 < gain.low < gain.high
    assert gain.high - gain.low < 0.6 * (crossed_mean(a).high - crossed_mean(a).low)
    back = crossed_difference(b, a)
    assert (back.low, back.high) == pytest.approx((-gain.high, -gain.low))


def test_where_nothing_varies_the_interval_is_that_of_the_questions():
    none, all_right = np.zeros((3, 50)), np.ones((3, 50))
    assert crossed_mean(none) == wilson(0, 50)
    assert crossed_mean(all_right) == wilson(50, 50)
    assert crossed_difference(none, none) == tango_interval(0, 0, 50)
    assert crossed_difference(none, all_right) == tango_interval(0, 50, 50)


def test_intervals_stay_within_the_scale():
    right = np.ones((3, 40))
    right[0, 0] = 0
    assert crossed_mean(right).high == 1.0
    balanced = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert crossed_mean(balanced).low == crossed_mean(balanced).high == 0.5


@pytest.mark.parametrize("wrong", [np.ones(4), np.ones((1, 4)), np.ones((3, 1)), np.full((2, 2), 0.5)])
def test_wrong_shapes_and_values_are_refused(wrong):
    with pytest.raises(ValueError, match="values"):
        crossed_mean(wrong)
