"""What is read and written again is equal: in every format, compression and orientation, for rows of every shape."""

import bz2
import csv
import gzip
import io
import json
import lzma

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_shared.files import write_jsonl
from tools_shared.records import Rejected
from tools_shared.sources import read_rows

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12).filter(str.strip)
TURNS = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": TEXT}), min_size=1)
SHAPES = {
    "question-answer": st.fixed_dictionaries({"id": TEXT, "question": TEXT, "answer": TEXT}),
    "messages": st.fixed_dictionaries({"messages": TURNS, "level": st.integers(0, 9)}),
    "sharegpt": st.fixed_dictionaries(
        {"conversations": st.lists(st.fixed_dictionaries({"from": st.just("human"), "value": TEXT}), min_size=1)}
    ),
    "alpaca": st.fixed_dictionaries({"instruction": TEXT, "input": st.just("") | TEXT, "output": TEXT}),
    "prompt-completion": st.fixed_dictionaries({"prompt": TEXT, "completion": TEXT, "tags": st.lists(TEXT)}),
    "verl": st.fixed_dictionaries(
        {"prompt": TURNS, "reward_model": st.fixed_dictionaries({"style": st.just("rule"), "ground_truth": TEXT})}
    ),
    "procedure": st.fixed_dictionaries({"goal": TEXT, "steps": st.lists(TEXT, min_size=1)}),
    "problem-solution": st.fixed_dictionaries({"problem": TEXT, "solution": TEXT}),
    "text": st.fixed_dictionaries({"text": TEXT}),
}


def as_lines(rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_arrow(make):
    def packed(rows) -> bytes:
        sink = pa.BufferOutputStream()
        make(pa.Table.from_pylist(rows), sink)
        return sink.getvalue().to_pybytes()

    return packed


def ipc(new):
    def make(table, sink) -> None:
        with new(sink, table.schema) as writer:
            writer.write_table(table)

    return make


FORMATS = {
    "a.jsonl": as_lines,
    "a.ndjson": as_lines,
    "a.json": lambda rows: json.dumps(rows, indent=1).encode(),
    "a.jsonl.gz": lambda rows: gzip.compress(as_lines(rows)),
    "a.jsonl.bz2": lambda rows: bz2.compress(as_lines(rows)),
    "a.jsonl.xz": lambda rows: lzma.compress(as_lines(rows)),
    "a.jsonl.zst": lambda rows: zstandard.compress(as_lines(rows)),
    "a.json.xz": lambda rows: lzma.compress(json.dumps(rows).encode()),
    "a.parquet": as_arrow(pyarrow.parquet.write_table),
    "a.feather": as_arrow(pyarrow.feather.write_feather),
    "a.arrow": as_arrow(ipc(pa.ipc.new_stream)),
    "b.arrow": as_arrow(ipc(pa.ipc.new_file)),
}


def read(path) -> list[dict]:
    found = list(read_rows(path))
    assert not [row for row in found if isinstance(row, Rejected)]
    return [dict(row.data) for row in found]


@pytest.mark.parametrize("name", FORMATS)
@settings(deadline=None, max_examples=25)
@given(st.one_of([st.lists(row, min_size=1, max_size=3) for row in SHAPES.values()]))
def test_rows_of_every_shape_come_back_from_every_format_and_stay_equal(tmp_path_factory, name, rows):
    folder = tmp_path_factory.mktemp("trip")
    (folder / name).write_bytes(FORMATS[name](rows))
    found = read(folder / name)
    assert found == rows
    write_jsonl(folder / "again.jsonl", found)
    assert read(folder / "again.jsonl") == rows


@pytest.mark.parametrize(("name", "sign"), [("a.csv", ","), ("a.csv", ";"), ("a.csv", "|"), ("a.tsv", "\t")])
@settings(deadline=None, max_examples=25)
@given(st.lists(SHAPES["question-answer"], min_size=1, max_size=3))
def test_text_comes_back_from_csv_however_it_is_divided(tmp_path_factory, name, sign, rows):
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=sign, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    path = tmp_path_factory.mktemp("trip") / name
    path.write_bytes(buffer.getvalue().encode())
    assert read(path) == rows
