"""Verdicts: directions, corrections, and the simulation that says how often they are wrong."""

import numpy as np
import pytest

from tools_bench.comparison.verdicts import failed_gates, judge, judge_aggregates
from tools_shared.errors import ToolError

METRICS = ("accuracy", "accuracy_lenient", "exact_match", "numeric_match", "partial_match", "answer_proportion")
N = 1319


def by_name(verdicts):
    return {v.metric: v for v in verdicts}


def column(n_right, n=200):
    return [1.0] * n_right + [0.0] * (n - n_right)


def test_each_metric_knows_its_direction():
    pairs = {"refusal_rate": (column(100), column(180)), "false_refusal_rate": (column(10), column(80))}
    found = by_name(judge(pairs))
    assert found["refusal_rate"].verdict == "improved"
    assert found["false_refusal_rate"].verdict == "regressed"  # more refusals of safe requests: no improvement
    assert found["false_refusal_rate"].worse_by == pytest.approx(35)


def test_what_has_no_direction_is_described():
    (verdict,) = judge({"thinking_proportion": (column(0), column(200))})
    assert verdict.verdict == "described"


def test_equivalent_only_when_the_interval_says_so():
    same = column(100, 5000)
    assert judge({"accuracy": (same, same)})[0].verdict == "equivalent"
    few = column(5, 20)
    assert judge({"accuracy": (few, few)})[0].verdict == "inconclusive"


def test_the_detectable_effect_is_always_there():
    (verdict,) = judge({"accuracy": (column(100), column(101))})
    assert 0 < verdict.minimum_detectable < 0.1


def test_gates():
    verdicts = judge({"accuracy": (column(150), column(100))})
    assert failed_gates(verdicts, {"accuracy": 2})[0].startswith("accuracy is worse by 25.0 points")
    assert failed_gates(verdicts, {"accuracy": 30}) == []
    with pytest.raises(ToolError, match="did you mean 'accuracy'"):
        failed_gates(verdicts, {"acuracy": 2})


def test_old_aggregates_are_unpaired():
    found = by_name(judge_aggregates({"numeric_match": (0.6, 1319, 0.5, 1319), "exact_match": (0.6, 100, 0.58, 100)}))
    assert found["numeric_match"].verdict == "regressed"
    assert found["exact_match"].verdict == "inconclusive"
    assert found["numeric_match"].low < -0.1 < found["numeric_match"].high


def two_models(rng, drop=0.0):
    """Two models of the same skill on the same questions, on all metrics of mathematics, which hang together.

    A question's difficulty is shared, each model's luck is its own; about 15 % of the answers differ.
    """
    skill = np.clip(rng.beta(0.25, 0.18, N), 0.0, 1.0)
    sides = []
    for lost in (0.0, drop):
        right = rng.random(N) < skill
        right &= rng.random(N) >= lost / skill.mean()
        formatted = rng.random(N) < 0.95
        lucky = rng.random(N) < 0.03
        sides.append(
            {
                "accuracy": right & formatted,
                "accuracy_lenient": right,
                "exact_match": right & (rng.random(N) < 0.9),
                "numeric_match": right,
                "partial_match": right | lucky,
                "answer_proportion": formatted,
            }
        )
    return {name: tuple(side[name].astype(float).tolist() for side in sides) for name in METRICS}


def test_identical_models_are_flagged_at_most_as_often_as_alpha_says():
    rng = np.random.default_rng(7)
    flagged = [any(v.verdict in ("improved", "regressed") for v in judge(two_models(rng))) for _ in range(200)]
    assert sum(flagged) / len(flagged) <= 0.05


def test_a_planted_drop_of_five_points_is_found():
    rng = np.random.default_rng(11)
    found = [by_name(judge(two_models(rng, drop=0.05)))["accuracy_lenient"].verdict for _ in range(60)]
    assert found.count("regressed") >= 0.9 * len(found)
    assert "improved" not in found
