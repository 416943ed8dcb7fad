import pytest

from tools_shared.answers import extract, gold_answer
from tools_shared.prompts import PROFILES

TAGS, THINK, BOXED = PROFILES["gsm8k-tags"], PROFILES["think"], PROFILES["boxed"]
GOLD = "<start_working_out>6*3=18<end_working_out><SOLUTION> 18 </SOLUTION>"


def test_strict_reads_the_tags_and_says_where():
    found = extract(GOLD, TAGS)
    assert (found.answer, found.method) == ("18", "tags")
    assert GOLD[slice(*found.span)].strip() == "18"


@pytest.mark.parametrize("profile", PROFILES.values(), ids=str)
@pytest.mark.parametrize("opened", [False, True])
def test_the_gold_completion_of_every_profile_parses_back(profile, opened):
    text = profile.completion("so it is 3", "\\frac{1}{2}", opened=opened)
    assert extract(text, profile, opened=opened).answer == "\\frac{1}{2}"


@pytest.mark.parametrize(
    "text", ["the answer is 18", "<SOLUTION></SOLUTION>", "\\boxed{18}", "<SOLUTION>18", "", "#### 18"]
)
def test_strict_finds_nothing_outside_the_tags(text):
    found = extract(text, TAGS)
    assert (found.answer, found.method, found.span) == (None, "none", None)


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    ("profile", "text", "opened"),
    [
        (TAGS, "<start_working_out>18 <SOLUTION>18</SOLUTION>", False),
        (TAGS, "the answer is 18", True),
        (THINK, "<think>\\boxed{18}", False),
    ],
)
def test_unclosed_reasoning_is_no_answer(profile, text, opened, lenient):
    assert extract(text, profile, opened=opened, lenient=lenient).answer is None


@pytest.mark.parametrize(
    ("text", "answer", "method"),
    [
        (GOLD, "18", "tags"),
        ("so \\boxed{\\frac{1}{2}} it is, not 7", "\\frac{1}{2}", "boxed"),
        ("6*3=18\n#### 1,018", "1,018", "hash"),
        ("#### Step 1: add\n6 + 3 = 9", "9", "last-number"),
        ("6*3=18\nA: 18", "18", "answer-line"),
        ("so\n**Answer:** $18.50", "$18.50", "answer-line"),
        ("So the answer is 18. That was easy.", "18", "answer-line"),
        ("The final answer is: 18 dollars", "18 dollars", "answer-line"),
        ("The answer to the question is 4.\nA: 5", "5", "answer-line"),
        ("first 3, then -4.5.", "-4.5", "last-number"),
        ("10-5", "5", "last-number"),
        ("it is 3/4 of 1,200,", "1,200", "last-number"),
        ("it is 25% of it", "25%", "last-number"),
        ("a \\frac{3}{4} b", "\\frac{3}{4}", "last-number"),
        ("<SOLUTION>18", "18", "last-number"),
        ("<start_working_out>so 18<end_working_out>", "18", "last-number"),
        ("<start_working_out>so 18<end_working_out> I say 19", "19", "last-number"),
        ("nothing here", None, "none"),
    ],
)
def test_lenient_in_its_order(text, answer, method):
    found = extract(text, TAGS, lenient=True)
    assert (found.answer, found.method) == (answer, method)
    if answer is not None:
        assert text[slice(*found.span)].strip() == answer


def test_the_box_profile_takes_the_last_box():
    assert extract("\\boxed{1} then \\boxed{\\sqrt{2}}", BOXED).answer == "\\sqrt{2}"
    assert extract("\\boxed{1", BOXED).answer is None


def test_gold_answers_of_gsm8k():
    assert gold_answer("He has 70,000.\n#### 70,000") == "70,000"
    assert gold_answer("no mark") is None
    assert gold_answer("####  \n5") is None
