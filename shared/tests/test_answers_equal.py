from fractions import Fraction

import pytest

from tools_shared.answers import OutOfBounds, Status, equal, equal_many, parse_number


@pytest.mark.parametrize(
    ("gold", "given"),
    [
        ("1000", "1,000"),
        ("1000", "1{,}000"),
        ("10080", "10,\\!080"),
        ("11,\\! 111,\\! 100", "11111100"),
        ("1000000", "1\u202f000\u202f000"),
        ("72", "$72"),
        ("72", "\\$72"),
        ("72", "€72.00"),
        ("72", "72 dollars"),
        ("72", "72$"),
        ("72", "$72$"),
        ("72", "72.0"),
        ("72", "72."),
        ("72", "**72**"),
        ("72", "\\boxed{72}"),
        ("72", "\\( 72 \\)"),
        ("72", "The answer is 72."),
        ("-72", "-$72"),
        ("-72", "\u221272"),
        ("0.75", "3/4"),
        ("3/4", "\\frac{3}{4}"),
        ("3/4", "\\dfrac34"),
        ("3/4", "\\frac 34"),
        ("-3/4", "\\frac{-3}{4}"),
        ("-3/4", "-\\tfrac{3}{4}"),
        ("13/4", "3 1/4"),
        ("13/4", "3\\frac{1}{4}"),
        ("3.5", "3½"),
        ("0.5", "½"),
        (".35625", "0.35625"),
        ("364000", "3.64e5"),
        ("364000", "3.64 \\times 10^5"),
        ("364000", "3.64×10^{5}"),
        ("2000000", "2 million"),
        ("5", "x = 5"),
        ("5", "x_1 = 5"),
        ("5", "Total cost = $5"),
        ("5", "5\\text{ cm}"),
        ("15", "15\\mbox{ cm}^2"),
        ("5", "5 cm²"),
        ("60", "60 miles per hour"),
        ("60", "60mph"),
        ("90", "90^\\circ"),
        ("90", "90°"),
        ("90^{\\circ}", "90 degrees"),
    ],
)
def test_one_number_in_many_spellings(gold, given):
    assert equal(gold, given) == equal(given, gold)
    assert equal(gold, given).status is Status.CORRECT
    assert equal(gold, given).method == "number"


@pytest.mark.parametrize(
    ("gold", "given", "status"),
    [
        ("10000000001", "10000000002", "wrong"),
        ("0.1", "0.10000000000000001", "wrong"),
        ("1/3", "0.3333333333", "wrong"),
        ("18", "18 or 20", "wrong"),
        ("18", "20 or 18", "wrong"),
        ("18", "18, 20", "wrong"),
        ("18", "17 18", "wrong"),
        ("2", "1 2", "wrong"),
        ("12", "1 2", "wrong"),
        ("18", "not 18", "unparseable"),
        ("18", "18 or more", "unparseable"),
        ("18", "18 thousand", "wrong"),
        ("18.5", "18 and a half", "unparseable"),
        ("18", "eighteen", "unparseable"),
        ("18", "", "unparseable"),
        ("18", "   ", "unparseable"),
        ("18", "3/0", "unparseable"),
        ("18", "1e999999999", "unparseable"),
        ("18", "10 \\times 10^{99999999999999}", "unparseable"),
        ("18", "8" * 2000, "unparseable"),
        ("", "18", "gold_invalid"),
        ("3/0", "18", "gold_invalid"),
        ("1e999999999", "1e999999999", "gold_invalid"),
        ("7" * 2000, "18", "gold_invalid"),
        ("x=5", "y=5", "wrong"),
        ("52_8", "52", "wrong"),
        ("52_8", "52_9", "wrong"),
        ("52", "52_8", "unparseable"),
    ],
)
def test_what_is_not_the_number(gold, given, status):
    assert equal(gold, given).status == status


@pytest.mark.parametrize(
    ("gold", "given", "same"),
    [
        ("12%", "12", True),
        ("12", "12\\%", True),
        ("0.12", "12%", True),
        ("12%", "12 percent", True),
        ("12%", "0.12%", False),
        ("0.12", "12", False),
        ("1200", "12%", False),
    ],
)
def test_a_percent_sign_is_a_unit_or_a_hundredth(gold, given, same):
    assert equal(gold, given).correct is same
    assert equal(given, gold).correct is same


@pytest.mark.parametrize(
    ("gold", "given", "same"),
    [
        ("\\text{Evelyn}", "evelyn", True),
        ("\\text{(C)}", "C", True),
        ("(C)", "(c)", True),
        ("C", "D", False),
        ("Monday", "Monday.", True),
        ("Monday", "Tuesday", False),
        ("Monday", "3", False),
        ("\\text{east}", "\\textbf{East}", True),
        ("No", "no", True),
        ("52_8", "52_{8}", True),
        ("p - q", "p-q", True),
        ("(F)", "(G)", False),
    ],
)
def test_words_are_compared_by_their_letters(gold, given, same):
    verdict = equal(gold, given)
    assert verdict.correct is same
    assert not same or verdict.method == "text"


def test_a_given_answer_that_is_words_where_algebra_is_wanted():
    assert equal("\\sqrt{2}", "Monday").status is Status.UNPARSEABLE


def test_identical_answers_are_exact():
    assert equal("\\sqrt{51}", "\\sqrt{51}").method == "exact"


def test_numbers_are_read_as_fractions():
    number = parse_number("x = 12.5\\%")
    assert (number.value, number.percent, number.name) == (Fraction(25, 2), True, "x")
    assert parse_number("1,00") is None
    assert parse_number("5x") is None
    assert parse_number("\\pi") is None
    with pytest.raises(OutOfBounds):
        parse_number("1e-100000")


def test_many_pairs_keep_their_order():
    pairs = [("1", "1.0"), ("1", "2"), ("a b c", "a b c"), ("", "1")]
    assert [v.status.value for v in equal_many(pairs)] == ["correct", "wrong", "correct", "gold_invalid"]
