"""The contaminated demo set: labels that are true, and answers that follow from the numbers."""

from __future__ import annotations

from collections import Counter

import pytest

from tools_shared.demo.contaminated import _STEP, TEST_SEED, contaminated
from tools_shared.demo.problems import generate
from tools_shared.errors import ToolError
from tools_shared.sources import read_rows

ROWS = list(contaminated(400))


def test_every_kind_is_there_in_about_its_share():
    shares = Counter(row["label"] for row in ROWS)

    assert set(shares) == {"clean", "copy", "rewording", "twin"}
    assert 300 < shares["clean"] < 380


def test_copies_and_rewordings_have_the_test_answer_and_twins_have_not_its_question():
    for row in ROWS:
        if row["label"] == "clean":
            assert row["test_index"] is None
            continue
        test = generate(row["test_index"], "test", TEST_SEED)
        assert (row["question"] == test["question"]) == (row["label"] == "copy")
        assert (row["answer"] == test["answer"]) or row["label"] == "twin"


def test_every_step_of_a_twin_is_right_and_ends_in_its_answer():
    twins = [row for row in ROWS if row["label"] == "twin"]
    assert twins
    for row in twins:
        *steps, last = row["answer"].splitlines()
        for step in steps:
            a, sign, b, result, _ = _STEP.fullmatch(step).groups()
            a, b = int(a), int(b)
            assert int(result) == {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[sign]
        assert last == f"#### {result}"


def test_the_address_gives_the_same_rows_and_knows_one_split():
    assert [row.data for row in read_rows("demo://contaminated?split=train&size=5")] == ROWS[:5]
    with pytest.raises(ToolError, match="no split 'test'"):
        list(read_rows("demo://contaminated?split=test&size=5"))


def test_the_planted_questions_are_those_of_a_test_set_of_the_same_length():
    rows = [row.data for row in read_rows("demo://contaminated?split=train&size=200&longest=2")]
    planted = [row for row in rows if row["label"] == "copy"]
    assert planted
    assert {row["n_steps"] for row in rows} == {1, 2}
    for row in planted:
        assert row["question"] == generate(row["test_index"], "test", TEST_SEED, longest=2)["question"]
