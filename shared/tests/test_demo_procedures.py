import re
from collections import Counter

import pytest

from tools_shared.demo.procedures import N_TESTS, TEST_SEED, procedures
from tools_shared.errors import ToolError
from tools_shared.sources import detect_shape, read_rows

ROWS = list(procedures("train", 600, 3))
TESTS = list(procedures("test", N_TESTS, TEST_SEED))


def test_rows_are_procedures_without_blanks_left():
    assert [row.data for row in read_rows("demo://procedures?split=train&size=600&seed=3")] == ROWS
    for row in ROWS + TESTS:
        assert detect_shape(row) == "procedure"
        assert 4 <= len(row["steps"]) <= 8
        assert not re.search(r"[{}]", " ".join([row["goal"], *row["resources"], *row["steps"]]))
    assert len({row["id"] for row in ROWS + TESTS}) == len(ROWS) + len(TESTS)


def test_a_clean_row_has_no_goal_of_a_test_and_a_planted_one_names_its_own():
    goals = {row["goal"] for row in TESTS}
    counts = Counter(row["label"] for row in ROWS)
    assert counts["copy"] > 5
    assert counts["rewording"] > 5
    assert counts["clean"] > 500
    for row in ROWS:
        if row["label"] == "clean":
            assert row["goal"] not in goals
        elif row["label"] == "copy":
            assert row["steps"] == TESTS[row["test_index"]]["steps"]
        else:
            assert TESTS[row["test_index"]]["goal"][1:] in row["goal"]
            assert row["steps"] != TESTS[row["test_index"]]["steps"]


@pytest.mark.parametrize("options", ["split=validation", "longest=2", "size=some"])
def test_what_there_is_not_is_said(options):
    with pytest.raises(ToolError, match="demo://procedures"):
        list(read_rows(f"demo://procedures?{options}"))
