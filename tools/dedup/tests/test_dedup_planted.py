"""The shipped lexical rule on real rewordings of GSM8K test questions, planted into GSM8K train."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools_dedup.config import DedupConfig
from tools_dedup.run import decontaminate

from .conftest import read_rows

DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.real_data
def test_rewordings_are_found_and_hardly_another_row_goes():
    """The rule was chosen on the even rewordings and rows, so only the odd rewordings are planted here."""
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there; it holds GSM8K and the rewordings")
    train, test = (read_rows(DATA / "gsm8k" / name) for name in ("train.jsonl", "test.jsonl"))
    planted = [
        {"question": row["rephrased"], "answer": "#### 0"}
        for row in read_rows(DATA / "rephrased/gsm8k_even.jsonl")[1::2]
    ]
    result = decontaminate([*train, *planted], {"gsm8k": test}, DedupConfig(method=("exact", "lexical")))
    found = sum(row["answer"] == "#### 0" for row in result.removed)

    assert found / len(planted) >= 0.98
    assert (len(result.removed) - found) / len(train) <= 0.012
