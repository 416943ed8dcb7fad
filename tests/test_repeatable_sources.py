"""An option that names rows may be repeated: every source is read, in order, and is in the manifest with its hash."""

import importlib
import json

import pytest
from click.testing import CliRunner

from tools_shared.config.spellings import spellings
from tools_shared.files import sha256_file
from tools_shared.runs import read_manifest

REPEATABLE = [
    ("sft", ("train",), "--train-path"), ("sft", ("train",), "--train-file"),
    ("sft", ("train",), "--eval-path"), ("sft", ("train",), "--traces-file"),
    ("grpo", ("train",), "--train-path"), ("grpo", ("train",), "--eval-path"),
    ("traces", (), "--data"), ("traces", (), "--train-path"), ("traces", (), "--decontaminate"),
    ("bench", ("evaluate",), "--eval-path"), ("dedup", ("run",), "--train-path"), ("dedup", ("run",), "--test-path"),
]  # fmt: skip


def main_of(tool):
    return importlib.import_module(f"tools_{tool}.cli").main


def invoke(tool, *words, **env):
    return CliRunner().invoke(main_of(tool), [str(word) for word in words], env=env)


@pytest.fixture
def sources(tmp_path):
    """Two files with other mathematics than the demo's: two rows and three, one of the latter without an answer."""
    a, b = tmp_path / "a b.jsonl", tmp_path / "c.jsonl"
    first = [("What is 2^5?", "32"), ("Solve x/3 = 1/4 for x.", "3/4")]
    second = [("What is 15% of 80?", "12"), ("What is -7 - 8?", "-15"), ("How many primes are below 20?", None)]
    for path, rows in ((a, first), (b, second)):
        lines = ({"question": q} | ({"answer": f"#### {answer}"} if answer else {}) for q, answer in rows)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return a, b


@pytest.mark.parametrize(("tool", "verb", "flag"), REPEATABLE)
def test_the_option_says_that_it_may_be_repeated(tool, verb, flag):
    command = main_of(tool)
    for name in verb:
        command = command.commands[name]
    name = spellings(command.params).get(flag[2:], flag[2:])
    option = next(p for p in command.params if f"--{name}" in p.opts)
    assert option.multiple
    assert "Repeatable" in option.help


def inputs(manifest, name):
    return [(e["path"], e["sha256"], e["n_read"]) for e in manifest["inputs"] if e["name"].split(" ")[0] == name]


def told(*paths):
    return [(str(path), sha256_file(path), len(path.read_text().splitlines())) for path in paths]


def test_tools_sft_trains_on_all_of_them(sources, tmp_path):
    words = ["--no-eval", "--max-steps", 1, "--output-dir", tmp_path / "run"]
    done = invoke("sft", "--train-path", sources[0], "--train-path", sources[1], *words)
    assert done.exit_code == 0, done.output
    assert "5 rows read, 4 used, 1 rejected" in done.stderr
    manifest = read_manifest(tmp_path / "run")
    assert inputs(manifest.data, "train") == told(*sources)
    assert manifest.options["data"] == [str(path) for path in sources]
    assert invoke("sft", "--config", tmp_path / "run" / "config.yaml", *words[-2:]).exit_code == 0  # nothing to do
    sources[1].write_text(sources[1].read_text() + "\n{}\n")
    changed = invoke("sft", "--train-path", sources[0], "--train-path", sources[1], *words)
    assert f"{sources[1]} has changed since" in " ".join(changed.output.split())


def test_tools_bench_evaluates_all_of_them(sources, tmp_path):
    done = invoke(
        "bench", "evaluate", "--eval-path", sources[0], "--eval-path", sources[1], "--eval-max-new-tokens", 4,
        "--max-rejected", "1",
        "--output-dir", tmp_path / "run",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    manifest = read_manifest(tmp_path / "run")
    assert inputs(manifest.data, "eval") == told(*sources)
    assert manifest.metrics["accuracy"]["n"] == 4


def test_one_source_is_written_as_it_always_was(sources, tmp_path):
    words = ["--eval-max-new-tokens", 4, "--output-dir", tmp_path / "run"]
    assert invoke("bench", "evaluate", "--eval-path", sources[0], *words).exit_code == 0
    manifest = read_manifest(tmp_path / "run")
    assert manifest.options["eval_data"] == str(sources[0]) == manifest.identity["eval_data"]
    assert [entry["name"] for entry in manifest.data["inputs"]] == ["model", "eval"]


def test_tools_traces_asks_all_of_them(sources):
    done = invoke("traces", "--data", sources[0], "--data", sources[1], "--dry-run")
    assert done.exit_code == 0, done.output
    assert "4 " in done.stderr


def test_tools_dedup_cleans_all_of_them_into_one_file(sources, tmp_path):
    tests = tmp_path / "test.jsonl"
    tests.write_text('{"question": "What is 15% of 80?", "answer": "#### 12"}\n')
    words = ["--test-path", tests, "--text-key", "question", "--method", "exact", "--output-path", tmp_path / "o.jsonl"]
    done = invoke("dedup", "run", "--train-path", sources[0], "--train-path", sources[1], *words)
    assert done.exit_code == 0, done.output
    assert "5 rows: 4 kept, 1 removed" in done.output
    (train,) = (e for e in json.loads((tmp_path / "o.run.json").read_text())["inputs"] if e["name"] == "train")
    assert train["sources"] == [{"path": str(path), "sha256": sha256_file(path)} for path in sources]


def test_lists_in_yaml_and_lines_in_the_environment(sources, tmp_path):
    config = tmp_path / "sft.yaml"
    config.write_text(f"train_path:\n  - {sources[0]}\n  - {sources[1]}\n")
    words = ["--no-eval", "--max-steps", 1, "--output-dir"]
    assert "5 rows read" in invoke("sft", "--config", config, *words, tmp_path / "a").stderr
    lines = "\n".join(map(str, sources))
    assert "5 rows read" in invoke("sft", *words, tmp_path / "b", TOOLS_SFT_TRAIN_FILE=lines).stderr
    one = invoke("sft", *words, tmp_path / "c", TOOLS_SFT_TRAIN_FILE=str(sources[0]))  # its name holds a space
    assert "2 rows read" in one.stderr


@pytest.mark.parametrize("source", ["-", "demo://problems?size=4", "a b.jsonl"])
def test_the_same_source_twice_is_a_mistake(source):
    done = invoke("sft", "--train-path", source, "--train-path", source, "--no-eval")
    assert done.exit_code == 1
    assert f"--data {source}: is given twice; name each source once" in done.output


def test_a_limit_counts_over_all_sources(sources, tmp_path):
    words = ["--no-eval", "--max-steps", 1, "--train-samples", 3, "--output-dir", tmp_path / "run"]
    done = invoke("sft", "--train-path", sources[0], "--train-path", sources[1], *words)
    assert "3 rows read, 3 used" in done.stderr
    used = [e["n_used"] for e in read_manifest(tmp_path / "run").data["inputs"] if e["name"].startswith("train")]
    assert used == [2, 1]
