"""read_rows: every format and address, and for every fault a rejected row or one sentence."""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import subprocess
import sys
import tracemalloc
from functools import partial

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_shared.errors import ToolError
from tools_shared.records import Rejected, Row
from tools_shared.sources import read_rows, source_sha256
from tools_shared.sources.streams import MAX_LINE, lines

ROWS = [{"question": "1+1?", "answer": "#### 2"}, {"question": "é “x”\n😀", "answer": "#### 3"}]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
CSV = 'question,answer\n1+1?,#### 2\n"é “x”\n😀",#### 3\n'.encode()


def seen(spec, **options):
    """(line, data) of each row, (line, reason) of each rejected one."""
    return [(r.origin.line, r.data if isinstance(r, Row) else r.reason) for r in read_rows(spec, **options)]


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


FILES = {
    "a.jsonl": JSONL,
    "a.ndjson": b"\xef\xbb\xbf" + JSONL,
    "crlf.jsonl": JSONL.replace(b"}\n", b"}\r\n"),
    "noend.jsonl": JSONL.rstrip(),
    "a.jsonl.gz": gzip.compress(JSONL),
    "two.jsonl.gz": gzip.compress(JSONL[:20]) + gzip.compress(JSONL[20:]),
    "A.JSONL.ZST": zstandard.compress(JSONL),
    "two.jsonl.zst": zstandard.compress(JSONL[:20]) + zstandard.compress(JSONL[20:]),
    "list.json": json.dumps(ROWS),
    "pretty.json": json.dumps(ROWS, indent=2),
    "named.json": json.dumps({"version": {"a": [1]}, "tags": ["x"], "data": ROWS, "end": {}}, indent=1),
    "lines.json": JSONL,
    "a.csv": CSV,
    "bom.csv": b"\xef\xbb\xbf" + CSV,
    "a.csv.gz": gzip.compress(CSV),
    "a.tsv": CSV.replace(b",", b"\t"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_text_format_gives_the_same_rows(tmp_path, name):
    path = write(tmp_path, name, FILES[name])
    found = list(read_rows(path))
    assert [r.data for r in found] == ROWS
    assert {r.origin.path for r in found} == {str(path)}


@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "file.arrow", "stream.arrow"])
def test_every_table_format_gives_the_same_rows(tmp_path, name):
    table, path = pa.Table.from_pylist(ROWS), str(tmp_path / name)
    if name == "a.parquet":
        pa.parquet.write_table(table, path, row_group_size=1)
    elif name == "a.feather":
        pa.feather.write_feather(table, path)
    else:
        with (pa.ipc.new_file if name == "file.arrow" else pa.ipc.new_stream)(path, table.schema) as writer:
            writer.write_table(table)
    assert seen(path) == [(1, ROWS[0]), (2, ROWS[1])]


def test_lines_are_physical_ones(tmp_path):
    assert seen(write(tmp_path, "a.jsonl", b'{"a":1}\n\n  \r\n{"a":2}')) == [(1, {"a": 1}), (4, {"a": 2})]
    text = 'a,b\r\n1,"x\r\ny"\r\n\r\n2,z\r\n'
    assert seen(write(tmp_path, "a.csv", text)) == [(2, {"a": "1", "b": "x\r\ny"}), (5, {"a": "2", "b": "z"})]
    assert seen(write(tmp_path, "a.json", '[\n{"a":1},\n\n  {"a":2}]')) == [(2, {"a": 1}), (4, {"a": 2})]


FAULTS = {
    b'{"a" 1}': "not JSON: Expecting ':' delimiter at column 6",
    b'{"a": 1} x': "not JSON: Extra data at column 10",
    b'{"a": 1, "b": {"c": 1, "c": 2}}': "not JSON: the key 'c' occurs twice in one object",
    b'{"a": 1e999}': "not JSON: the number 1e999 is too large for a float",
    b"[1]": "not an object but a list",
    b"null": "not an object but null",
    b'{"a": "\xff"}': "not UTF-8 (byte 0xff at column 8)",
    b'{"a": "\xed\xa0\x80"}': "not UTF-8 (byte 0xed at column 8)",
    b'{"a": "\\ud800"}': "the text contains half a surrogate pair (\\ud800 to \\udfff)",
    b'{"\\udfff": 1}': "the text contains half a surrogate pair (\\ud800 to \\udfff)",
    b"[" * 100_000: "not JSON: nested too deeply",
}


