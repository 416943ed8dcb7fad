"""The quick way finds what the ladder finds, or nothing; and a plain number is read to the grammar's value."""

import itertools
import random

import pytest

from tools_shared.answers import equal, extract
from tools_shared.answers.clean import clean
from tools_shared.answers.extract import _anywhere
from tools_shared.answers.numbers import parse_clean, plain_number
from tools_shared.answers.plain import plain_answer
from tools_shared.prompts import PROFILES

PROFILE = PROFILES["gsm8k-tags"]
NUMBERS = ("18", "-3", "$15", "1,000", "$1,234.50", "0.50", "007", "18.", ".5", "15th", "3/4", "12,5", "5%", "1e5")
BEFORE = (
    "x = 3\n", "He has 2 * 3 = <<2*3=6>>6 eggs.\n", "It costs $5 and $6.\n", "# Head\n", "Answer: 4\n", "A : 4\n",
    "\\(x=2\\)\n", "$x\n", "#### 3\n", "The answer is hidden.\n", "\\[\n", "\\fbox 3\n", "é ：\n", "the plans\n", "",
)  # fmt: skip
MARKED = (
    "A: {}", "#### {}", "####{}", "The answer is {}", "Thus, the answer is: {}", "**Answer:** {}", "**Answer**: {}",
    "Final answer: {}", "\\boxed{{{}}}", "The \\boxed{{{}}} and", "so {} is",
)  # fmt: skip
ENDS = ("", ".", "!", "\n", " ", "?", ":", "**", "$", "\t")
WORDS = (
    "she has there are the answer solution note step Day May percent per minus negative plus times mod to x a I pi log "
    "half million Rs USD at for in if because which not he's Janet's dollars cm st decimal steps January left each "
    "than before about Therefore In result correct option is equals antwort Final A Ans ln x's Check PS"
).split()


def replies(n: int) -> list[str]:
    rng = random.Random(0)

    def last_line() -> str:
        number = rng.choice(NUMBERS)
        if rng.random() < 0.4:
            return rng.choice(MARKED).format(number)
        words = rng.choices(WORDS, k=rng.randint(0, 5)), rng.choices(WORDS, k=rng.randint(0, 3))
        line = " ".join([*words[0], number, *words[1]]).replace(" ", rng.choice((" ", ", ")), 1)
        return line[:1].upper() + line[1:]

    return [rng.choice(BEFORE) + rng.choice(BEFORE) + last_line() + rng.choice(ENDS) for _ in range(n)]


def test_the_quick_way_is_the_ladder():
    texts = replies(20_000)
    quick = [text for text in texts if plain_answer(text, ("<SOLUTION>", "<start_working_out>"))]
    assert len(quick) > 1500
    for text in quick:
        assert extract(text, PROFILE, lenient=True) == _anywhere(text, 0, False), text


@pytest.mark.parametrize(("text", "answer"), [
    ("So \\fbox 18 it is.\nA: 7", "18"),
    ("So \\boxed 18 it is.\n#### 7", "18"),
    ("\\fbox{18}\nHe has 7 eggs left.", "18"),
])  # fmt: skip
def test_a_box_in_any_spelling_goes_before_the_last_line(text, answer):
    assert extract(text, PROFILE, lenient=True).answer == answer


@pytest.mark.parametrize(
    "text", ["18", "-18", "$18", "18.00", "18.50", "1,000", "-$1,000", "$-1,234.5", "0,500", "00.10"]
)
def test_a_plain_number_has_the_value_of_the_grammar(text):
    plain = plain_number(text)
    if plain is not None:
        assert parse_clean(clean(text)).value * 10 ** plain[1] == plain[0]


def test_plain_numbers_are_equal_as_the_grammar_says():
    texts = ("18", "18.0", "18.5", "$18.50", "1,000", "1000.00", "-0", "0", "0.10", ".1", "18 dollars", "37/2")
    for one, other in itertools.product(texts, repeat=2):
        same = parse_clean(clean(one)).value == parse_clean(clean(other)).value
        assert equal(one, other).correct is same


def test_a_calculators_note_that_was_cut_needs_no_algebra():
    verdict = equal("92", "$<<41.472+8")
    assert (verdict.status, verdict.method) == ("unparseable", "number")
