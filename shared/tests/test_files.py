"""Journals: lines appended one by one, and what a kill leaves of the last."""

import json

import pytest

from tools_shared.errors import ToolError
from tools_shared.files import whole_lines

ROWS = [{"id": i, "text": "é\u2028 \U0001f600"} for i in range(3)]
CONTENT = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def test_a_journal_torn_at_any_byte_keeps_its_whole_lines_and_can_be_appended_to(tmp_path):
    path = tmp_path / "journal.jsonl"
    for cut in range(len(CONTENT) + 1):
        path.write_bytes(CONTENT[:cut])
        n_whole = CONTENT[:cut].count(b"\n")
        assert [json.loads(line) for line in whole_lines(path)] == ROWS[:n_whole]
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"id": 9}) + "\n")
        assert [json.loads(line) for line in whole_lines(path)] == [*ROWS[:n_whole], {"id": 9}]


def test_a_journal_that_is_not_there_has_no_lines(tmp_path):
    assert whole_lines(tmp_path / "none.jsonl") == []
    assert not (tmp_path / "none.jsonl").exists()


def test_bytes_that_are_not_text_are_named_by_their_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"{}\n{\xff}\n")
    with pytest.raises(ToolError, match="journal.jsonl:2: not UTF-8"):
        whole_lines(path)
