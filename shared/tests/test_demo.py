"""The problem generator: same items in any order, no question in two splits, every step computed right."""

import re
from collections import Counter

import pytest

from tools_shared.demo.problems import FAMILIES, SPLITS, STEP_WEIGHTS, generate, owner, problems
from tools_shared.errors import ToolError
from tools_shared.sources import read_rows

N = 1500


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict]]:
    return {split: list(problems(split, N)) for split in SPLITS}


def compute(expression: str) -> int:
    """An integer evaluator of its own: one sign between two numbers."""
    left, sign, right = re.fullmatch(r"(\d+)([-+*/])(\d+)", expression).groups()
    a, b = int(left), int(right)
    if sign == "/":
        assert a % b == 0, expression
    return {"+": a + b, "-": a - b, "*": a * b, "/": a // max(b, 1)}[sign]


def test_an_item_does_not_depend_on_those_before_it(rows):
    backwards = [generate(index, "train") for index in reversed(range(50))]
    assert backwards[::-1] == rows["train"][:50] == list(problems("train", 50))


def test_the_seed_changes_the_items(rows):
    assert rows["train"][:50] != list(problems("train", 50, seed=1))


def test_splits_share_no_question_whatever_the_seed(rows):
    for split in SPLITS:
        assert {owner(row["question"]) for row in rows[split]} == {split}
        assert {owner(row["question"]) for row in problems(split, 200, seed=7)} == {split}


def test_questions_hardly_repeat_inside_a_split(rows):
    for split in SPLITS:
        assert len({row["question"] for row in rows[split]}) >= 0.995 * N


def test_an_unknown_split_names_the_known_ones():
    with pytest.raises(ToolError, match="'dev': use train, test"):
        list(problems("dev", 1))


@pytest.mark.parametrize("longest", [1, 2, 5])
def test_longer_problems_can_be_left_out_by_address(longest):
    rows = [row.data for row in read_rows(f"demo://problems?split=validation&size=300&longest={longest}")]
    steps = Counter(row["n_steps"] for row in rows)
    assert set(steps) == set(range(1, longest + 1))
    assert {owner(row["question"]) for row in rows} == {"validation"}


def test_the_longest_length_is_the_default():
    address = "demo://problems?split=test&size=50"
    assert [row.data for row in read_rows(f"{address}&longest=6")] == [row.data for row in read_rows(address)]


@pytest.mark.parametrize("longest", ["0", "7", "two"])
def test_a_length_that_there_is_not_is_refused(longest):
    with pytest.raises(ToolError, match="longest"):
        list(read_rows(f"demo://problems?size=1&longest={longest}"))


def test_every_step_is_right_and_the_last_one_is_the_answer(rows):
    for row in (row for split in SPLITS for row in rows[split]):
        *lines, last = row["answer"].split("\n")
        assert len(lines) == row["n_steps"]
        results = []
        for line in lines:
            expression, result = re.fullmatch(r"(\S+)=(\d+) \w+\.", line).groups()
            assert compute(expression) == int(result), line
            assert 2 <= int(result) <= 200
            results.append(result)
        assert last == f"#### {results[-1]}"


def test_every_number_computed_with_was_given_or_computed_before(rows):
    words = {"half": "2", "twice": "2", "three": "3", "third": "3", "four": "4", "quarter": "4", "fifth": "5"}
    percents = {"10%": "10", "20%": "5", "25%": "4"}
    for row in rows["test"]:
        known = set(re.findall(r"\d+", row["question"]))
        known |= {number for word, number in (words | percents).items() if word in row["question"].lower()}
        known |= {str(int(number) + 1) for number in re.findall(r"and (\d+) friends", row["question"])}
        for line in row["answer"].split("\n")[:-1]:
            left, right, result = re.findall(r"\d+", line)
            assert {left, right} <= known, row
            known.add(result)


def test_all_families_and_step_counts_occur_in_their_shares(rows):
    families = Counter(row["family"] for row in rows["test"])
    assert set(families) == {family.name for family in FAMILIES}
    assert min(families.values()) > 0.6 * N / len(FAMILIES)
    steps = Counter(row["n_steps"] for row in rows["test"])
    for n_steps, weight in STEP_WEIGHTS.items():
        assert abs(steps[n_steps] / N - weight / sum(STEP_WEIGHTS.values())) < 0.04


def test_questions_read_as_sentences(rows):
    for row in rows["train"]:
        question = row["question"]
        assert question.endswith("?")
        assert "{" not in question
        assert "  " not in question
        assert all(sentence[0].isupper() or sentence[0].isdigit() for sentence in re.split(r"(?<=[.?]) ", question))
        assert not re.search(r"\b1 \w+s\b", question)
        assert len(question) < 450
