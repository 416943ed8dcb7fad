"""`tools-bench run --compare` and `tools-bench compare A B` on benchmark runs, through the command line."""

import json
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from tools_bench.cli import main


def bench(*words):
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "sums.jsonl"
    rows = [{"id": str(i), "question": f"What is {i} + {i}?", "answer": f"#### {2 * i}"} for i in range(200)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def suite(tmp_path, data):
    path = tmp_path / "sums.yaml"
    path.write_text(f"name: sums\ntasks:\n  - {{name: sums, kind: math, source: {data.name}}}\n")
    return path


def model(n_right):
    def answer(path, body, number):
        i = int(body["messages"][-1]["content"].split()[2])
        text = f"<SOLUTION>{2 * i if i < n_right else '<b>0</b>'}</SOLUTION>"
        return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}, {}

    return answer


@pytest.fixture
def runs(serve, tmp_path, suite):
    """Three runs: `good` (180 of 200 right), `same` (180, others) and `bad` (120)."""
    for name, n_right in (("good", 180), ("same", 180), ("bad", 120)):
        asked = serve(model(n_right))
        words = ["--suite", suite, "--output-dir", tmp_path, "--model-name", name]
        assert bench("run", *words, "--endpoint", f"{asked.url}/v1").exit_code == 0
    return tmp_path


def test_a_regression_fails_the_gate_and_is_written_down(runs):
    words = ["run", "--model-name", "bad", "--output-dir", runs, "--compare", runs / "good" / "benchmark_results.json"]
    assert bench(*words).exit_code == 0
    done = bench(*words, "--fail-on", "accuracy:2")
    assert done.exit_code == 4
    assert "accuracy is worse by 30.0 points" in done.output
    found = json.loads((runs / "bad" / "comparison.json").read_text())
    assert (found["baseline"], found["current"]) == ("good", "bad")
    assert found["improvements"] == {}
    assert found["regressions"]["accuracy"]["change"] == pytest.approx(-0.3)
    assert found["metrics"]["accuracy"]["minimum_detectable"] > 0
    flips = [json.loads(line) for line in (runs / "bad" / "flips.jsonl").read_text().splitlines()]
    assert len(flips) == 60
    assert flips[0]["baseline"]["answer"] != flips[0]["current"]["answer"]
    suite = ElementTree.parse(runs / "bad" / "junit.xml").getroot()
    assert suite.get("failures") == "1"


def test_compare_two_folders(runs):
    words = ["compare", runs / "good", runs / "same", "--output-dir", runs / "cmp"]
    done = bench(*words, "--fail-on", "accuracy")
    assert done.exit_code == 0, done.output
    found = json.loads((runs / "cmp" / "comparison.json").read_text())
    assert not found["improvements"]
    assert not found["regressions"]
    again = bench("compare", runs / "good", runs / "bad", "--output-dir", runs / "cmp2", "--fail-on", "accuracy:2")
    assert again.exit_code == 4
    assert (runs / "cmp2" / "run.json").is_file()
    # The gate is asked again when the comparison exists already.
    assert (
        bench(
            "compare", runs / "good", runs / "bad", "--output-dir", runs / "cmp2", "--fail-on", "accuracy:2"
        ).exit_code
        == 4
    )


def test_three_runs_are_judged_against_one_baseline(runs):
    words = [
        "compare",
        runs / "same",
        runs / "bad",
        runs / "good",
        "--baseline",
        "good",
        "--output-dir",
        runs / "three",
    ]
    done = bench(*words)
    assert done.exit_code == 0, done.output
    found = json.loads((runs / "three" / "comparison.json").read_text())
    assert found["baseline"] == "good"
    assert list(found["runs"]) == ["same", "bad"]
    assert found["runs"]["bad"]["regressions"]["accuracy"]["change"] == pytest.approx(-0.3)
    assert not found["runs"]["same"]["regressions"]
    flips = [json.loads(line) for line in (runs / "three" / "flips.jsonl").read_text().splitlines()]
    assert {flip["run"] for flip in flips} == {"bad"}
    assert (runs / "three" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    suites = ElementTree.parse(runs / "three" / "junit.xml").getroot().findall("testsuite")
    assert [suite.get("name") for suite in suites] == [f"tools-bench: {name} against good" for name in ("same", "bad")]
    parents = json.loads((runs / "three" / "run.json").read_text())["inputs"]
    assert [parent["name"] for parent in parents] == ["baseline", "same", "bad"]
    # All metrics of both runs are corrected together: what is not certain is less so in company.
    alone = bench("compare", runs / "good", runs / "bad", "--output-dir", runs / "two")
    assert alone.exit_code == 0
    two = json.loads((runs / "two" / "comparison.json").read_text())["metrics"]["accuracy"]
    assert found["runs"]["bad"]["metrics"]["accuracy"]["p_adjusted"] > two["p_adjusted"] > two["p_value"]
    gate = bench(*words, "--fail-on", "accuracy:2")
    assert gate.exit_code == 4
    assert "bad: accuracy is worse by 30.0 points" in gate.output


@pytest.mark.parametrize(
    ("names", "more", "message"),
    [
        (["good"], [], "needs at least two runs, got 1"),
        (["good", "bad"], ["--baseline", "best"], "--baseline best: not among the runs (good, bad)"),
        (["good", "bad", "good"], [], "two runs are called 'good'"),
    ],
)
def test_what_cannot_be_compared_is_named(runs, names, more, message):
    done = bench("compare", *(runs / name for name in names), *more, "--output-dir", runs / "cmp")
    assert done.exit_code == 1
    assert message in done.output


def test_unlike_runs_are_refused(runs, serve, suite):
    asked = serve(model(200))
    words = ["--suite", suite, "--output-dir", runs, "--endpoint", f"{asked.url}/v1", "--model-name", "hot"]
    assert bench("run", *words, "--temperature", "1", "--limit", "50").exit_code == 0
    refused = bench("compare", runs / "good", runs / "hot", "--output-dir", runs / "cmp")
    assert refused.exit_code == 1
    assert "items of task 'sums' differ" in refused.output
    assert "temperature is 0.0 in baseline and 1.0 in current" in refused.output
    allowed = bench("compare", runs / "good", runs / "hot", "--output-dir", runs / "cmp", "--allow-mismatch")
    assert allowed.exit_code == 0
    assert "n = 50" in allowed.output


def test_the_old_format_is_taken_with_a_warning(runs):
    old = runs / "old.json"
    evaluations = {"math_accuracy": {"numeric_match": 0.9, "exact_match": 85.0, "total": 200}}
    old.write_text(json.dumps({"model_name": "then", "endpoint": "x", "timestamp": "y", "evaluations": evaluations}))
    done = bench("run", "--model-name", "bad", "--output-dir", runs, "--compare", old, "--fail-on", "numeric_match:5")
    assert done.exit_code == 4
    assert "contains aggregates only" in done.output
    assert "exact_match is 85.0 in the baseline" in done.output
    assert "regressions" in json.loads((runs / "bad" / "comparison.json").read_text())


def test_an_unfinished_run_is_exit_3(runs):
    (runs / "good").rename(runs / "good.partial")
    done = bench("compare", runs / "good", runs / "bad", "--output-dir", runs / "cmp")
    assert done.exit_code == 3
    assert "has not finished" in done.output


def test_the_suite_of_the_baseline_is_adopted(runs, serve, suite):
    asked = serve(model(180))
    words = ["--model-name", "next", "--endpoint", f"{asked.url}/v1", "--output-dir", runs, "--compare", runs / "good"]
    assert bench("run", *words).exit_code == 0
    assert len(asked) == 200
