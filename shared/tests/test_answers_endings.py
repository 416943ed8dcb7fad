"""Ends of replies in the styles of common models, made up for this test: what each answers, and what it does not."""

import json
from pathlib import Path

import pytest

from tools_shared.answers import judge
from tools_shared.prompts import PROFILES

pytest.importorskip("math_verify", reason="math-verify is not installed (tools-shared[symbolic])")

ROWS = [json.loads(line) for line in (Path(__file__).parent / "reply_endings.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["reply"][-40:])
def test_the_lenient_answer_of_a_reply(row):
    for golds, expected in ((row["right"], True), (row["wrong"], False)):
        for gold in golds:
            judged = judge(row["reply"], gold, PROFILES["boxed"])
            assert judged.lenient_correct == expected, (gold, judged.lenient)
