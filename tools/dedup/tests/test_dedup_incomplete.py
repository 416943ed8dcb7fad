"""A test row that cannot be used is a hole: the run stops, or says what it could not see."""

from __future__ import annotations

import json

import pytest

from .conftest import LEXICAL, TESTS, write_rows


@pytest.mark.parametrize(
    "broken", [{"goal": None, "steps": ["a"]}, {"goal": "Sew a button on", "steps": []}, {"other": "x"}]
)
def test_a_test_row_that_cannot_be_used_stops_the_run(dedup, folder, broken):
    write_rows(folder / "test.jsonl", [*TESTS, broken])
    result = dedup(*LEXICAL)

    assert result.exit_code == 1
    assert "test.jsonl:3: " in result.output
    assert "1 test row cannot be used" in result.output
    assert "--allow-incomplete-test" in result.output
    assert not (folder / "clean.jsonl").exists()


def test_a_file_of_a_test_set_that_cannot_be_read_stops_the_run(dedup, folder):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (folder / "parts").mkdir()
    for name in ("a", "b"):
        parquet.write_table(
            pyarrow.table({"text": ["how far is the moon from here", name * 40]}), folder / f"parts/{name}.parquet"
        )
    whole = (folder / "parts/b.parquet").read_bytes()
    (folder / "parts/b.parquet").write_bytes(whole[:-30])
    write_rows(folder / "train.jsonl", [{"text": "how far is the moon from here"}])
    result = dedup(*LEXICAL, "--text-key", "text", test="parts/*.parquet")

    assert result.exit_code == 1
    assert "b.parquet" in result.output


def test_with_permission_the_hole_is_said_everywhere(dedup, folder):
    write_rows(folder / "test.jsonl", [*TESTS, {"goal": "Sew a button on", "steps": []}])
    result = dedup(*LEXICAL, "--allow-incomplete-test")
    manifest = json.loads((folder / "clean.run.json").read_text())

    assert result.exit_code == 0
    assert "INCOMPLETE TEST SET: 1 test row" in result.output
    assert any("INCOMPLETE" in warning for warning in manifest["warnings"])
    assert manifest["metrics"]["n_test_rejected"] == 1
    assert "INCOMPLETE TEST SET" in (folder / "clean.report.html").read_text()
