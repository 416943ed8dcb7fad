"""What options promise that the other files do not look at: the guard, which repetition stays, formats of the input."""

from __future__ import annotations

import csv
import json

import pytest

from .conftest import LEXICAL, TRAIN, read_rows, write_rows

QUESTION = "Maria buys {} boxes with {} pencils each and gives {} pencils to her brother. How many does she have left?"


def test_the_numbers_guard_keeps_twins_and_lets_copies_go(dedup, folder):
    twin, copy = QUESTION.format(12, 8, 30), QUESTION.format(7, 24, 5)
    rows = [{"question": q, "answer": "#### 1"} for q in (twin, copy.replace("Maria buys", "Maria has bought"))]
    write_rows(folder / "train.jsonl", rows)
    write_rows(folder / "test.jsonl", [{"question": copy, "answer": "#### 163"}])
    words = (*LEXICAL, "--threshold", "0.01")
    assert dedup(*words, output="plain.jsonl").exit_code == 0
    assert dedup(*words, "--guard", "numbers", output="guarded.jsonl").exit_code == 0

    assert read_rows(folder / "plain.jsonl") == []
    assert read_rows(folder / "guarded.jsonl") == [rows[0]]
    guarded = [m["kept_by_guard"] for m in read_rows(folder / "guarded.matches.jsonl")]
    assert guarded == [True, False]


@pytest.mark.parametrize(("keep", "stays"), [("first", 0), ("longest", 2), ("grade", 1)])
def test_which_repetition_stays(dedup, folder, keep, stays):
    text = QUESTION.format(7, 24, 5)
    grades = (1, 3, 2)
    texts = (text, text.replace("boxes", "boxes "), text.replace("How many", "So how many of them"))
    rows = [{"question": t, "answer": "#### 1", "grade": g} for t, g in zip(texts, grades, strict=True)]
    write_rows(folder / "train.jsonl", rows)
    result = dedup(*LEXICAL, "--text-key", "question", "--within", "--keep", keep, test="other.jsonl")
    assert result.exit_code == 1
    write_rows(folder / "other.jsonl", [{"question": "What is the capital of the country north of France?"}])
    result = dedup(*LEXICAL, "--text-key", "question", "--within", "--keep", keep, test="other.jsonl")

    assert result.exit_code == 0, result.output
    assert read_rows(folder / "clean.jsonl") == [rows[stays]]


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.parquet", "rows.arrow", "rows.jsonl.zst", "rows.json"])
def test_every_format_gives_the_same_rows(dedup, folder, name):
    """Lists in the cells of CSV and TSV are lists again."""
    write_as(folder / name, TRAIN)
    result = dedup(*LEXICAL, train=name)

    assert result.exit_code == 0, result.output
    dedup(*LEXICAL, output="from-jsonl.jsonl")
    matches, others = (read_rows(folder / f"{n}.matches.jsonl") for n in ("clean", "from-jsonl"))
    for match, other in zip(matches, others, strict=True):
        same = ("train_goal", "train_steps", "nearest_test_idx", "removed_by", "score", "features")
        assert [match[k] for k in same] == [other[k] for k in same]
        assert match["train_path"].endswith(name)


def write_as(path, rows):
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["goal", "steps"], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows({**row, "steps": json.dumps(row["steps"])} for row in rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".zst":
        zstandard = pytest.importorskip("zstandard")
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path.write_bytes(zstandard.ZstdCompressor().compress(text.encode()))
    else:
        write_table(path, rows)


def write_table(path, rows):
    import pyarrow as pa
    import pyarrow.parquet

    table = pa.Table.from_pylist(rows)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
