"""files: a written file is whole or not there."""

import errno
import hashlib
import json
import os
import stat

import pytest

from tools_shared.errors import Incomplete, ToolError
from tools_shared.files import atomic_write, sha256_file, write_json, write_jsonl


def test_jsonl_keeps_order_and_letters_and_counts_rows(tmp_path):
    path = tmp_path / "new" / "rows.jsonl"
    assert write_jsonl(path, ({"z": "é", "a": n} for n in range(2))) == 2
    assert path.read_bytes() == '{"z": "é", "a": 0}\n{"z": "é", "a": 1}\n'.encode()
    assert sha256_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_failing_block_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": True})
    with pytest.raises(ValueError):
        write_jsonl(path, [{"whole": 1}, {"x": float("inf")}])
    with pytest.raises(ValueError):
        write_json(path, {"x": float("nan")})
    assert json.loads(path.read_text()) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_written_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    write_json(tmp_path / "ours", 1)
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_full_disk_is_incomplete_and_names_the_path(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(Incomplete, match=r"a\.json: the disk is full"), atomic_write(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_or_a_file_in_the_way_is_one_sentence(tmp_path):
    with pytest.raises(ToolError, match="it is a folder"):
        write_json(tmp_path, 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError, match="cannot write here"):
        write_json(tmp_path / "file" / "below.json", 1)
