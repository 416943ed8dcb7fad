import pytest

from tools_shared.answers import equal, extract, gold_answer, judge
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
        ("The final answer is: 18 dollars", "18", "answer-line"),
        ("The answer to the question is 4.\nA: 5", "5", "answer-line"),
        ("first 3, then -4.5.", "-4.5", "last-number"),
        ("10-5", "10-5", "last-math"),
        ("it is 3/4 of 1,200,", "3/4", "last-number"),
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


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so we get $\\frac{\\pi}{2}$", "\\frac{\\pi}{2}"),
        ("it is \\frac{3\\sqrt{5}}{7}", "\\frac{3\\sqrt{5}}{7}"),
        ("so $x \\in [-2, 10]$ for 3 reasons", "x \\in [-2, 10]"),
        ("the matrix is \\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}.", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"),
        ("the area is 5 cm^2", "5"),
        ("the area is 5 m2.", "5"),
        ("it is 3 × 10^5 m", "3 × 10^5"),
        ("it takes 3 1/2 hours", "3 1/2"),
        ("it takes 3½ hours", "3½"),
        ("Le total est de 1 000 euros", "1 000"),
        ("12,34,567 rupees", "12,34,567"),
        ("1'234'567 francs", "1'234'567"),
        ("Es kostet 1.000,50 Euro.", "1.000,50"),
        ("The temperature is −3.", "−3"),
        ("The temperature is –3.", "–3"),
        ("at 10:30", "10:30"),
        ("between 10-15 minutes", "10-15"),
        ("We get 3x + 7.", "3x + 7"),
        ("It is 8 or 9.", "8 or 9"),
        ("Thus\n\n\\[ x = 2 + 3 = 5 \\]\n\nas required.", "5"),
        ("Thus $2x + y = 0$.", "2x + y = 0"),
        ("She earns $5 an hour, so $10.", "$10"),
    ],
)
def test_no_digit_is_torn_out_of_a_larger_whole(text, answer):
    found = extract(text, BOXED, lenient=True)
    assert found.answer == answer
    assert text[slice(*found.span)] == answer


@pytest.mark.parametrize(
    ("sentence", "answer"),
    [
        ("Ann has 7 pears.", "7"),
        ("about 7", "7"),
        ("≈7", "7"),
        ("7 because 3 + 4 = 7 and not 8", "7"),
        ("3 + 4 = 7 pears", "7"),
        ("7 pears, i.e. 3 more than 4", "7"),
        ("7 per day (3 pears + 4)", "7"),
        ("3/4 of the pears", "3/4"),
        ("12 of them", "12"),
        ("The largest $n$ is 34.", "34"),
        ("Bo gave away 3 of his 10 pears and has 7 left.", "7"),
        ("In 5 days he eats 7.", "7"),
        ("x=2 or x=3", "x=2 or x=3"),
        ("2 and 3", "2 and 3"),
    ],
)
def test_the_quantity_of_a_sentence_behind_a_marker_in_a_box_and_in_tags(sentence, answer):
    for text in (f"So.\nAnswer: {sentence}", f"The answer is {sentence}", f"**Final Answer**\n\n{sentence}"):
        assert extract(text, TAGS, lenient=True).answer == answer
    assert equal(answer, extract(f"\\boxed{{{sentence}}}", BOXED).answer).correct
    assert equal(answer, extract(f"<SOLUTION>{sentence}</SOLUTION>", TAGS).answer).correct


def test_where_an_answer_line_has_no_quantity_the_ladder_goes_on():
    assert extract("The answer is 7. I hope this answer is helpful!", TAGS, lenient=True).answer == "7"
    assert extract("So 7.\nThe answer is correct.", TAGS, lenient=True).answer == "7"
    assert extract("The answer is Ann, as 7 > 5.", TAGS, lenient=True).whole == "Ann, as 7 > 5"
    assert extract("Answer: Ann", TAGS, lenient=True).answer == "Ann"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("7 dozen eggs in 4 weeks", "7"),
        ("$1,250 in 3 years", "$1,250"),
        ("**9**", "9"),
        ("The answer is 21", "21"),
        ("1/6 of the 30 pupils", "1/6"),
        ("-8 degrees at 10:30", "-8"),
    ],
)
def test_the_quantity_that_begins_behind_a_hash_mark_counts(line, answer):
    found = extract(f"3 * 7 = 21\n#### {line}", BOXED, lenient=True)
    assert (found.answer, found.method) == (answer, "hash")


def test_a_truncated_text_has_no_answer_outside_tags_and_boxes():
    for text in ("so she has 18", "The answer is 18", "#### 18", "$x = 18$"):
        assert extract(text, BOXED, lenient=True).answer is not None
        assert extract(text, BOXED, lenient=True, truncated=True).answer is None
    assert extract("\\boxed{18} so", TAGS, lenient=True, truncated=True).answer == "18"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So she pays 13 * 2 = $<<13*2=26>>26", "26"),
        ("That leaves 48/2 = <<48/2=24>>24 clips.", "24"),
        ("He runs 3*60=<<3*60=180>>180 meters", "180"),
        ("The sum is <<1+2=3>>3 and then <<3*3=9>>9", "9"),
    ],
)
def test_a_calculators_note_is_no_part_of_the_answer(text, answer):
    judged = judge(text, answer, PROFILES["boxed"])
    assert judged.lenient_correct, judged.lenient
