"""Test rows that cannot be used, gold answers that cannot be read, and data that comes without a suite."""

import json

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_bench.grading.free_text import is_match
from tools_shared.errors import ToolError
from tools_shared.sources.allowance import allowed_of


def bench(*words):
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


def write(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@pytest.fixture
def words(serve, tmp_path):
    """The words of a run on a server that says what a question ends with, in a box."""

    def answer(path, body, number):
        said = body["messages"][-1]["content"].split("Say ")[-1]
        return 200, {"choices": [{"message": {"content": f"\\boxed{{{said}}}"}, "finish_reason": "stop"}]}, {}

    asked = serve(answer)
    base = ["run", "--model-name", "m", "--endpoint", f"{asked.url}/v1", "--output-dir", tmp_path / "out"]
    return [*base, "--profile", "boxed"], asked


def results(tmp_path):
    return json.loads((tmp_path / "out" / "m" / "benchmark_results.json").read_text())


@pytest.mark.parametrize("key", ["answer", "Answer"])
def test_a_file_of_plain_answers_needs_no_suite(words, tmp_path, key):
    base, asked = words
    rows = [{"problem": "Say 7", key: "7"}, {"problem": "Say x^2+2x+1", key: "(x+1)^2"}, {"problem": "Say 5", key: 6}]
    done = bench(*base, "--datasets", write(tmp_path / "mine.jsonl", rows))
    assert done.exit_code == 0, done.output
    found = results(tmp_path)
    assert found["evaluations"]["math_accuracy"]["outcomes"] == {"correct": 2, "wrong": 1}
    assert list(found["evaluations"]) == ["math_accuracy"]
    assert len(asked) == 3


def test_the_keys_of_the_data_are_options(words, tmp_path):
    base, _ = words
    data = write(tmp_path / "mine.jsonl", [{"frage": "Say 7", "loesung": {"wert": 7}}])
    done = bench(*base, "--datasets", f"math={data}", "--question-key", "frage", "--answer-key", "loesung.wert")
    assert done.exit_code == 0, done.output
    assert results(tmp_path)["evaluations"]["math_accuracy"]["accuracy"] == 1


def test_data_given_as_a_suite_is_named(words, tmp_path):
    base, _ = words
    done = bench(*base, "--suite", write(tmp_path / "mine.jsonl", [{"question": "Say 7", "answer": "7"}]))
    assert done.exit_code == 1
    assert "pass --data " in done.output


MIXED = [{"question": "Say 7", "answer": "#### 7"}, *({"question": f"Say {n}", "answer": str(n)} for n in range(9))]


def test_lost_rows_stop_a_run_before_it_asks(words, tmp_path):
    base, asked = words
    data = write(tmp_path / "mixed.jsonl", MIXED)
    done = bench(*base, "--datasets", data)
    assert done.exit_code == 1
    assert "9 of 10 rows rejected; first: " in done.output
    assert "mixed.jsonl:2" in done.output
    assert not asked
    allowed = bench(*base, "--datasets", data, "--max-rejected", "90%")
    assert allowed.exit_code == 0, allowed.output
    assert "9 of 10 rows rejected; first: " in allowed.output
    assert bench("evaluate", "--model-path", "demo", "--eval-file", data, "--output-dir", tmp_path / "e").exit_code == 1


BROKEN = ["\\frac{1}{", "1e999999", "1" + "0" * 5000]


def test_an_unreadable_gold_answer_is_an_outcome_of_its_own(words, tmp_path):
    base, _ = words
    golds = ["8", "8", "9", BROKEN[0]]
    data = write(tmp_path / "g.jsonl", [{"question": f"{i}: Say 8", "answer": g} for i, g in enumerate(golds)])
    refused = bench(*base, "--datasets", data, "--answer-key", "answer")
    assert refused.exit_code == 1
    assert "1 of 4 gold answers cannot be read" in refused.output
    done = bench(*base, "--datasets", data, "--answer-key", "answer", "--max-rejected", 1)
    assert done.exit_code == 0, done.output
    found = results(tmp_path)["evaluations"]["math_accuracy"]
    assert found["outcomes"] == {"correct": 2, "wrong": 1, "gold_invalid": 1}
    assert {found["intervals"][name]["n"] for name in ("accuracy", "accuracy_lenient", "exact_match")} == {3}
    assert found["intervals"]["truncated_proportion"]["n"] == 4
    samples = bench(*base, "--datasets", data, "--answer-key", "answer", "--max-rejected", 1, "--samples", 2,
                    "--temperature", 1, "--overwrite")  # fmt: skip
    assert samples.exit_code == 0, samples.output
    assert results(tmp_path)["evaluations"]["math_accuracy"]["intervals"]["pass_at_2"]["n"] == 3


def test_evaluate_leaves_unreadable_gold_answers_out_of_n(tmp_path):
    rows = [{"question": f"What is {i} + 1?", "answer": g} for i, g in enumerate(["1", "2", *BROKEN])]
    data = write(tmp_path / "g.jsonl", rows)
    words = ["evaluate", "--model-path", "demo", "--eval-file", data, "--answer-key", "answer", "--output-dir"]
    refused = bench(*words, tmp_path / "a")
    assert refused.exit_code == 1
    assert "3 of 5 gold answers cannot be read" in refused.output
    assert bench(*words, tmp_path / "a", "--max-rejected", "60%").exit_code == 0
    metrics = json.loads((tmp_path / "a" / "run.json").read_text())["metrics"]
    assert (metrics["accuracy"]["n"], metrics["accuracy_lenient"]["n"], metrics["truncated_proportion"]["n"]) == (
        2,
        2,
        5,
    )
    assert bench(*words, tmp_path / "b", "--max-rejected", 3, "--seed", 1).exit_code == 0
    assert bench("compare", tmp_path / "a", tmp_path / "b", "--output-dir", tmp_path / "c").exit_code == 0
    assert json.loads((tmp_path / "c" / "comparison.json").read_text())["n"] == 2


def test_free_text_is_matched(words, tmp_path):
    base, _ = words
    rows = [
        {"question": "Say Paris", "answer": "Paris"},
        {"question": "Say the Eiffel tower", "answers": ["Tour Eiffel", "Eiffel Tower."]},
        {"question": "Say Rome", "answer": "Roma"},
    ]
    done = bench(*base, "--datasets", f"match={write(tmp_path / 'facts.jsonl', rows)}")
    assert done.exit_code == 0, done.output
    found = results(tmp_path)["evaluations"]["text_match"]
    assert (found["match"], found["match_exact"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert bench("rescore", tmp_path / "out" / "m").exit_code == 0


@pytest.mark.parametrize(
    ("given", "accepted", "same"),
    [
        ("The  Nile", "nile", True), ("Ｎile", "Nile", True), ("3.5", "35", False), ("-5", "5", False),
        ("C#", "C", False), ("well-known", "well known", True), ("don't", "dont", True), ("...", "?!", False),
        ("\u22125 °C", "-5 °C", True), ("Straße", "STRASSE", True),
    ],
)  # fmt: skip
def test_what_matches(given, accepted, same):
    assert is_match([given], [accepted]) is same


@pytest.mark.parametrize(("text", "n"), [("10%", 20), ("0.5", 100), ("3", 3), ("0", 0), ("100%", 200)])
def test_a_number_or_a_share_may_be_lost(text, n):
    assert allowed_of(text, 200) == n


@pytest.mark.parametrize("text", ["", "ten", "-1", "101%", "1.5", "nan"])
def test_other_allowances_are_refused(text):
    with pytest.raises(ToolError, match="--max-rejected"):
        allowed_of(text, 200)
