"""A run from files to files: what goes, what stays, and that no row is lost."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tools_dedup.cli import main
from tools_dedup.config import DedupConfig
from tools_dedup.run import decontaminate
from tools_shared.config.spellings import spellings
from tools_shared.errors import ToolError
from tools_shared.sources import read_problems

from .conftest import LEXICAL, TESTS, TRAIN, read_rows, write_rows

REFERENCE_FIELDS = (
    "train_idx train_goal train_steps train_topic nearest_test_idx nearest_test_goal nearest_test_steps "
    "nearest_test_topic cosine_similarity"
).split()
REFERENCE_FLAGS = (
    "--train-path --test-path --output-path --train-goal-key --train-steps-key --train-topic-key --test-goal-key "
    "--test-steps-key --test-topic-key --threshold --model --batch-size --chunk-size --seed --max-train --max-test "
    "--device --removed-path --matches-path --save-embeddings --load-embeddings"
).split()


def test_the_copy_goes_and_the_others_stay(dedup, folder):
    result = dedup(*LEXICAL)

    assert result.exit_code == 0, result.output
    assert read_rows(folder / "clean.jsonl") == [TRAIN[0], TRAIN[2], TRAIN[3]]
    assert read_rows(folder / "clean.removed.jsonl") == [TRAIN[1]]
    match = read_rows(folder / "clean.matches.jsonl")[1]
    assert list(match)[: len(REFERENCE_FIELDS)] == REFERENCE_FIELDS
    assert (match["removed_by"], match["score"], match["train_line"], match["test_line"]) == ("exact", 1.0, 2, 1)
    assert match["shared_spans"][0].startswith("Repair a flat bicycle tyre")


def test_the_manifest_proves_that_no_row_is_missing(dedup, folder):
    (folder / "train.jsonl").write_text((folder / "train.jsonl").read_text() + '{"goal": 3}\nnot json\n')

    assert dedup(*LEXICAL).exit_code == 0
    manifest = json.loads((folder / "clean.run.json").read_text())
    metrics = manifest["metrics"]
    assert metrics["n_rows"] == 6 == metrics["n_kept"] + metrics["n_removed"] + metrics["n_rejected"]
    assert [row["line"] for row in read_rows(folder / "clean.rejected.jsonl")] == [5, 6]
    assert manifest["inputs"][0]["sha256"] != manifest["inputs"][1]["sha256"]
    assert set(manifest["outputs"]) == {"kept", "removed", "matches", "rejected", "chart", "report"}


@pytest.mark.parametrize("limit", [0, 200])
def test_rows_that_are_not_held_are_read_again_and_written_alike(dedup, folder, monkeypatch, limit):
    """200 characters hold the first row alone, so that what was held is dropped again."""
    (folder / "train.jsonl").write_text((folder / "train.jsonl").read_text() + "not json\n")
    names = ["jsonl", "removed.jsonl", "matches.jsonl", "rejected.jsonl", "report.html"]
    dedup(*LEXICAL)
    held = [(folder / f"clean.{name}").read_bytes() for name in names]
    monkeypatch.setattr("tools_dedup.input.rows.HELD_CHARACTERS", limit)
    dedup(*LEXICAL)
    assert [(folder / f"clean.{name}").read_bytes() for name in names] == held


def test_two_runs_write_the_same_bytes(dedup, folder):
    names = ["jsonl", "removed.jsonl", "matches.jsonl", "rejected.jsonl", "matches_distribution.png", "report.html"]
    dedup(*LEXICAL)
    first = [(folder / f"clean.{name}").read_bytes() for name in names]
    dedup(*LEXICAL)

    assert [(folder / f"clean.{name}").read_bytes() for name in names] == first


@pytest.mark.parametrize("n", [2, 3])
def test_shards_merged_equal_one_run(dedup, folder, n):
    write_rows(folder / "train.jsonl", [*TRAIN, {"goal": "no steps"}, *TRAIN])
    dedup(*LEXICAL)
    for i in range(n):
        assert dedup(*LEXICAL, "--shard", f"{i}/{n}", output=f"part{i}.jsonl").exit_code == 0
    parts = [f"part{i}.run.json" for i in reversed(range(n))]
    result = CliRunner().invoke(main, ["merge", *parts, "--output-path", "merged.jsonl"])

    assert result.exit_code == 0, result.output
    for name in ("jsonl", "removed.jsonl", "matches.jsonl", "rejected.jsonl", "matches_distribution.png"):
        assert (folder / f"merged.{name}").read_bytes() == (folder / f"clean.{name}").read_bytes()


def test_merge_refuses_a_missing_shard(dedup):
    dedup(*LEXICAL, "--shard", "0/2", output="part0.jsonl")
    result = CliRunner().invoke(main, ["merge", "part0.run.json", "--output-path", "merged.jsonl"])

    assert result.exit_code == 1
    assert "of 2 shards 1 is missing" in result.output


def test_all_flags_of_the_reference_exist():
    params = main.commands["run"].params
    known = {flag for p in params for flag in p.opts} | {f"--{name}" for name in spellings(params)}

    assert [flag for flag in REFERENCE_FLAGS if flag not in known] == []


def test_many_test_sets_are_named_in_the_matches(dedup, folder):
    write_rows(folder / "other.jsonl", [TRAIN[3]])
    result = dedup(*LEXICAL, "--test-path", "letters=other.jsonl")

    assert result.exit_code == 0, result.output
    removed = [row for row in read_rows(folder / "clean.matches.jsonl") if row["removed_by"]]
    assert [(row["train_line"], row["test_set"]) for row in removed] == [(2, "test"), (4, "letters")]


def test_within_keeps_one_of_the_repetitions(dedup, folder):
    longer = {"goal": "  write a SHORT thank-you letter", "steps": TRAIN[3]["steps"], "grade": 5}
    write_rows(folder / "train.jsonl", [TRAIN[0] | {"grade": 2}, TRAIN[3] | {"grade": 1}, longer])
    assert dedup(*LEXICAL, "--within").exit_code == 0
    assert [row["grade"] for row in read_rows(folder / "clean.jsonl")] == [2, 1]
    assert dedup(*LEXICAL, "--within", "--keep", "grade").exit_code == 0

    assert [row["grade"] for row in read_rows(folder / "clean.jsonl")] == [2, 5]
    (cluster,) = read_rows(folder / "clean.clusters.jsonl")
    assert (cluster["kept"]["train_line"], [row["train_line"] for row in cluster["removed"]]) == (3, [2])


def test_nothing_goes_by_transitivity():
    words = "one stone under seven green bridges near our quiet northern harbour town with painted wooden boats".split()
    a, b, c = (" ".join(words[i : i + 11]) for i in (0, 2, 4))
    config = DedupConfig(method=("exact", "lexical"), text_key="t", within=True, within_threshold=0.2)
    result = decontaminate([{"t": a}, {"t": b}, {"t": c}], [{"t": "a wholly other matter of taxes and law"}], config)
    repeats = [match["repeats"] and match["repeats"]["train_line"] for match in result.matches]

    assert 2 not in repeats, "the middle text goes, so nothing may go because of it"


def test_output_formats(dedup, folder):
    rows = [{"question": "What is 17 plus 25?", "answer": "17+25=42\n#### 42", "id": 7}]
    write_rows(folder / "train.jsonl", rows)
    dedup(*LEXICAL, "--output-format", "messages")
    assert read_rows(folder / "clean.jsonl") == [
        {
            "id": 7,
            "messages": [
                {"role": "user", "content": rows[0]["question"]},
                {"role": "assistant", "content": rows[0]["answer"]},
            ],
        }
    ]
    dedup(*LEXICAL, "--output-format", "prompt-response")
    assert read_rows(folder / "clean.jsonl") == [
        {"id": 7, "prompt": rows[0]["question"], "response": rows[0]["answer"]}
    ]
    dedup(*LEXICAL)
    assert read_rows(folder / "clean.jsonl") == rows
    write_rows(folder / "train.jsonl", [rows[0] | {"answer": "#### 42"}])
    dedup(*LEXICAL, "--output-format", "prompt-response")
    assert read_rows(folder / "clean.jsonl")[0]["response"] == "#### 42"


def test_guard_keeps_twins_with_other_numbers():
    test = "A farmer has 14 cows and 23 sheep. He sells 5 cows. How many animals does the farmer have now?"
    twin = "A farmer has 31 cows and 12 sheep. He sells 8 cows. How many animals does the farmer have now?"
    rows = [{"q": twin}, {"q": "Something else about a train that leaves the station at noon."}]
    for guard, n_removed in (((), 1), (("numbers",), 0)):
        config = DedupConfig(method=("lexical",), text_key="q", guard=guard, threshold=0.01)
        assert len(decontaminate(rows, [{"q": test}], config).removed) == n_removed


def test_short_texts_need_near_equality():
    config = DedupConfig(method=("lexical",), text_key="q", threshold=0.01)
    rows = [{"q": "Solve the equation now"}, {"q": "solve equation the"}, {"q": "Solve the riddle now"}]
    result = decontaminate(rows, [{"q": "The equation: solve!"}], config)

    assert [row["q"] for row in result.removed] == ["solve equation the"]


def test_verdicts_win_over_the_rule(dedup, folder):
    dedup(*LEXICAL)
    matches = read_rows(folder / "clean.matches.jsonl")
    said = [
        {"train_id": matches[1]["train_id"], "verdict": "keep"},
        {"train_id": matches[2]["train_id"], "verdict": "remove"},
    ]
    (folder / "v.json").write_text(json.dumps({"kind": "tools-dedup verdicts", "verdicts": said}))
    assert dedup(*LEXICAL, "--verdicts", "v.json").exit_code == 0

    assert read_rows(folder / "clean.removed.jsonl") == [TRAIN[2]]


@pytest.mark.parametrize("more", [(), ("--guard", "numbers"), ("--review", "0:0.95")], ids=["plain", "guard", "review"])
@pytest.mark.parametrize(("first", "second"), [("0.9", "0.00001"), ("0.00001", "0.9")])
def test_rethreshold_equals_a_run_with_that_threshold(dedup, folder, first, second, more):
    """In every file, among two test sets, with a twin of other numbers that the guard keeps at one threshold alone."""
    bread = [
        {**TRAIN[0], "steps": ["Mix flour, water and yeast.", "Knead it.", f"Bake for {n} minutes."]} for n in (45, 50)
    ]
    write_rows(folder / "train.jsonl", [*TRAIN, bread[0]])
    write_rows(folder / "other.jsonl", [bread[1]])
    words = (*LEXICAL, *more, "--test-path", "other.jsonl")
    assert dedup(*words, "--threshold", first).exit_code == 0
    again = ["rethreshold", "--run-path", "clean.run.json", "--threshold", second, "--output-path", "again.jsonl"]
    assert CliRunner().invoke(main, again, catch_exceptions=False).exit_code == 0
    assert dedup(*words, "--threshold", second, output="fresh.jsonl").exit_code == 0

    made = [json.loads((folder / f"{name}.run.json").read_text()) for name in ("again", "fresh")]
    assert made[0]["metrics"] == made[1]["metrics"]
    assert made[0]["warnings"] == made[1]["warnings"]
    for name in made[1]["outputs"]:
        one, two = ((folder / manifest["outputs"][name]["path"]).read_text("latin-1") for manifest in made)
        assert one.replace("again", "fresh") == two, name


def test_rethreshold_refuses_changed_matches(dedup, folder):
    dedup(*LEXICAL)
    (folder / "clean.matches.jsonl").write_text("{}\n")
    words = ["rethreshold", "--run-path", "clean.run.json", "--threshold", "0.5", "--output-path", "again.jsonl"]
    result = CliRunner().invoke(main, words)

    assert result.exit_code == 1
    assert "not as the run wrote it" in result.output


def test_without_a_model_a_sentence_says_what_is_not_seen(dedup):
    result = dedup()

    assert result.exit_code == 0
    assert "no embedding model" in result.output


@pytest.mark.parametrize("asked", [("--threshold", "0.65"), ("--save-embeddings", "emb.npz")])
def test_what_needs_a_model_and_was_asked_for_is_refused_without_one(dedup, folder, asked):
    result = dedup(*asked)

    assert result.exit_code == 1
    assert f"{asked[0]} {asked[1]} needs the vectors of a model" in result.output
    assert not (folder / "clean.jsonl").exists()


def test_dry_run_writes_nothing(dedup, folder):
    result = dedup(*LEXICAL, "--dry-run")

    assert "3 kept, 1 removed" in result.output
    assert sorted(path.name for path in folder.iterdir()) == ["test.jsonl", "train.jsonl"]


def test_in_place_replaces_the_training_file(dedup, folder):
    assert dedup(*LEXICAL, "--in-place", output="train.jsonl").exit_code == 0

    assert len(read_rows(folder / "train.jsonl")) == 3


def test_python_api_takes_lists_and_gives_everything():
    result = decontaminate(TRAIN, {"bench": TESTS}, DedupConfig(method=("exact",)))

    assert result.kept == [TRAIN[0], TRAIN[2], TRAIN[3]]
    assert result.removed == [TRAIN[1]]
    assert result.matches[1]["test_set"] == "bench"
    assert result.metrics["n_rows"] == 4
    with pytest.raises(ToolError, match="no test set"):
        decontaminate(TRAIN, {})


def test_a_lexical_run_imports_no_torch(folder):
    code = (
        "import sys; from tools_dedup.run import decontaminate; from tools_dedup.config import DedupConfig;"
        "decontaminate('train.jsonl', 'test.jsonl', DedupConfig(method=('exact', 'lexical')));"
        "sys.exit(bool({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=folder).returncode == 0


def test_max_train_draws_the_rows_that_the_reference_draws(dedup, folder):
    import random

    order = list(range(len(TRAIN)))
    random.Random(42).shuffle(order)
    assert dedup(*LEXICAL, "--max-train", "2").exit_code == 0

    matches = read_rows(folder / "clean.matches.jsonl")
    assert [row["train_line"] - 1 for row in matches] == sorted(order[:2])


def test_review_lists_the_band_for_a_person(dedup, folder):
    assert dedup(*LEXICAL, "--review", "0:0.01").exit_code == 0
    scores = [row["score"] for row in read_rows(folder / "clean.review.jsonl")]

    assert scores
    assert all(0 <= score <= 0.01 for score in scores)


def test_standard_input_is_read_twice_though_it_comes_once(folder):
    command = [sys.executable, "-m", "tools_dedup", "--train-path", "-", "--test-path", "test.jsonl", *LEXICAL]
    rows = (folder / "train.jsonl").read_bytes()
    done = subprocess.run([*command, "--output-path", "clean.jsonl"], cwd=folder, input=rows, capture_output=True)

    assert done.returncode == 0, done.stderr
    assert read_rows(folder / "clean.jsonl") == [TRAIN[0], TRAIN[2], TRAIN[3]]


def test_a_source_has_the_hash_that_every_tool_gives_it(dedup, folder):
    spec = "demo://problems?split=train&size=20"
    assert dedup(*LEXICAL, train=spec, test="demo://problems?split=test&size=20").exit_code == 0
    manifest = json.loads((folder / "clean.run.json").read_text())

    assert manifest["inputs"][0]["sha256"] == read_problems(spec).sha256
