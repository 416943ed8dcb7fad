"""What the programs of others write, read as rows, and every format read, written and read again."""

import csv
import datetime
import io
import json
import math
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_shared.errors import ToolError
from tools_shared.files import write_jsonl
from tools_shared.records import Rejected
from tools_shared.sources import read_rows


def rows(path):
    found = list(read_rows(path))
    assert not [r for r in found if isinstance(r, Rejected)]
    return [dict(r.data) for r in found]


def reasons(path):
    return [r.reason for r in read_rows(path) if isinstance(r, Rejected)]


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_csv_is_divided_by_what_its_header_is_divided_by(tmp_path, sign):
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=sign).writerows([["Frage", "Antwort"], ["Wie viel; 2,5 | 3\t?", "1,5"], ["b", ""]])
    assert rows(path) == [{"Frage": "Wie viel; 2,5 | 3\t?", "Antwort": "1,5"}, {"Frage": "b", "Antwort": ""}]


def test_a_quoted_comma_in_the_header_divides_nothing(tmp_path):
    (tmp_path / "a.csv").write_text('"name, first";age\nAda;36\n')
    assert rows(tmp_path / "a.csv") == [{"name, first": "Ada", "age": "36"}]


def test_columns_that_a_spreadsheet_left_behind_are_left_out_unless_they_hold_something(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("question,answer,,\na,1,,\nb,2,x,\nc,3,,\n")
    found = list(read_rows(path))
    assert [r.data for r in found if not isinstance(r, Rejected)] == [
        {"question": "a", "answer": "1"},
        {"question": "c", "answer": "3"},
    ]
    assert reasons(path) == ["column 3 has a value and no name in the header"]


TABLE = {"question": ["a", "b", "c"], "level": [1, 2, 3]}
RECORDS = [{"question": "a", "level": 1}, {"question": "b", "level": 2}, {"question": "c", "level": 3}]
BY_INDEX = {str(i): row for i, row in enumerate(RECORDS)}


@pytest.mark.parametrize(
    "written",
    [
        RECORDS,
        {name: {str(i): v for i, v in enumerate(values)} for name, values in TABLE.items()},
        BY_INDEX,
        {"columns": ["question", "level"], "index": [0, 1, 2], "data": [["a", 1], ["b", 2], ["c", 3]]},
        {"schema": {"fields": [{"name": "index"}]}, "data": RECORDS},
    ],
    ids=["records", "columns", "index", "split", "table"],
)
def test_every_orientation_of_pandas_gives_the_rows(tmp_path, written):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(written))
    assert rows(path) == RECORDS


def test_a_row_that_only_resembles_a_table_stays_a_row(tmp_path):
    path = tmp_path / "a.json"
    for row in ({"question": {"text": "a"}, "answer": {"value": "1"}}, {"1": {"2": 3}}, {"a": {"0": 1}, "b": {"1": 2}}):
        path.write_text(json.dumps(row))
        assert rows(path) == [row]


def test_numbers_that_json_lacks_are_null_in_every_format(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"q": "a", "score": NaN, "more": [1.5, -Infinity]}\n')
    table = pa.Table.from_pylist([{"q": "a", "score": math.nan, "more": [1.5, -math.inf]}])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    expected = [{"q": "a", "score": None, "more": [1.5, None]}]
    assert rows(tmp_path / "a.jsonl") == rows(tmp_path / "a.parquet") == expected


def test_bytes_are_base64_and_can_be_had_back(tmp_path):
    table = pa.table({"q": ["a"], "image": [{"bytes": b"\x89PNG\xff", "path": None}]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet") == [{"q": "a", "image": {"bytes": "iVBOR/8=", "path": None}}]


def test_dates_and_decimals_are_text(tmp_path):
    when = datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.UTC)
    pyarrow.parquet.write_table(pa.table({"when": [when], "price": [Decimal("1.10")]}), tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet") == [{"when": "2026-11-28 12:00:00+00:00", "price": "1.10"}]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_name_twice_in_a_table_is_refused(tmp_path, suffix):
    table = pa.Table.from_arrays([["bought apples"], ["junk"]], names=["question", "question"])
    path = str(tmp_path / f"a{suffix}")
    if suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(ToolError, match="the column 'question' occurs twice"):
        list(read_rows(path))


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
SCALAR = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, width=64) | TEXT
SCALAR = SCALAR.filter(lambda v: not (isinstance(v, float) and math.isinf(v)))
VALUE = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
ROW = st.dictionaries(TEXT, VALUE, min_size=1, max_size=4)


@settings(deadline=None, max_examples=150)
@given(st.lists(ROW, min_size=1, max_size=4))
def test_json_lines_read_and_written_again_are_equal(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    write_jsonl(path, written)
    assert rows(path) == written
    write_jsonl(path, rows(path))
    assert rows(path) == written


NAME = TEXT.filter(str.strip)


@settings(deadline=None, max_examples=150)
@given(st.lists(NAME, min_size=2, max_size=4, unique=True), st.data())
def test_csv_read_and_written_again_is_equal(tmp_path_factory, names, data):
    cells = st.lists(TEXT, min_size=len(names), max_size=len(names))
    records = data.draw(st.lists(cells.filter(any), min_size=1, max_size=4))
    path = tmp_path_factory.mktemp("rows") / "a.csv"
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([names, *records])
    path.write_bytes(buffer.getvalue().encode())
    assert rows(path) == [dict(zip(names, record, strict=True)) for record in records]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.fixed_dictionaries({"q": TEXT, "n": st.integers(-(2**62), 2**62), "s": st.lists(TEXT, max_size=2)})))
def test_parquet_read_and_written_again_is_equal(tmp_path_factory, written):
    path = str(tmp_path_factory.mktemp("rows") / "a.parquet")
    schema = pa.schema({"q": pa.string(), "n": pa.int64(), "s": pa.list_(pa.string())})
    pyarrow.parquet.write_table(pa.Table.from_pylist(written, schema), path)
    assert rows(path) == written
