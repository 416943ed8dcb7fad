"""Known faults of the reference script (`dedup_against_test.py`), each as something that works here."""

from __future__ import annotations

import csv
import gzip
import json

import numpy as np
import pytest

from tools_dedup.config import DedupConfig
from tools_shared.errors import ToolError

from .conftest import LEXICAL, TESTS, TRAIN, read_rows, write_rows


def test_csv_with_lists_in_its_cells(dedup, folder):
    """There every row of a CSV file is skipped, since its steps are text."""
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["goal", "steps"])
        writer.writerows([row["goal"], json.dumps(row["steps"])] for row in TRAIN)

    assert dedup(*LEXICAL, train="train.csv").exit_code == 0
    assert read_rows(folder / "clean.jsonl") == [TRAIN[0], TRAIN[2], TRAIN[3]]


def test_a_list_in_another_cell_stays_text_and_numpys_form_is_read(dedup, folder):
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["goal", "steps", "tools"])
        writer.writerow(["Fold a paper boat", str(np.array(["Fold in half", "Pull the sides"])), "[1, 2]"])

    assert dedup(*LEXICAL, train="train.csv").exit_code == 0
    [row] = read_rows(folder / "clean.jsonl")
    assert row == {"goal": "Fold a paper boat", "steps": ["Fold in half", "Pull the sides"], "tools": "[1, 2]"}


def test_gzip(dedup, folder):
    """There a .gz file is read as text and crashes."""
    (folder / "train.jsonl.gz").write_bytes(gzip.compress((folder / "train.jsonl").read_bytes()))

    assert dedup(*LEXICAL, train="train.jsonl.gz").exit_code == 0
    assert len(read_rows(folder / "clean.jsonl")) == 3


def test_skipped_rows_are_accounted_for_and_every_index_leads_to_its_line(dedup, folder):
    """There unusable rows vanish, and `train_idx` counts on as if they had never been."""
    lines = ["not json", json.dumps(TRAIN[0]), json.dumps({"goal": "no steps"}), json.dumps(TRAIN[1])]
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    dedup(*LEXICAL)

    assert [(row["line"], row["reason"].split(" ")[0]) for row in read_rows(folder / "clean.rejected.jsonl")] == [
        (1, "not"),
        (3, "no"),
    ]
    matches = read_rows(folder / "clean.matches.jsonl")
    assert [(row["train_idx"], row["train_line"]) for row in matches] == [(0, 2), (1, 4)]


@pytest.mark.parametrize(
    ("value", "why"),
    [("7", "be between -1 and 1"), ("-1.5", "be between -1 and 1"), ("nan", "be a finite number"), ("inf", "finite")],
)
def test_a_threshold_that_is_no_cosine_is_refused(dedup, value, why):
    """There 7 keeps every row, and -1.5 removes every row, without a word."""
    result = dedup("--threshold", value)

    assert result.exit_code == 1
    assert "--threshold must " in result.output
    assert why in result.output


def test_the_chart_never_replaces_the_matches(dedup, folder):
    """There `--matches-path x.json` makes the picture overwrite the matches."""
    assert dedup(*LEXICAL, "--matches-path", "x.json").exit_code == 0
    assert len(read_rows(folder / "x.json")) == len(TRAIN)
    assert (folder / "x_distribution.png").read_bytes().startswith(b"\x89PNG")


def test_dataset_configurations_are_part_of_the_address(dedup):
    """There `?config=main` is dropped and another configuration is read; here an unknown key is refused."""
    pytest.importorskip("datasets")
    result = dedup(*LEXICAL, train="hf://openai/gsm8k?config=main&spilt=train")

    assert result.exit_code == 1
    assert "unknown key 'spilt'" in result.output


def test_embeddings_go_where_they_are_told_and_come_back(dedup, folder, minilm):
    """There `emb` is saved as `emb.npz` and not found again under its name."""
    assert dedup("--model", minilm, "--threshold", "0.9", "--save-embeddings", "emb").exit_code == 0
    before = (folder / "clean.matches.jsonl").read_bytes()
    assert dedup("--threshold", "0.9", "--load-embeddings", "emb").exit_code == 0

    assert (folder / "clean.matches.jsonl").read_bytes() == before
    with np.load(folder / "emb", allow_pickle=False) as data:
        assert data["train_emb"].shape == (len(TRAIN), 384)


def test_embeddings_of_other_data_are_refused(dedup, folder, minilm):
    """There vectors of other rows are taken for these, and the wrong rows go."""
    dedup("--model", minilm, "--threshold", "0.9", "--save-embeddings", "emb.npz")
    write_rows(folder / "train.jsonl", list(reversed(TRAIN)))
    result = dedup("--threshold", "0.9", "--load-embeddings", "emb.npz")

    assert result.exit_code == 1
    assert "of other train rows" in result.output


