import pytest

from tools_shared.answers import Case, judge, judge_many
from tools_shared.engines import Completion
from tools_shared.evaluation import grade
from tools_shared.prompts import PROFILES, Prompt
from tools_shared.prompts.blocks import is_placeholder
from tools_shared.records import Problem

TAGS, THINK, BOXED = PROFILES["gsm8k-tags"], PROFILES["think"], PROFILES["boxed"]
END_TOKENS = [
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "</s>",
    "<|endoftext|>",
    "<|end|>",
    "<|im_end|>\n<|im_start|>user",
]


@pytest.mark.parametrize(
    ("text", "truncated", "correct", "lenient", "outcome"),
    [
        ("So \\boxed{\\frac{\\pi}{4}}", False, True, True, "correct"),
        ("So \\boxed{\\frac{\\pi}{4}} and then", True, True, True, "correct"),
        ("so it is $\\frac{\\pi}{4}$, and then", True, False, False, "truncated"),
        ("The answer is \\frac{\\pi}{4}. To check", True, False, False, "truncated"),
        ("#### \\frac{\\pi}{4}", True, False, False, "truncated"),
        ("So \\boxed{2} and then", True, False, False, "truncated"),
        ("So \\boxed{2}", False, False, False, "wrong"),
        ("I do not know.", False, False, False, "no_answer"),
        ("", False, False, False, "no_answer"),
    ],
)
def test_the_outcome_of_a_completion(text, truncated, correct, lenient, outcome):
    judged = judge(text, "\\frac{\\pi}{4}", BOXED, truncated=truncated)
    assert (judged.correct, judged.lenient_correct, judged.outcome) == (correct, lenient, outcome)


@pytest.mark.parametrize("gold", ["", "1/0", "1e999999", "9" * 5000])
@pytest.mark.parametrize("text", ["\\boxed{3}", "nothing", "\\boxed{1/0}", ""])
def test_a_gold_answer_that_cannot_be_read_is_an_outcome_whatever_the_completion_says(gold, text):
    judged = judge(text, gold, BOXED)
    assert (judged.gold_invalid, judged.outcome) == (True, "gold_invalid")
    assert (judged.correct, judged.lenient_correct) == (False, False)
    evaluated = grade(Problem("p", "?", gold), Prompt("", ()), Completion(text, (), "stop"), BOXED)
    assert evaluated.verdict == "gold_invalid"


@pytest.mark.parametrize("token", END_TOKENS)
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_what_follows_the_end_of_the_turn_is_not_judged(profile, token):
    text = profile.completion("so", "-3/4") + token
    for rest in ("", "\nI mean \\boxed{5}", "\n<SOLUTION>5</SOLUTION>", " The answer is 5."):
        judged = judge(text + rest, "-0.75", profile)
        assert (judged.correct, judged.well_formed) == (True, True)
    assert judge(token + profile.completion("so", "-3/4"), "-0.75", profile).outcome == "no_answer"


def test_harmonys_end_of_the_analysis_is_not_the_end_of_the_turn():
    text = (
        "<|channel|>analysis<|message|>6*7<|end|><|start|>assistant<|channel|>final<|message|>\\boxed{42}<|return|>43"
    )
    assert judge(text, "42", BOXED).correct


@pytest.mark.parametrize(
    "text",
    [
        "so \\boxed{18}. Remember to use \\boxed{}.",
        "so \\boxed{18}. The format is \\boxed{your answer}.",
        "so \\boxed{18}, written as \\boxed{\\text{answer}} or $\\boxed{\\ldots}$ or \\boxed{\\phantom{18}}",
        "so $\\boxed 18$",
        "so \\boxed {18}",
        "so \\fbox{18}",
        "so $\\boxed18$.",
        "so \\boxed{\\boxed{18}}",
        "so \\boxed{17 and so \\boxed{18}",
        "so \\boxed{18} or \\boxed{",
    ],
)
def test_the_last_box_that_is_filled_counts_in_each_of_its_spellings(text):
    assert judge(text, "18", BOXED).correct
    assert judge(text, "18", TAGS).lenient_correct


@pytest.mark.parametrize(
    "content", ["", " ", "...", "?", "____", "your final answer", "\\text{your answer here}", "[answer]"]
)
def test_placeholders(content):
    assert is_placeholder(content)


@pytest.mark.parametrize("content", ["0", "-", "x", "A", "no", "\\emptyset", "number 5", "Ann", "none", "\\{\\}"])
def test_what_is_no_placeholder(content):
    assert not is_placeholder(content)


def test_many_are_judged_as_each_alone():
    cases = [
        Case("\\boxed{(x+1)^2}", "x^2+2x+1"),
        Case("\\boxed{5}", "1/0"),
        Case("5", "5", truncated=True),
        Case("a</think>\\boxed{5}", "5", opened=True),
    ]
    assert judge_many(cases, THINK) == [
        judge(c.text, c.gold, THINK, opened=c.opened, truncated=c.truncated) for c in cases
    ]
