"""`tools-bench evaluate` on the demo model, and `compare` on evaluations."""

import csv
import json

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_shared.evaluation import COLUMNS


def bench(*words):
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


def write_evaluation(path, n_right, n=100, question="What is {i} + {i}?"):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for i in range(n):
            right = i < n_right
            row = {"id": str(i), "question": question.format(i=i), "labeled_answer": str(2 * i)}
            writer.writerow({**row, "correct": right, "lenient_correct": right, "finish_reason": "stop"})
    return path


def test_evaluations_are_compared_paired(tmp_path):
    one, two = write_evaluation(tmp_path / "base.csv", 40), write_evaluation(tmp_path / "sft.csv", 80)
    done = bench("compare", one, two, "--output-dir", tmp_path / "c")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert (found["baseline"], found["n"]) == ("base", 100)
    difference = found["runs"][1]["accuracy_difference"]
    assert difference["difference"] == pytest.approx(0.4)
    assert difference["low"] > 0.3
    assert difference["p_holm"] < 0.001
    for name in ("comparison.png", "comparison.md", "comparison.txt", "run.json"):
        assert (tmp_path / "c" / name).stat().st_size > 0
    assert "already finished" in bench("compare", one, two, "--output-dir", tmp_path / "c").output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "needs at least two runs"),
        (["other.csv"], "not the same test"),
        (["same.csv", "--baseline", "x"], "--baseline x: not among the runs"),
        (["same.csv", "--fail-on", "accuracy:1"], "--fail-on says nothing of evaluations"),
        (["same.csv", "--margin", "5"], "--margin says nothing of evaluations"),
        (["gone.csv"], "no such file"),
        (["gone"], "no such run directory"),
    ],
)
def test_what_cannot_be_compared_is_named(tmp_path, more, message):
    one = write_evaluation(tmp_path / "base.csv", 40)
    write_evaluation(tmp_path / "same.csv", 40)
    write_evaluation(tmp_path / "other.csv", 40, question="What is twice {i}?")
    words = [tmp_path / word if word.endswith((".csv", "gone")) else word for word in more]
    done = bench("compare", one, *words, "--output-dir", tmp_path / "c")
    assert done.exit_code == 1
    assert message in done.output


def test_evaluate_the_demo_and_benchmark_it_on_the_same_items(tmp_path):
    data = "demo://problems?split=test&size=6"
    more = ["--output-dir", tmp_path / "eval", "--output-file", "demo.csv", "--eval-max-new-tokens", 96]
    done = bench("evaluate", "--model-path", "demo", "--eval-file", data, *more)
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((tmp_path / "eval" / "demo.csv").open(newline="")))
    assert len(rows) == 6
    assert list(rows[0]) == list(COLUMNS)
    suite = tmp_path / "demo.yaml"
    suite.write_text(f"name: demo\ntasks:\n  - {{name: demo, kind: math, source: '{data}'}}\n")
    words = ["--suite", suite, "--max-new-tokens", 96, "--output-dir", tmp_path]
    assert bench("run", "--model-path", "demo", *words).exit_code == 0
    responses = [json.loads(line) for line in (tmp_path / "demo" / "responses.jsonl").read_text().splitlines()]
    assert {r["id"]: r["text"] for r in responses} == {row["id"]: row["generated_text"] for row in rows}
    results = json.loads((tmp_path / "demo" / "benchmark_results.json").read_text())
    right = sum(row["lenient_correct"] == "True" for row in rows)
    assert results["evaluations"]["math_accuracy"]["accuracy_lenient"] == pytest.approx(right / 6)


def test_evaluate_refuses_what_it_cannot_do(tmp_path):
    done = bench("evaluate", "--engine", "http", "--output-dir", tmp_path / "e")
    assert done.exit_code == 1
    assert "--engine http needs --endpoint" in done.output
    assert "has an effect with --engine http only" in bench("evaluate", "--endpoint", "http://x/v1").output
    named = bench("evaluate", "--output-file", "a/b.csv", "--output-dir", tmp_path / "e")
    assert "give a name without a folder" in named.output
    own = bench("evaluate", "--output-file", "run.json", "--output-dir", tmp_path / "e")
    assert own.exit_code == 1
    assert "a run has a file of this name already" in own.output


@pytest.mark.parametrize("command", ["run", "evaluate", "compare", "report", "rescore", "data", "tag"])
def test_every_command_has_help_with_an_example(command):
    done = bench(command, "--help")
    assert done.exit_code == 0
    assert "tools-bench" in done.output or command == "data"
