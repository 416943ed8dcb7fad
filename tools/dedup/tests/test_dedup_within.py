"""Repetitions inside the training set: without a test set, and decided again for another threshold."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tools_dedup.cli import main

from .conftest import LEXICAL, read_rows, write_rows

STONES = "A mason lays 14 stones in an hour and his son lays 9. How many stones do they lay in 6 hours?"
NEAR = "A mason sets 14 stones an hour and his son sets 9 of them. How many stones do both set in 6 hours?"
FARTHER = "A mason sets 14 bricks an hour, his son sets 9. How many bricks do both of them set within 6 hours of work?"
OTHERS = [f"Count the {word} in the yard at noon and write the number down." for word in ("hens", "cranes", "ladders")]
ALL = ("kept", "removed", "matches", "rejected", "clusters", "report", "chart")


def call(*words):
    return CliRunner().invoke(main, words, catch_exceptions=False)


def test_one_file_needs_no_test_set(folder):
    write_rows(folder / "data.jsonl", [{"text": text} for text in (STONES, *OTHERS, STONES)])
    result = call("data.jsonl", "--within", "--text-key", "text")

    assert result.exit_code == 0, result.output
    assert "5 rows: 4 kept, 1 removed (1 within), 0 rejected" in result.output
    assert len(read_rows(folder / "data.clean.jsonl")) == 4


def test_one_file_without_within_asks_for_a_test_set(folder):
    write_rows(folder / "data.jsonl", [{"text": STONES}])
    result = call("data.jsonl", "--text-key", "text")

    assert result.exit_code == 1
    assert "--test-data is needed; or give --within" in result.output


def test_rethreshold_after_within_is_a_run_with_that_threshold(dedup, folder):
    write_rows(folder / "train.jsonl", [{"text": t} for t in (NEAR, FARTHER, NEAR, *OTHERS, FARTHER, STONES)])
    write_rows(folder / "test.jsonl", [{"text": f"{STONES} Explain your answer."}, {"text": OTHERS[0] + " Then rest."}])
    within = (*LEXICAL, "--text-key", "text", "--within", "--within-threshold", "0.3")
    assert dedup(*within, "--threshold", "0.01").exit_code == 0
    for number, threshold in enumerate(("0.0001", "0.3", "0.9", "0.9999")):
        fresh, again = f"fresh{number}.jsonl", f"again{number}.jsonl"
        assert dedup(*within, "--threshold", threshold, output=fresh).exit_code == 0
        words = ("--run-path", "clean.run.json", "--threshold", threshold, "--output-path", again)
        assert call("rethreshold", *words).exit_code == 0
        files = [json.loads((folder / f"{name}{number}.run.json").read_text()) for name in ("fresh", "again")]
        assert files[0]["metrics"] | {"n_encoded": 0} == files[1]["metrics"] | {"n_encoded": 0}
        for name in ALL:
            one, two = ((folder / manifest["outputs"][name]["path"]).read_text("latin-1") for manifest in files)
            assert one == two.replace(again, fresh), name


def test_rethreshold_after_within_refuses_changed_rows(dedup, folder):
    assert dedup(*LEXICAL, "--within").exit_code == 0
    write_rows(folder / "test.jsonl", [{"goal": "Sharpen a knife", "steps": ["Wet the stone."]}])
    result = call("rethreshold", "--run-path", "clean.run.json", "--threshold", "0.5", "--output-path", "again.jsonl")

    assert result.exit_code == 1
    assert "have changed since" in result.output
    assert not (folder / "again.jsonl").exists()


def test_calibrate_names_its_own_flags(folder):
    write_rows(folder / "pairs.jsonl", [{"a": STONES, "b": NEAR}])
    write_rows(folder / "background.jsonl", [{"text": f"{n} {OTHERS[0]}"} for n in range(30)])
    words = ("--background-path", "background.jsonl", "--text-key", "text", "--output-path", "mine.json")

    assert "pass --first-key" in call("calibrate", "--pairs-path", "pairs.jsonl", *words).output
    assert "--second-key" in call("calibrate", "--pairs-path", "pairs.jsonl", "--first-key", "a", *words).output


def test_minilm_is_known_by_its_name(minilm):
    from tools_dedup.semantic.models import find_model

    assert find_model("minilm").fingerprint == find_model(minilm).fingerprint


def test_questions_of_one_template_are_no_repetitions(folder):
    """Without numbers a template's words are nearly all that two texts have."""
    texts = [
        *OTHERS,
        "Write a function that returns the product of two integers.",
        "Write a function that tells whether two integers differ in their sign.",
        "Write a function to find the nth tetrahedral number.",
        "Write a function to find the nth octagonal number.",
        "Does the list contain the provided sublist?",
        "Does the list contain repeated elements?",
        "How do I blow up a balloon?",
        "How do I blow up a house?",
    ]
    write_rows(folder / "data.jsonl", [{"text": text} for text in (*texts, f"{texts[3]}  ")])
    assert call("data.jsonl", "--within", "--text-key", "text").exit_code == 0

    assert [row["text"] for row in read_rows(folder / "data.clean.jsonl")] == texts


def test_a_rewording_with_the_same_numbers_is_a_repetition(folder):
    write_rows(folder / "data.jsonl", [{"text": text} for text in (STONES, NEAR, NEAR.replace("14", "15"), *OTHERS)])
    assert call("data.jsonl", "--within", "--text-key", "text").exit_code == 0

    assert [row["text"] for row in read_rows(folder / "data.clean.removed.jsonl")] == [NEAR]


TWINS = [
    "Write a function that returns the length of the {} run of equal neighbours in a list of heights.",
    "Give the index of the wanted value in a list that is sorted with the {} value first, and -1 if it is not there.",
    "Name the planet of the solar system that has the {} mass of all and say how it was found.",
]


@pytest.mark.parametrize("model", [(), ("--model", "minilm")], ids=["words", "minilm"])
def test_a_twin_that_differs_in_one_word_is_no_repetition(folder, request, model):
    if model:
        request.getfixturevalue("minilm")
    texts = [twin.format(word) for twin in TWINS for word in ("largest", "smallest")]
    write_rows(folder / "data.jsonl", [{"text": text} for text in (*texts, f"{texts[0]} Please.")])
    assert call("data.jsonl", "--within", "--domain", "text", *model).exit_code == 0

    assert [row["text"] for row in read_rows(folder / "data.clean.jsonl")] == texts