@pytest.mark.parametrize("line", FAULTS, ids=list(range(len(FAULTS))))
def test_a_bad_line_is_rejected_with_its_reason_and_the_others_stay(tmp_path, line):
    path = write(tmp_path, "a.jsonl", b'{"a": 0}\n' + line + b'\n{"a": "\\ud83d\\ude00"}\n')
    assert seen(path) == [(1, {"a": 0}), (2, FAULTS[line]), (3, {"a": "😀"})]
    rejected = list(read_rows(path))[1]
    assert len(rejected.raw) <= 200
    json.dumps(rejected.to_json(), ensure_ascii=False).encode()


def test_a_line_over_the_limit_is_skipped_without_being_held(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'{"a": 1}\n{"a": "')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"a": 2}\n')
    tracemalloc.start()
    assert seen(path) == [(1, {"a": 1}), (2, "the line is longer than 32 MiB"), (3, {"a": 2})]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.5 * MAX_LINE
    stream = io.BytesIO(b"a" * (MAX_LINE) + b"\n" + b"b")
    assert [(n, line is None or len(line)) for n, line in lines(stream)] == [(1, MAX_LINE + 1), (2, 1)]


CSV_FAULTS = {
    "x": "1 fields where the header has 2",
    "x,y,z": "3 fields where the header has 2",
    '"x"y,z': "not CSV: ',' expected after '\"'",
    "\udcff,z": "not UTF-8",
}


@pytest.mark.parametrize("line", CSV_FAULTS, ids=list(range(len(CSV_FAULTS))))
def test_a_bad_record_is_rejected_and_the_others_stay(tmp_path, line):
    content = f"a,b\n1,2\n{line}\n3,4\n".encode(errors="surrogateescape")
    assert seen(write(tmp_path, "a.csv", content)) == [
        (2, {"a": "1", "b": "2"}),
        (3, CSV_FAULTS[line]),
        (4, {"a": "3", "b": "4"}),
    ]


def test_a_quote_that_is_never_closed_says_what_it_swallowed(tmp_path):
    path = write(tmp_path, "a.csv", 'a,b\n1,2\n3,"4\n5,6\n7,8\n')
    assert seen(path)[1:] == [(3, "not CSV: unexpected end of data (it spans lines 3 to 5)")]


def test_a_csv_header_that_cannot_be_used_is_one_sentence(tmp_path):
    with pytest.raises(ToolError, match=r"a\.csv:1: the column 'a' occurs twice"):
        seen(write(tmp_path, "a.csv", "a,b,a\n1,2,3\n"))
    with pytest.raises(ToolError, match=r"b\.csv:1: the header is not UTF-8"):
        seen(write(tmp_path, "b.csv", b"\xff,b\n1,2\n"))
    with pytest.raises(ToolError, match=r"c\.csv:1: the header cannot be read"):
        seen(write(tmp_path, "c.csv", '"a\n1,2\n'))


