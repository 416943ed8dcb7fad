"""What `merge`, `rethreshold` and `calibrate` refuse, and the labels that `calibrate` reads."""

from __future__ import annotations

import csv
import json
import random

import pytest
from click.testing import CliRunner

from tools_dedup.cli import main

from .conftest import LEXICAL, TRAIN, read_rows, write_rows

WORDS = "amber basket copper dial engine fennel gravel harbour island jacket kettle lantern meadow needle".split()


def call(*words):
    return CliRunner().invoke(main, words, catch_exceptions=False)


def refused(*words):
    result = call(*words)
    assert result.exit_code == 1, result.output
    assert result.output.count("\n") == 1
    return result.output


def rethreshold(run_path, output="again.jsonl"):
    return ("rethreshold", "--run-path", run_path, "--threshold", "0.5", "--output-path", output)


@pytest.fixture
def shards(dedup):
    for i in range(2):
        assert dedup(*LEXICAL, "--shard", f"{i}/2", output=f"part{i}.jsonl").exit_code == 0
    return ("part0.run.json", "part1.run.json")


@pytest.mark.parametrize("output", ["train.jsonl", "test.jsonl", "part1.jsonl", "part0.any"])
def test_merge_writes_over_no_input(folder, shards, output):
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    assert "is an input too" in refused("merge", *shards, "--output-path", output)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_merge_warns_of_the_whole_and_not_of_its_shards(folder, shards):
    assert call("merge", *shards, "--output-path", "whole.jsonl").exit_code == 0
    warnings = json.loads((folder / "whole.run.json").read_text())["warnings"]

    assert [w for w in warnings if "unlike" not in w] == [
        "25.0 % of the training rows went; look at the report before you train"
    ]


def test_a_folder_is_no_manifest(folder):
    (folder / "runs").mkdir()
    assert "runs: cannot be read" in refused(*rethreshold("runs"))
    assert "runs: cannot be read" in refused("merge", "runs", "--output-path", "whole.jsonl")


def test_rethreshold_names_the_run_that_it_can_begin_from(dedup):
    dedup(*LEXICAL)
    assert call(*rethreshold("clean.run.json")).exit_code == 0

    assert "give --run-path clean.run.json" in refused(*rethreshold("again.run.json", "third.jsonl"))


def test_rethreshold_says_that_standard_input_is_gone(folder):
    words = ("--train-path", "-", "--test-path", "test.jsonl", "--output-path", "clean.jsonl", *LEXICAL)
    CliRunner().invoke(main, words, input=(folder / "train.jsonl").read_bytes(), catch_exceptions=False)

    assert "came from standard input" in refused(*rethreshold("clean.run.json"))


def sentence(drawn):
    return " ".join(drawn.sample(WORDS, 8)) + f" {drawn.randrange(100)} items"


@pytest.fixture
def labelled(folder):
    """Half of the pairs are rewordings; labels as CSV holds them."""
    drawn = random.Random(0)
    with (folder / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["rephrased", "question", "label"])
        for i in range(60):
            text = sentence(drawn)
            table.writerow([text.replace("items", "things") if i % 4 < 2 else sentence(drawn), text, str(i % 4 < 2)])
    write_rows(folder / "background.jsonl", [{"q": sentence(drawn)} for _ in range(50)] + [{"p": "no question"}])
    return ("calibrate", "--pairs-path", "pairs.csv", "--background-path", "background.jsonl", "--text-key", "q")


def test_labels_may_be_text_and_rows_left_out_are_said(folder, labelled):
    result = call(*labelled, "--label-key", "label", "--output-path", "mine.json")

    assert result.exit_code == 0, result.output
    assert '1 rows of background.jsonl are left out; background.jsonl:51: no key "q"' in result.output
    assert json.loads((folder / "mine.json").read_text())["measured"]["recall"]["n"] == 15


def test_calibrate_writes_over_no_input(folder, labelled):
    for name in ("pairs.csv", "background.jsonl"):
        before = (folder / name).read_bytes()
        assert "is an input too" in refused(*labelled, "--output-path", name)
        assert (folder / name).read_bytes() == before


def test_a_background_too_small_to_be_halved_is_refused(folder, labelled):
    write_rows(folder / "background.jsonl", [{"q": "a single text"}])

    assert "too few to choose on half" in refused(*labelled, "--output-path", "mine.json")


def test_a_calibration_that_serves_no_method_is_refused(folder, dedup, labelled, minilm):
    call(*labelled, "--output-path", "words.json")
    made = json.loads((folder / "words.json").read_text())
    (folder / "other.json").write_text(json.dumps(made | {"fingerprint": "0" * 64, "model": "another"}))

    assert dedup("--calibration", "words.json").exit_code == 0
    assert "give --model" in dedup("--calibration", "other.json").output
    assert "add --method lexical" in dedup("--calibration", "words.json", "--model", minilm).output
    assert "made for another, not for" in dedup("--calibration", "other.json", "--model", minilm).output


def test_a_text_that_a_person_keeps_is_no_repetition(dedup, folder):
    near = TRAIN[3] | {"steps": [*TRAIN[3]["steps"][:2], "Sign it twice."]}
    write_rows(folder / "train.jsonl", [TRAIN[3], near, near])
    within = (*LEXICAL, "--within", "--within-threshold", "0.01")
    assert dedup(*within).exit_code == 0
    assert read_rows(folder / "clean.jsonl") == [TRAIN[3]]

    train_id = read_rows(folder / "clean.matches.jsonl")[1]["train_id"]
    said = {"kind": "tools-dedup verdicts", "verdicts": [{"train_id": train_id, "verdict": "keep"}]}
    (folder / "v.json").write_text(json.dumps(said))
    assert dedup(*within, "--verdicts", "v.json").exit_code == 0
    assert read_rows(folder / "clean.jsonl") == [TRAIN[3], near]


def test_no_verb_takes_the_place_of_a_file_that_it_did_not_write(dedup, folder, shards, labelled):
    assert dedup(*LEXICAL, output="clean.jsonl").exit_code == 0
    for verb in (("merge", *shards), rethreshold("clean.run.json")[:-2], (*labelled, "--label-key", "label")):
        own = folder / "own.jsonl"
        own.write_text("precious")
        words = (*verb, "--output-path", own.name)
        assert "own.jsonl: is there, and not as tools-dedup" in refused(*words)
        assert own.read_text() == "precious"
        done = call(*words, "--overwrite")
        assert done.exit_code == 0, done.output
        done = call(*words)  # its own now
        assert done.exit_code == 0, done.output
        (kept,) = folder.glob(".own.jsonl.*.replaced")
        assert kept.read_text() == "precious"
        for path in (*folder.glob("own.*"), *folder.glob(".own.*")):
            path.unlink()
