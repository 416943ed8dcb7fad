"""The rules of --prune by themselves: numbers in, decisions out."""

import itertools
import math
import random
from fractions import Fraction

import pytest

from tools_shared.errors import ToolError
from tools_shared.pruning.rules import (
    GroupConfidence,
    is_settled,
    keeps_lead,
    over_budget,
    parse_rules,
    percentile,
)


def test_rules_are_read_with_their_units_and_paths():
    rules = parse_rules(["step:runs/a:b<c/scorer<0.25", "budget:1.5 MiB", "confidence:64<12.5%", "agree:0.95"])
    assert (rules.scorer, rules.step) == ("runs/a:b<c/scorer", 0.25)
    assert rules.budget == 1.5 * 2**20
    assert (rules.window, rules.percentile, rules.confidence) == (64, 12.5, None)
    assert rules.agree == 0.95
    assert parse_rules(["confidence:8<3.5"]).confidence == 3.5
    assert parse_rules(["step:s<0", "budget:2gb"]).budget == 2 * 10**9


@pytest.mark.parametrize(
    "texts",
    [
        ["step"], ["step:"], ["step:runs/s"], ["step:<0.4"], ["step:s<"], ["step:s<nan"], ["step:s<1.5"],
        ["step:s<-0.1"],
        ["budget:10MB"], ["budget:x", "step:s<0"], ["budget:0", "step:s<0"], ["budget:-5", "step:s<0"],
        ["budget:3 parsecs", "step:s<0"], ["confidence:0<3"], ["confidence:3"], ["confidence:<3"], ["confidence:8<inf"],
        ["confidence:8<120%"], ["confidence:8<x%"], ["agree:0.4"], ["agree:1.01"], ["agree:yes"],
        ["agree:0.9", "agree:1"],
        ["steps:s<0.4"], [""], ["random:0.5"],
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused_in_one_line(texts):
    with pytest.raises(ToolError) as told:
        parse_rules(texts)
    assert str(told.value).startswith("--prune ")
    assert "\n" not in str(told.value)


def test_a_lead_that_no_votes_can_change_is_certain_and_only_that():
    for first, second, left in itertools.product(range(12), range(12), range(12)):
        sure = first > second + left
        assert (keeps_lead(first, second, left) == 1.0) == sure
        assert is_settled([second, first], left, 1.0) == (
            left == 0 or (sure and first >= second) or second > first + left
        )


def test_the_chance_of_a_lead_is_the_beta_binomial_sum():
    """Against Polya's urn in whole fractions: each vote that comes goes to an answer by its votes so far plus one."""

    def urn(first, second, left, lead):
        if left == 0:
            return Fraction(lead > 0)
        total = first + second + 2
        return Fraction(first + 1, total) * urn(first + 1, second, left - 1, lead + 1) + Fraction(
            second + 1, total
        ) * urn(first, second + 1, left - 1, lead - 1)

    for first, second, left in [(3, 1, 4), (5, 5, 3), (0, 0, 5), (2, 3, 6), (7, 2, 8), (4, 0, 9)]:
        assert keeps_lead(first, second, left) == pytest.approx(
            float(urn(first, second, left, first - second)), abs=1e-12
        )


def test_nothing_is_settled_before_the_first_vote():
    assert not is_settled([], 16, 0.5)
    assert not is_settled([0, 0], 3, 0.5)
    assert is_settled([], 0, 1.0)


def test_the_group_confidence_is_the_mean_of_its_window():
    rng = random.Random(5)
    values = [rng.uniform(1, 20) for _ in range(300)]
    group, lows = GroupConfidence(17), []
    for i, value in enumerate(values):
        found = group.add(value)
        if i < 16:
            assert found is None
            continue
        mean = math.fsum(values[i - 16 : i + 1]) / 17
        assert found == pytest.approx(mean)
        if not lows or mean < lows[-1][1] - 1e-12:
            lows.append((i + 1, mean))
    assert [n for n, _ in group.lows] == [n for n, _ in lows]
    assert group.lowest == pytest.approx(lows[-1][1])


def test_a_trace_shorter_than_the_window_has_the_mean_of_its_tokens():
    group = GroupConfidence(50)
    assert group.lowest is None
    assert [group.add(v) for v in (2.0, 4.0, 9.0)] == [None] * 3
    assert group.told == ((3, 5.0),)


@pytest.mark.parametrize("percent", [0, 10, 37.5, 50, 90, 100])
def test_percentiles_are_those_of_numpy(percent):
    import numpy as np

    values = [3.0, -1.0, 8.5, 2.25, 2.25, 11.0, 0.5]
    assert percentile(values, percent) == pytest.approx(float(np.percentile(values, percent)))
    assert percentile([4.0], percent) == 4.0


def test_a_full_budget_takes_the_lowest_first_and_leaves_one():
    assert over_budget([10, 10, 10], [0.9, 0.2, 0.5], 30) == []
    assert over_budget([10, 10, 10], [0.9, 0.2, 0.5], 29) == [1]
    assert over_budget([10, 10, 10], [0.9, 0.2, 0.5], 12) == [1, 2]
    assert over_budget([10, 10, 10], [0.9, 0.2, 0.5], 0) == [1, 2]
    assert over_budget([10, 30, 10], [0.5, 0.5, 0.5], 30) == [1]  # of equals the longest
    assert over_budget([10, 10, 10], [None, 0.99, None], 29) == [1]  # what is not judged yet goes last
    assert over_budget([], [], 5) == []


def test_warm_up_is_a_quarter_of_the_samples_within_its_bounds():
    rules = parse_rules(["confidence:8<10%"])
    assert [rules.n_warm_up(k) for k in (2, 8, 16, 64, 512)] == [2, 2, 4, 16, 16]
    assert parse_rules(["confidence:8<3"]).n_warm_up(64) == 0
