import numpy as np
import pytest

from tools_shared.errors import ToolError
from tools_shared.stats import bootstrap_mean, bounded_difference, bounded_mean, tango_interval, wilson


@pytest.mark.parametrize("value", [0.0, 0.25, 5 / 6, 1.0])
@pytest.mark.parametrize("n", [2, 3, 19, 400])
def test_what_never_varies_is_not_certain(value, n):
    found = bounded_mean([value] * n, range(n))
    assert found.estimate == pytest.approx(value)
    assert found.low <= value <= found.high
    assert found.high - found.low > 1 / (n + 4)
    gain = bounded_difference([-value] * n, range(n))
    assert gain.low <= -value <= gain.high
    assert gain.high - gain.low > 1 / (n + 4)


def test_right_or_wrong_is_wilson_and_paired_is_tango():
    right = [1.0] * 17 + [0.0] * 6
    found, known = bounded_mean(right, range(23)), wilson(17, 23)
    assert (found.low, found.high, found.n) == pytest.approx((known.low, known.high, 23))
    gain, known = bounded_difference([1.0, -1.0, 1.0, *[0.0] * 20], range(23)), tango_interval(1, 2, 23)
    assert (gain.low, gain.high) == pytest.approx((known.low, known.high))


def test_shares_and_clusters_are_resampled():
    values = np.random.default_rng(5).beta(2, 5, 60).tolist()
    names = [f"question {i // 2}" for i in range(60)]
    assert bounded_mean(values, names, seed=3) == bootstrap_mean(values, names, seed=3)
    assert bounded_difference(values, names, seed=3) == bootstrap_mean(values, names, seed=3)


def test_repetitions_of_one_question_are_not_more_questions():
    twice = bounded_mean([1.0] * 8, [0, 0, 1, 1, 2, 2, 3, 3])
    assert (twice.low, twice.n) == (wilson(4, 4).low, 8)


@pytest.mark.parametrize("of", [bounded_mean, bounded_difference])
def test_what_has_no_interval_is_refused(of):
    with pytest.raises(ToolError, match="at least 2 independent"):
        of([1.0, 1.0], ["a", "a"])
    with pytest.raises(ValueError, match="values lie in"):
        of([1.0, 1.5], ["a", "b"])