def test_cells_stay_text_as_they_were(tmp_path):
    path = write(tmp_path, "a.csv", "question,answer\nSort them,\"[1, 2, 3]\"\nQuote,\"['a' 'b']\"\n")
    assert [data["answer"] for _, data in seen(path)] == ["[1, 2, 3]", "['a' 'b']"]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        ("gz", gzip.compress),
        ("zst", zstandard.compress),
        ("bz2", partial(bz2.compress, compresslevel=1)),  # small blocks: of a block that is cut off nothing can be read
        ("xz", lzma.compress),
    ],
)
def test_compressed_data_that_is_cut_off_keeps_what_was_readable(tmp_path, suffix, pack):
    rows = [{"a": n, "b": str(n * 7919 % 1009)} for n in range(20_000)]
    content = pack("".join(json.dumps(r) + "\n" for r in rows).encode())
    path = write(tmp_path, f"a.jsonl.{suffix}", content[: len(content) // 2])
    found = list(read_rows(path))
    assert [r.data for r in found[:-1]] == rows[: len(found) - 1]
    assert isinstance(found[-1], Rejected)
    assert "truncated here" in found[-1].reason
    assert found[-1].origin.line == len(found)
    assert len(found) > 1000


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz", "a.json.gz", "a.jsonl.zst", "a.json.bz2", "a.csv.xz"])
def test_what_is_not_compressed_at_all_is_one_rejected_row(tmp_path, name):
    [(line, reason)] = seen(write(tmp_path, name, JSONL))
    assert line == 1
    assert "compressed data is broken" in reason


def test_a_damaged_gzip_is_one_more_rejected_row(tmp_path):
    content = bytearray(gzip.compress(JSONL * 1000))
    content[-6] ^= 0xFF  # the checksum
    found = list(read_rows(write(tmp_path, "a.jsonl.gz", bytes(content))))
    assert [r.data for r in found[:-1]] == ROWS * 1000
    assert "broken or truncated here (CRC" in found[-1].reason


JSON_FAULTS = {
    '[{"a": 1}\n{"a": 2}]': [(2, "not JSON: expecting ',' or ']' at column 1; the rest of the file is not read")],
    '[{"a": 1}, {"a": 2},\n{"a" 3}]': [
        (1, {"a": 1}),
        (1, {"a": 2}),
        (2, "not JSON: Expecting ':' delimiter at column 6; the rest of the file is not read"),
    ],
    '[{"a": 1}': [(1, "not JSON: expecting ',' or ']' at column 10; the rest of the file is not read")],
    '[{"a": 1}]\n[{"a": 2}]': [(1, {"a": 1}), (2, "more text after the list; the rest of the file is not read")],
    '[{"a": 1}, 5]': [(1, {"a": 1}), (1, "not an object but a number")],
    '{"a": [{}], "b": [{}]}': [(1, "the object contains 2 lists of rows (a, b); keep one")],
    '{"a":\n1,,}': [(2, "not JSON: Expecting property name enclosed in double quotes at column 3")],
    '{"a": 1}': [(1, {"a": 1})],
    '{"messages": [{"role": "user"}]}': [(1, {"messages": [{"role": "user"}]})],
    " [ ] ": [],
    "": [],
    "[": [(1, "not JSON: Expecting value at column 2; the rest of the file is not read")],
    "[\n": [(2, "not JSON: Expecting value at column 1; the rest of the file is not read")],
    "5": [(1, "not an object but a number")],
}


@pytest.mark.parametrize("text", JSON_FAULTS)
def test_json_as_a_whole(tmp_path, text):
    assert seen(write(tmp_path, "a.json", text)) == JSON_FAULTS[text]


def test_json_that_is_not_utf8(tmp_path):
    assert seen(write(tmp_path, "a.json", b'[{"a":\n"\xff"}]')) == [(2, "not UTF-8 (byte 0xff)")]


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=300), name=st.sampled_from([*sorted(FILES), "a.parquet", "a.arrow"]))
def test_no_bytes_bring_a_traceback(tmp_path_factory, content, name):
    path = write(tmp_path_factory.mktemp("fuzz"), name, content)
    with contextlib.suppress(ToolError):  # of a header
        for row in read_rows(path):
            data = row.data if isinstance(row, Row) else row.to_json()
            json.dumps(data, ensure_ascii=False, allow_nan=False).encode()


