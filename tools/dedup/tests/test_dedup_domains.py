"""A rule is for texts of a kind: which is taken, what is said of others, and multiple choice without its options."""

from __future__ import annotations

import pytest

from tools_dedup.config import DedupConfig
from tools_dedup.decision.domains import domain_of, stem_of
from tools_dedup.run import decontaminate

STEM = "Which of these treaties ended the war between the two northern kingdoms?"
PYTHON = (
    'def count_vowels(text):\n    """Count vowels.\n    >>> count_vowels(\'banana\')\n    3\n    """\n'
    "    total = 0\n    for letter in text:\n        if letter in 'aeiou':\n            total += 1\n    return total"
)
JAVASCRIPT = (
    "/** Gives the number of vowels in a text. countVowels('banana') is 3 */\nfunction countVowels(text) {\n"
    "  const vowels = 'aeiou';\n  return [...text].filter(letter => vowels.includes(letter)).length;\n}"
)
RUST = (
    "/// Adds up the areas of all given circles.\nfn total_area(circles: &[Circle]) -> f64 {\n"
    "    let mut total = 0.0;\n    for c in circles {\n        total += 3.1 * c.radius * c.radius;\n    }\n    total\n}"
)
PROSE = [
    "Why do sociologists speak of an iron cage when they describe modern offices?",
    "Which author described the whale hunt of a captain without a leg?",
    "What did the farmers of the valley plant after the long winter?",
]


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        (PYTHON, "code"), (JAVASCRIPT, "code"), (RUST, "code"), (PROSE[0], "text"), (STEM, "text"),
        ("Tom has 3 apples and buys 4 more. How many has he?", "mathematics"),
        (r"Solve $x^2 = \frac{1}{4}$ for positive $x$.", "mathematics"),
    ],
)  # fmt: skip
def test_domains(text, domain):
    assert domain_of(text) == domain


@pytest.mark.parametrize("form", ["\n{}. {}", "\n({}) {}", "\n{}) {}", " {}. {}"])
@pytest.mark.parametrize("names", ["ABCD", "abcd", "1234"])
def test_options_are_no_part_of_the_stem(form, names):
    options = zip(names, ("Oak", "Elm", "Ash", "Fir"), strict=True)
    assert stem_of(STEM + "".join(form.format(name, text) for name, text in options)) == STEM


@pytest.mark.parametrize("text", [STEM, "A. Rossi met B. Bianchi.", "True? A. yes B. no C. so", "1. Wash\n2. Dry"])
def test_other_texts_are_their_own_stem(text):
    assert stem_of(text) == text


def outcome(rows, tests, **options):
    config = DedupConfig(method=("exact", "lexical"), text_key="text", **options)
    found = decontaminate([{"text": text} for text in rows], [{"text": text} for text in tests], config)
    return [match["removed_by"] for match in found.matches], found


def test_a_rewording_of_the_stem_is_found_with_and_without_options():
    options = "\nA. the treaty of the river\nB. the treaty of the hill\nC. the long truce\nD. none of these"
    reworded = "Which of these treaties brought the war between the two northern kingdoms to its end?"

    reasons, _ = outcome([*PROSE, reworded], [STEM + options, "Another question."])
    assert reasons == [None, None, None, "lexical"]


def test_code_is_found_in_another_language():
    assert outcome([RUST, *PROSE, JAVASCRIPT], [PYTHON])[0] == [None, None, None, None, "lexical"]


def test_texts_unlike_those_of_the_rule_are_said_and_no_probability_is_claimed():
    _, found = outcome(PROSE, ["¿Cuánto cuesta la entrada del museo para una familia de la ciudad?"] * 1)
    assert any("unlike" in warning and "not in English" in warning for warning in found.warnings)

    _, like = outcome(["A shop sells 12 pens and 7 books a day. How many things does it sell in 5 days?"], [
        "A ferry carries 48 cars on its lower deck and 17 vans on its upper one. Each car pays 12 euros and each van "
        "pays 21 euros. How much money does the ferry earn on one crossing in the summer?"
    ])  # fmt: skip
    assert not any("unlike" in warning for warning in like.warnings)


def test_mixed_test_sets_are_said():
    maths = "A shop sells 12 pens and 7 books a day. How many things does it sell in 5 days?"
    _, found = outcome(PROSE, [maths, PYTHON, STEM])

    assert any("mixed" in warning for warning in found.warnings)
