"""What the options of `tools-bench run` and `compare` promise, one test each, against real servers on this machine."""

import csv
import json
import time

import pytest
from click.testing import CliRunner

from tools_bench.cli import main

RIGHT = {"message": {"content": "<SOLUTION>25</SOLUTION>"}, "finish_reason": "stop"}

QUICK = ("--suite", "quick")


def bench(*words):
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


def reply(text):
    return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}, {}


def results(folder):
    return json.loads((folder / "benchmark_results.json").read_text())


@pytest.fixture
def base(serve, tmp_path):
    """The words of a run on a server that says 25 to everything; and that server."""
    asked = serve(lambda path, body, number: reply("<SOLUTION>25</SOLUTION>"))
    return ["run", "--model-name", "m", "--endpoint", f"{asked.url}/v1", "--output-dir", tmp_path, *QUICK], asked


def test_a_dry_run_asks_nothing_and_says_the_most_it_can_cost(base, tmp_path):
    words, asked = base
    done = bench(*words, "--dry-run", "--price-out", "10", "--max-new-tokens", "1000", "--samples", "2")
    assert done.exit_code == 0, done.output
    assert not asked
    assert list(tmp_path.iterdir()) == []
    assert "60 requests into" in done.output
    assert "at most 0.6 in cost" in done.output  # 30 items, 2 samples, 1,000 tokens, 10 for a million


def test_batch_size_is_how_many_are_under_way(serve, under_way, tmp_path):
    requests = under_way(5)

    def count(path, body, number):
        requests.stay()
        return reply("25")

    words = ["run", "--model-name", "m", "--endpoint", f"{serve(count).url}/v1", "--output-dir", tmp_path, *QUICK]
    assert bench(*words, "--batch-size", "5").exit_code == 0
    assert requests.most == 5


def test_replies_that_were_paid_for_are_within_any_budget(base):
    words, asked = base
    priced = [*words, "--price-out", "10", "--max-new-tokens", "1000"]
    assert bench(*priced).exit_code == 0
    n_paid = len(asked)
    assert bench(*priced, "--overwrite", "--budget", "0.000001").exit_code == 0
    assert len(asked) == n_paid
    assert bench(*priced, "--overwrite", "--budget", "0.000001", "--no-cache").exit_code == 3
    assert len(asked) == n_paid


def test_the_rate_is_limited(base):
    words, asked = base
    began = time.monotonic()
    assert bench(*words, "--limit", "2", "--rate-limit", "5").exit_code == 0
    assert len(asked) == 6
    assert time.monotonic() - began >= 5 / 5


def test_the_card_holds_what_an_experiment_folder_needs(base, tmp_path):
    words, _ = base
    assert bench(*words, "--temperature", "0.3").exit_code == 0
    card = (tmp_path / "m" / "README.md").read_text()
    finished = json.loads((tmp_path / "m" / "run.json").read_text())["finished"]
    for words in (finished, "| model_name | m |", "| temperature | 0.3 |", "quick_math.jsonl", "| accuracy | 10.0 % ["):
        assert words in card
    assert card.endswith("## Key findings\n\n- (to be filled in)\n")


