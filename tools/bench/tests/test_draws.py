"""avg@k, pass@k and maj@k of every kind with a right answer, and the share of the uncertainty that sampling has."""

import json
import random

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_bench.grading.draws import kind_of, of_many, over_draws
from tools_bench.grading.metrics import check_metric, metric_of
from tools_shared.errors import ToolError

RIVERS = [
    {"question": "Which river runs through Vienna?", "choices": ["Danube", "Rhine", "Elbe"], "answer": 0},
    {"question": "Which river runs through Cairo?", "choices": ["Congo", "Nile", "Niger"], "answer": 1},
]


def test_all_samples_are_one_of_the_sizes():
    found = of_many("choice", ["A", "B", "A", None, "A", "B"], [True, False, True, False, True, False])
    assert [name for name in found if "pass" in name] == [f"choice_pass_at_{k}" for k in (2, 4, 6)]
    assert found["choice_pass_at_6"] == 1
    assert found["choice_pass_at_2"] == pytest.approx(1 - 3 / 15)
    assert found["choice_maj_at_k"] == 1


def test_free_text_is_voted_on_but_for_case():
    assert of_many("match", ["the Nile", "The  nile", "Congo"], [True, True, False])["match_maj_at_k"] == 1
    assert "instructions_maj_at_k" not in of_many("instructions", [None, None], [True, False])


def test_a_metrics_name_says_its_kind():
    assert kind_of("pass_at_4") == ("math", 4)
    assert kind_of("choice_maj_at_k") == ("choice", None)
    assert kind_of("instructions_maj_at_k") is None
    assert metric_of("match_pass_at_8").kind == "match"
    with pytest.raises(ToolError, match="no metric 'tutor_pass_at_4'"):
        check_metric("tutor_pass_at_4", "here")


def test_the_interval_over_samples_covers_the_mean_of_these_questions():
    """Questions of known difficulty, sampled again and again: in 95 of 100 times their mean is in the interval."""
    rng = random.Random(5)
    chances = [rng.random() for _ in range(30)]
    truth = sum(chances) / len(chances)
    held = 0
    for _ in range(400):
        low, high = over_draws({i: [float(rng.random() < p) for _ in range(8)] for i, p in enumerate(chances)})
        held += low <= truth <= high
    assert 0.91 <= held / 400 <= 0.98
    assert over_draws({0: [1.0], 1: [0.0]}) is None
    assert over_draws({0: [1.0, 1.0], 1: [0.0, 0.0]}) is None


def test_samples_of_multiple_choice(serve, tmp_path):
    def answer(path, body, number):
        asked = body["messages"][-1]["content"]
        river = "Danube" if "Vienna" in asked else ("Nile" if body["seed"] % 2 else "Congo")
        letter = next(line[0] for line in asked.splitlines() if line.endswith(f". {river}"))
        return 200, {"choices": [{"message": {"content": letter}, "finish_reason": "stop"}]}, {}

    data = tmp_path / "rivers.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in RIVERS))
    words = ["--data", data, "--model-name", "m", "--endpoint", f"{serve(answer).url}/v1", "--output-dir", tmp_path]
    words += ["--samples", 6, "--temperature", 0.7]
    done = CliRunner().invoke(main, ["run", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "m" / "benchmark_results.json").read_text())
    found = results["evaluations"]["multiple_choice"]["intervals"]
    assert {"choice_accuracy", "choice_pass_at_2", "choice_pass_at_4", "choice_pass_at_6", "choice_maj_at_k"} <= set(
        found
    )
    assert found["choice_accuracy"]["n"] == 2
    assert "avg@6" in done.output
    assert "at best" in done.output
