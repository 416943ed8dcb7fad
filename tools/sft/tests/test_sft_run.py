"""tools-sft as its users run it: the command line, killed and resumed, and with wrong input."""

import csv
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tools_sft.cli import main
from tools_shared.files import sha256_file
from tools_shared.runs import read_manifest

SMALL = ["--prep-train-samples", "24", "--epochs", "1", "--batch-size", "4"]
SMALL += ["--eval-samples", "8", "--eval-max-new-tokens", "48"]


def command(*args):
    return [sys.executable, "-c", "from tools_sft.cli import main; main()", *map(str, args)]


def run(*args, env=None):
    return subprocess.run(command(*args), capture_output=True, text=True, env={**os.environ, **(env or {})})


@pytest.fixture(scope="module")
def prep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft") / "prep_sft"
    done = run("--stage", "prep", *SMALL, "--output-dir", folder, "--merge", "--eval-before", "--save-steps", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(folder)
    return folder


def test_the_run_directory_is_whole(prep):
    manifest = read_manifest(prep)
    assert {"model", "merged", "debug", "run.json", "config.yaml", "metrics.jsonl", "rejected.jsonl"} <= {
        path.name for path in prep.iterdir()
    }
    assert manifest.metrics["steps"] == 6
    assert manifest.metrics["accuracy"]["n"] == 8 == manifest.metrics["before_accuracy"]["n"]
    assert [i["name"] for i in manifest.data["inputs"]] == ["base_model", "train", "eval"]
    assert manifest.data["profile"] == "gsm8k-tags"
    (per_example,) = [p for p in prep.glob("debug/prep_sft_*.csv") if "before" not in p.name]
    with per_example.open() as file:
        head = next(csv.reader(file))
    assert ",".join(head[:7]) == (
        "question,labeled_cot,labeled_answer,generated_text,extracted_thinking,extracted_answer,correct"
    )


def test_the_same_command_again_does_nothing(prep):
    before = sha256_file(prep / "run.json")
    done = run("--stage", "prep", *SMALL, "--output-dir", prep, "--merge", "--eval-before", "--save-steps", 2)
    assert (done.returncode, sha256_file(prep / "run.json")) == (0, before)
    assert "already finished" in done.stderr


def test_the_stored_configuration_repeats_the_run(prep, tmp_path):
    done = run("--config", prep / "config.yaml", "--output-dir", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    one, two = (p / "model" / "adapter_model.safetensors" for p in (prep, tmp_path / "again"))
    assert sha256_file(one) == sha256_file(two)


def test_full_sft_goes_on_with_the_adapter_on_traces(prep, tmp_path):
    traces = tmp_path / "traces.jsonl"
    row = {"question": "What is 1 + 1?", "answer": "1 + 1 = 2\n\n#### 2"}
    traces.write_text((json.dumps(row) + "\n") * 4 + '{"question": "broken"\n')
    done = run(
        "--base-model", prep, "--traces-file", traces, "--no-eval", "--output-dir", tmp_path / "traces", "--json",
        env={"TRAIN_SAMPLES": "5"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["n_train"] == 4
    manifest = read_manifest(tmp_path / "traces")
    assert manifest.parents() == [read_manifest(prep).sha256]
    assert json.loads((tmp_path / "traces" / "rejected.jsonl").read_text())["line"] == 5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--max-steps", "0"], "--max-steps must be at least 1, or -1"),
        (["--seed", "-1"], "--seed must be between 0 and 4294967295, got -1"),
        (["--epochs", "inf"], "--epochs must be a finite number, got inf"),
        (["--full-finetune", "--merge"], "there is no adapter to merge with --full-finetune"),
        (["--adapter", "merge", "--merge"], "leave one of them out"),
        (["--temperature", "2"], "--temperature is for --objective distill"),
        (["--output-dir", "."], "--output-dir '.': does not name a folder of its own"),
        (["--eval-max-new-tokens", "5000"], "with 5000 new ones it exceeds the model's 4096"),
        (["--processes", "3", "--batch-size", "4"], "the 4 examples of a step cannot be dealt to 3 processes"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_loaded(args, message):
    done = CliRunner().invoke(
        main, ["--stage", "prep", "--prep-train-samples", "8", "--dry-run", "--eval-samples", "4", *args]
    )
    assert done.exit_code == 1
    assert message in done.stderr


def test_a_mistake_found_while_the_model_is_loaded_leaves_no_draft_behind(tmp_path):
    args = ["--stage", "prep", "--prep-train-samples", "4", "--max-steps", "1", "--no-eval"]
    done = run(*args, "--output-dir", tmp_path / "out", "--lora-target", "no_such_layer")
    assert done.returncode == 1
    assert "--lora-target no_such_layer: " in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "args", "message"),
    [
        (None, [], "no such file"),
        ("", [], "no usable row"),
        ('{"question": "q", "answer": "no\\nmark"}\n', [], '"answer" has no "#### N" line'),
        ('{"questoin": "q", "answer": "#### 1"}\n', [], "question"),
        ('{"question": "q",\n', [], "no usable row (1 read, 1 rejected; first: line 1"),
        ('{"question": "q", "answer": "a\\n#### 1"}\n', ["--max-length", "20"], "data.jsonl:1: "),
        (
            '{"question": "q", "answer": "a\\n#### 1"}\n',
            ["--base-model", "/no/model"],
            "/no/model: no such model folder",
        ),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(tmp_path, content, args, message):
    data = tmp_path / "data.jsonl"
    if content is not None:
        data.write_text(content)
    done = run("--stage", "prep", "--train-path", data, "--output-dir", tmp_path / "out", *args)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir() if p != data] == []