def test_results_by_topic_and_grade_and_every_draw_in_the_csv(base, tmp_path):
    words, _ = base
    data = tmp_path / "sums.jsonl"
    rows = [
        {"question": f"{n}?", "answer": f"#### {25 if n < 5 else 1}", "grade": n % 2, "topic_tags": ["sums", f"t{n}"]}
        for n in range(10)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = tmp_path / "sums.yaml"
    suite.write_text("name: sums\ntasks:\n  - {name: sums, kind: math, source: nowhere.jsonl}\n")
    words = [word for word in words if word not in QUICK]
    assert bench(*words, "--suite", suite, "--datasets", f"math={data}").exit_code == 0
    groups = results(tmp_path / "m")["evaluations"]["math_accuracy"]["groups"]
    assert groups["grade"]["0"]["estimate"] == pytest.approx(3 / 5)
    assert groups["grade"]["1"]["estimate"] == pytest.approx(2 / 5)
    assert list(groups["topic_tags"]) == ["sums"]  # a label with fewer than five items says nothing
    (path,) = (tmp_path / "m" / "debug").glob("*.csv")
    table = list(csv.DictReader(path.open(newline="")))
    assert len(table) == 10
    assert [row["outcome"] for row in table].count("correct") == 5
    assert {row["answer"] for row in table} == {"25"}


def test_pass_and_majority_at_k(serve, tmp_path):
    said = {"math-1": ["25", "25", "7", "8"], "math-2": ["1", "1", "17", "2"]}

    def answer(path, body, number):
        name = "math-1" if "baker" in body["messages"][-1]["content"] else "math-2"
        return reply(f"<SOLUTION>{said[name].pop()}</SOLUTION>")

    words = ["run", "--model-name", "m", "--endpoint", f"{serve(answer).url}/v1", "--output-dir", tmp_path, *QUICK]
    assert bench(*words, "--ids", "math-1,math-2", "--samples", "4", "--temperature", "1").exit_code == 0
    found = results(tmp_path / "m")["evaluations"]["math_accuracy"]
    assert found["accuracy"] == pytest.approx((2 / 4 + 1 / 4) / 2)
    # Unbiased: 1 - C(n - c, k) / C(n, k) with n = 4, c = 2 and 1.
    assert found["pass_at_2"] == pytest.approx(((1 - 1 / 6) + (1 - 3 / 6)) / 2)
    assert found["pass_at_4"] == 1
    assert found["maj_at_k"] == 0.5


def test_alpha_and_margin_decide_the_verdict(serve, tmp_path):
    suite = tmp_path / "sums.yaml"
    suite.write_text("name: sums\ntasks:\n  - {name: sums, kind: math, source: sums.jsonl, metrics: [accuracy]}\n")
    rows = [{"question": f"What is {i} + {i}?", "answer": f"#### {2 * i}"} for i in range(100)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, n_right in (("a", 90), ("b", 82)):

        def answer(path, body, number, n_right=n_right):
            i = int(body["messages"][-1]["content"].split()[2])
            return reply(f"<SOLUTION>{2 * i if i < n_right else 'none'}</SOLUTION>")

        words = ["--endpoint", f"{serve(answer).url}/v1", "--output-dir", tmp_path, "--suite", suite]
        assert bench("run", "--model-name", name, *words).exit_code == 0

    def verdict(*words):
        done = bench("compare", tmp_path / "a", tmp_path / "b", "--output-dir", tmp_path / "c", "--overwrite", *words)
        return done.exit_code, json.loads((tmp_path / "c" / "comparison.json").read_text())["metrics"]["accuracy"]

    gate = ("--fail-on", "accuracy:5")
    assert verdict(*gate)[0] == 4  # p = 0.008
    code, strict = verdict(*gate, "--alpha", "0.001")
    assert (code, strict["verdict"]) == (0, "inconclusive")
    assert verdict("--alpha", "0.001", "--margin", "40")[1]["verdict"] == "equivalent"


def test_another_grader_is_said_and_both_are_graded_again(serve, tmp_path, signed):
    for name in ("then", "now"):
        asked = serve(lambda path, body, number: reply("<SOLUTION>25</SOLUTION>"))
        words = ["--model-name", name, "--endpoint", f"{asked.url}/v1", "--output-dir", tmp_path, *QUICK]
        assert bench("run", *words).exit_code == 0
    path = tmp_path / "then" / "benchmark_results.json"
    old = json.loads(path.read_text())
    old["grader"] = "0" * 64
    old["evaluations"]["math_accuracy"]["accuracy"] = 0.9
    path.write_text(json.dumps(old))
    signed(tmp_path / "then")
    done = bench("compare", tmp_path / "then", tmp_path / "now", "--output-dir", tmp_path / "c")
    assert done.exit_code == 0, done.output
    assert "were graded by different versions; both were graded again" in done.output
    assert json.loads((tmp_path / "c" / "comparison.json").read_text())["metrics"]["accuracy"]["baseline"] == 0.1


def test_a_cut_off_run_goes_on_or_starts_anew(serve, tmp_path):
    answers = serve(lambda path, body, number: reply("25") if number <= 12 else (401, b"", {}))
    words = ["run", "--model-name", "m", "--output-dir", tmp_path, "--no-cache", "--concurrency", "1", *QUICK]
    assert bench(*words, "--endpoint", f"{answers.url}/v1").exit_code == 3
    other = serve(lambda path, body, number: reply("25"))
    assert bench(*words, "--endpoint", f"{other.url}/v1", "--resume", "never").exit_code == 0
    assert len(other) == 30


def test_sampling_options_reach_the_server(base):
    words, asked = base
    more = ["--temperature", "0.5", "--top-p", "0.9", "--max-tokens", "77", "--seed", "5", "--ids", "math-1"]
    assert bench(*words, *more).exit_code == 0
    body = asked[0][2]
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.5, 0.9, 77)
    assert isinstance(body["seed"], int)
