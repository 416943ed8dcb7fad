"""Small files that unpack to gigabytes: read within bounds, in a process of their own whose memory is limited."""

import bz2
import gzip
import json
import lzma
import subprocess
import sys

import pytest

from tools_shared.records import Rejected
from tools_shared.sources import read_rows
from tools_shared.sources.streams import LIMITS

ROW = b'{"question": "1+1?", "answer": "2"}\n'
READ = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from tools_shared.sources import read_rows
from tools_shared.records import Rejected
for row in read_rows(sys.argv[1]):
    print(row.reason if isinstance(row, Rejected) else "row")
"""


def read_in_a_gibibyte(path):
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def unpacked(size):
    """A row, one endless line, and a row, in pieces."""
    yield ROW + b'{"question": "'
    for _ in range(size >> 20):
        yield b"a" * (1 << 20)
    yield b'"}\n' + ROW


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_an_endless_line_is_one_rejected_row(ending, tmp_path):
    path = tmp_path / f"rows.jsonl{ending}"
    if ending == ".zst":
        zstandard = pytest.importorskip("zstandard")
        with path.open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as file:
            for part in unpacked(1536 << 20):
                file.write(part)
    else:
        with {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}[ending](path, "wb") as file:
            for part in unpacked(256 << 20):
                file.write(part)
    assert path.stat().st_size < 2 << 20
    first, bomb, last = read_in_a_gibibyte(path)
    assert (first, last) == ("row", "row")
    assert "longer than 32 MiB" in bomb


def test_frames_one_after_another_and_steps_of_any_size_are_read(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    rows = [{"question": f"{n}?", "answer": str(n) * (n % 97)} for n in range(30_000)]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    half = len(text) // 2
    content = zstandard.compress(text[:half]) + zstandard.compress(text[half:])
    (tmp_path / "a.jsonl.zst").write_bytes(content)
    assert [row.data for row in read_rows(tmp_path / "a.jsonl.zst")] == rows
    (tmp_path / "a.jsonl.zst").write_bytes(content[:-5])
    *_, last = read_rows(tmp_path / "a.jsonl.zst")
    assert isinstance(last, Rejected)
    assert "truncated" in last.reason


def test_one_json_value_is_read_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("tools_shared.sources.streams.MAX_WHOLE", 1 << 20)
    with gzip.open(tmp_path / "a.json.gz", "wb") as file:
        file.write(b"[" + b" " * (2 << 20) + b"]")
    (row,) = read_rows(tmp_path / "a.json.gz")
    assert "make it JSON lines" in row.reason


def test_the_longest_row_is_chosen_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setattr(LIMITS, "row", 100)
    (tmp_path / "a.jsonl").write_bytes(ROW + b'{"question": "%s"}\n' % (b"a" * 200) + ROW)
    (tmp_path / "a.csv").write_bytes(b"question,answer\n1+1?,2\n" + b"a" * 200 + b",2\n1+1?,2\n")
    for name in ("a.jsonl", "a.csv"):
        rows = list(read_rows(tmp_path / name))
        assert [isinstance(row, Rejected) for row in rows] == [False, True, False]
        assert "longer than" in rows[1].reason
