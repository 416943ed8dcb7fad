"""`tools-bench evaluate` and `tools-bench run` judge the same completions alike."""

from statistics import fmean

import pytest

from tools_bench.grading.grade import grade_all
from tools_bench.requests.item import Item
from tools_bench.requests.journal import Response
from tools_shared.engines import Completion
from tools_shared.evaluation import RATES, grade, rates
from tools_shared.prompts import PROFILES, Prompt
from tools_shared.records import Problem

REPLIES = [
    ("\\frac{3}{4}", "So \\boxed{0.75}.", "stop"),
    ("(x+1)^2", "<think>expand</think>\\boxed{x^2+2x+1}", "stop"),
    ("(x+1)^2", "<think>expand</think>\\boxed{x^2+1}", "stop"),
    ("-2", "<think>signs</think>The answer is -2.", "stop"),
    ("-2", "<think>signs: -2", "length"),
    ("12", "So she has 12 and", "length"),
    ("12", "<start_working_out>a<end_working_out><SOLUTION>12</SOLUTION><|im_end|>\\boxed{3}", "stop"),
    ("12", "<start_working_out>a<end_working_out><SOLUTION>12</SOLUTION> and", "length"),
    ("12", "\\boxed{12}. Remember to use \\boxed{}.", "stop"),
    ("12", "I cannot.", "stop"),
    ("[2, 5)", "A: [2, 5)", "stop"),
]


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_evaluate_and_run_give_equal_rates_on_the_same_completions(profile, opened):
    evaluated = [
        grade(Problem(str(i), "?", gold), Prompt("", (), opened), Completion(text, (1,), finish), profile)
        for i, (gold, text, finish) in enumerate(REPLIES)
    ]
    items = [Item("math", "math", str(i), "?", answer=gold) for i, (gold, _, _) in enumerate(REPLIES)]
    responses = {
        ("math", str(i), 0): Response("math", str(i), 0, text, finish, opens_thinking=opened)
        for i, (_, text, finish) in enumerate(REPLIES)
    }
    served = grade_all(items, responses, profile)
    measured = rates(evaluated)
    for name in RATES:
        assert fmean(g.values[name] for g in served) == pytest.approx(measured[name]["estimate"]), name
    assert [g.answer for g in served] == [g.lenient_answer for g in evaluated]