def test_a_broken_table_is_a_rejected_row(tmp_path):
    pa.parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    [(line, reason)] = seen(write(tmp_path, "b.parquet", content[: len(content) // 2]))
    assert (line, reason[:45]) == (1, "not readable as parquet from here on: Parquet")


def test_table_rows_that_are_not_utf8_are_lost_alone(tmp_path):
    array = pa.StringArray.from_buffers(3, *pa.array([b"ok", b"\xff", b"fine"]).buffers()[1:])
    pa.parquet.write_table(pa.table({"a": array}), tmp_path / "a.parquet")
    assert seen(tmp_path / "a.parquet") == [(1, {"a": "ok"}), (2, "not UTF-8"), (3, {"a": "fine"})]


def test_globs_are_sorted_and_go_into_folders(tmp_path):
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name, json.dumps({"name": name}))
    assert [d["name"] for _, d in seen(f"{tmp_path}/*.jsonl")] == ["a.jsonl", "b.jsonl"]
    assert [d["name"] for _, d in seen(f"{tmp_path}/**/*.jsonl")] == ["a.jsonl", "b.jsonl", "sub/c.jsonl"]
    odd = write(tmp_path, "odd[1].jsonl", '{"a": 1}')
    assert seen(odd) == [(1, {"a": 1})]


def test_standard_input(tmp_path):
    code = "from tools_shared.sources import read_rows; print([(str(r.origin), r.data) for r in read_rows('-')])"
    out = subprocess.run([sys.executable, "-c", code], input=JSONL, capture_output=True, check=True).stdout.decode()
    assert out.strip() == str([("<stdin>:1", ROWS[0]), ("<stdin>:2", ROWS[1])])


REFUSED = {
    "{tmp}/trian.jsonl": 'no such file (nearest is "train.jsonl")',
    "{tmp}/missing/x.jsonl": "nor is there a folder",
    "{tmp}": "is a folder; name its files",
    "{tmp}/*.csv": "no file matches",
    "{tmp}/notes.txt": "unknown format .txt",
    "{tmp}/a.jsnl": "nearest is .jsonl",
    "{tmp}/bare": "unknown format (no suffix)",
    "{tmp}/a.parquet.gz": "is not read through .gz",
    "s3://bucket/x.jsonl": "'s3://' is not read here",
    "demo://problem": "there is no demo set 'problem'",
    "demo://problems?sise=3": "unknown key 'sise' (nearest is \"size\")",
    "demo://problems?size=x": "'size' is a whole number, got 'x'",
    "demo://problems?size=": "'size' is empty",
    "hf://a/b?confg=main": "unknown key 'confg' (nearest is \"config\")",
    "hf://a/b?split=x&split=y": "'split' is given twice",
    "hf://a/b/c": "a dataset is hf://owner/name",
    "hf://": "not an address",
}


@pytest.mark.parametrize("spec", REFUSED)
def test_a_wrong_address_is_one_sentence_at_once(tmp_path, spec):
    for name in ("train.jsonl", "notes.txt", "a.jsnl", "bare", "a.parquet.gz"):
        write(tmp_path, name, "")
    with pytest.raises(ToolError) as error:
        read_rows(spec.format(tmp=tmp_path))
    assert REFUSED[spec] in str(error.value)
    assert "\n" not in str(error.value)


def test_demo_rows_are_the_same_each_time():
    spec = "demo://problems?split=test&size=3&seed=5"
    assert seen(spec) == seen(spec)
    assert [line for line, _ in seen(spec)] == [1, 2, 3]
    assert seen("demo://problems?size=2")[0][1] != seen(spec)[0][1]


def test_sha256_of_files(tmp_path):
    a, b = write(tmp_path, "a.jsonl", JSONL), write(tmp_path, "b.jsonl", b"")
    one = source_sha256(a)
    assert len(one) == 64
    both = source_sha256(f"{tmp_path}/*.jsonl")
    assert both not in (one, source_sha256(b))
    assert source_sha256("-") is source_sha256("demo://problems") is None


def test_reading_loads_neither_numpy_nor_pyarrow():
    code = "import sys, tools_shared.sources, tools_shared.stats; print({'numpy','pyarrow','torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"set()"