def test_pickled_embeddings_are_refused(dedup, folder):
    """There the file is read with allow_pickle=True, which runs what it holds."""
    infos = np.array([{"goal": "x"}] * len(TRAIN), dtype=object)
    np.savez(
        folder / "old.npz", train_emb=np.ones((4, 3)), test_emb=np.ones((2, 3)), train_infos=infos, test_infos=infos
    )
    result = dedup("--load-embeddings", "old.npz")

    assert result.exit_code == 1
    assert "not a file of --save-embeddings" in result.output


@pytest.mark.parametrize(
    "changed",
    [
        {"key": np.array("{}")},
        {"key": np.array("[1]")},
        {"train_emb": np.ones(4)},
        {"train_emb": np.array(["a"] * 4)},
        {"test_emb": np.ones((2, 5))},
        {"train_ids": np.arange(4)},
    ],
)
def test_a_file_that_is_not_as_it_was_saved_is_refused(dedup, folder, changed):
    key = {"model": "m", "fingerprint": "f", "kind": "static", "max_tokens": None}
    ids = {"train_ids": np.zeros(4, "V16"), "test_ids": np.zeros(2, "V16")}
    whole = {"key": np.array(json.dumps(key)), "train_emb": np.ones((4, 3)), "test_emb": np.ones((2, 3)), **ids}
    np.savez(folder / "emb.npz", **whole | changed)
    result = dedup("--load-embeddings", "emb.npz")

    assert result.exit_code == 1
    assert "not a file of --save-embeddings" in result.output


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--review", "0.7:0.3"), "LOW <= HIGH"),
        (("--shard", "2/2"), "i from 0 to n-1"),
        (("--shard", "0/2", "--within"), "--within needs all rows"),
        (("--text-key", "q", "--template", "{q}"), "exclude each other"),
        (("--model", "./nowhere"), "no such folder"),
        (("--train-goal-key", "gaol"), 'nearest is "goal"'),
        (("--removed-path", "clean.jsonl"), "would be written twice"),
        (("--matches-path", "test.jsonl"), "is an input too"),
        (("--strict",), "rows rejected"),
        (("--max-rejected", "0"), "rows rejected"),
        (("--verdicts", "train.jsonl"), "not verdicts"),
        (("--calibration", "train.jsonl"), "not a calibration"),
        (("--method", "exact", "--model", "x"), "serve --method semantic"),
        (("--method", "semantic"), "needs a model"),
        (("--keep", "longest"), "serve --within"),
        (("--within-threshold", "0.5"), "serve --within"),
        (("--method", "exact", "--threshold", "0.5"), "--method exact has no score"),
        (("--test-path", "a=-", "--test-path", "b=-"), "can be read for one set only"),
        (("--test-path", ""), "an empty address names no rows"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(dedup, folder, words, reason):
    with (folder / "train.jsonl").open("a") as file:
        file.write("{broken\n")
    before = sorted(path.name for path in folder.iterdir())
    result = dedup(*words)

    assert result.exit_code == 1
    assert reason in result.output
    assert result.output.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == before


def test_inputs_are_never_overwritten(dedup, folder):
    before = (folder / "train.jsonl").read_bytes()
    for output in ("train.jsonl", "test.jsonl"):
        assert dedup(*LEXICAL, output=output).exit_code == 1
    assert (folder / "train.jsonl").read_bytes() == before


def test_an_empty_or_unusable_set_is_refused(dedup, folder):
    (folder / "empty.jsonl").write_text("")
    assert "no usable row (the source is empty)" in dedup(*LEXICAL, test="empty.jsonl").output
    write_rows(folder / "other.jsonl", [{"a": 1}])
    assert "no usable row (1 rejected" in dedup(*LEXICAL, test="other.jsonl").output


def test_broken_text_is_rejected_with_its_line(dedup, folder):
    good = json.dumps(TRAIN[0]).encode()
    lines = [
        good,
        b'{"goal": "\xff", "steps": ["a"]}',
        b'{"goal": "\\ud800", "steps": ["a"]}',
        b'{"goal": "x", "steps": [1]}',
    ]
    (folder / "train.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert dedup(*LEXICAL).exit_code == 0

    reasons = {row["line"]: row["reason"] for row in read_rows(folder / "clean.rejected.jsonl")}
    assert "UTF-8" in reasons[2]
    assert "surrogate" in reasons[3]
    assert "int" in reasons[4]


def test_a_gz_that_is_none_leaves_nothing_usable(dedup, folder):
    (folder / "train.jsonl.gz").write_text("plain text")

    assert "no usable row" in dedup(*LEXICAL, train="train.jsonl.gz").output


def test_much_removed_is_a_warning(dedup, folder):
    write_rows(folder / "train.jsonl", [*TESTS, TRAIN[0]])

    assert "66.7 % of the training rows went" in dedup(*LEXICAL).output


def test_config_refuses_nonsense():
    with pytest.raises(ToolError, match="--top-k must be"):
        DedupConfig(top_k=0)
