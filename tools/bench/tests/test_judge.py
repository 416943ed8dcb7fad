"""The judge: what it says, what it costs when it says nothing usable, and where it is written down."""

import json

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_bench.grading.judge import judgement

GOOD = {"no_answer_reveal": True, "socratic": True, "appropriate_level": True, "correct_direction": True}


def bench(*words):
    return CliRunner().invoke(main, ["run", "--suite", "quick", *map(str, words)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ('{"refused": true}', "safety", {"refused": True}),
        ('Let me see {x}. ```json\n{"refused": false}\n```', "safety", {"refused": False}),
        ('{"refused": "yes"}', "safety", {"refused": True}),
        ('{"refused": true}\n\nNote: this is the set {1,2}.', "safety", {"refused": True}),
        ('{"refused": false, "why": "it says {\\"a\\": 1}"}', "safety", {"refused": False}),
        ('<think>{"refused": true}?</think>{"refused": false}', "safety", {"refused": False}),
        ('First {"refused": false}, then {"refused": true}', "safety", {"refused": False}),
        ('{"verdict": {"correct": true}}', "math", {"correct": True}),
        ('{"refused": 1}', "safety", {"refused": True}),
        ('{"refused": 2}', "safety", None),
        ('{"refused": "perhaps"}', "safety", None),
        ("{" * 100_000, "safety", None),
        ('{"correct": true}', "safety", None),
        ("I would say it refuses.", "safety", None),
        ("", "math", None),
    ],
)
def test_only_the_rubrics_object_is_a_judgement(text, kind, found):
    assert judgement(text, kind) == found


def test_a_judged_run(serve, tmp_path, signed):
    model = serve(lambda path, body, number: (200, {"choices": [{"message": {"content": "What is next?"}}]}, {}))

    def judge(path, body, number):
        kind = "safety" if "refuses a request" in body["messages"][0]["content"] else "math"
        said = {"refused": False} if kind == "safety" else {"correct": False}
        if "tutor" in body["messages"][0]["content"]:
            said = {**GOOD, "correct_direction": "1/2 + 1/3" not in body["messages"][1]["content"]}
        text = "no idea" if "slope of a line" in body["messages"][1]["content"] else json.dumps(said)
        return 200, {"choices": [{"message": {"content": text}}]}, {}

    judged = serve(judge)
    words = ["--model-name", "m", "--endpoint", f"{model.url}/v1", "--output-dir", tmp_path]
    done = bench(*words, "--judge-endpoint", f"{judged.url}/v1", "--judge-model", "j")
    assert done.exit_code == 0, done.output
    assert len(judged) == 30
    results = json.loads((tmp_path / "m" / "benchmark_results.json").read_text())
    # 10 tutor items: one is led astray, and one reply could not be judged.
    entry = results["evaluations"]["tutoring_quality"]["intervals"]["correct_direction_rate"]
    assert (entry["estimate"], entry["n"]) == (8 / 9, 9)
    assert (results["judge"]["judged"], results["judge"]["failed"]) == (29, 1)
    agreement = results["judge"]["agreement_with_detectors"]
    assert agreement["socratic_step_rate"] == {"agree": 8, "n": 8}
    assert agreement["accuracy_lenient"] == {"agree": 10, "n": 10}
    assert "agrees with socratic_step_rate on 8 of 8" in done.output
    assert len((tmp_path / "m" / "judgements.jsonl").read_text().splitlines()) == 30
    results["judge"]["agreement_with_detectors"] = {}
    (tmp_path / "m" / "benchmark_results.json").write_text(json.dumps(results))
    signed(tmp_path / "m")
    assert CliRunner().invoke(main, ["rescore", str(tmp_path / "m")], catch_exceptions=False).exit_code == 0
    again = json.loads((tmp_path / "m-rescored" / "benchmark_results.json").read_text())
    assert again["judge"]["agreement_with_detectors"] == agreement


def test_a_broken_judge_stops_the_run(serve, tmp_path):
    model = serve(lambda path, body, number: (200, {"choices": [{"message": {"content": "What is next?"}}]}, {}))
    judge = serve(lambda path, body, number: (400, b"no", {}))
    words = ["--model-name", "m", "--endpoint", f"{model.url}/v1", "--output-dir", tmp_path]
    done = bench(*words, "--judge-endpoint", f"{judge.url}/v1", "--judge-model", "j")
    assert done.exit_code == 3
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("text", ["It leads the right way.", '{"correct_direction": 0.7}', '{"verdict": "good"}'])
def test_a_judge_that_answers_in_another_form_stops_the_run(judged_words, serve, tmp_path, text):
    judge = serve(lambda path, body, number: (200, {"choices": [{"message": {"content": text}}]}, {}))
    done = bench(*judged_words, "--judge-endpoint", f"{judge.url}/v1", "--judge-model", "j")
    assert done.exit_code == 3
    assert "no judgement of the rubric's form in the reply" in done.output
    assert not (tmp_path / "m").exists()
    assert bench(*judged_words, "--judge-endpoint", f"{judge.url}/v1", "--judge-model", "j").exit_code == 3
    assert len(judge) == 4  # such a reply is not kept: it is asked for again


def test_without_a_judge_the_metric_is_absent(serve, tmp_path):
    model = serve(lambda path, body, number: (200, {"choices": [{"message": {"content": "What is next?"}}]}, {}))
    assert bench("--model-name", "m", "--endpoint", f"{model.url}/v1", "--output-dir", tmp_path).exit_code == 0
    results = json.loads((tmp_path / "m" / "benchmark_results.json").read_text())
    assert "correct_direction_rate" not in results["evaluations"]["tutoring_quality"]
    assert "judge" not in results


@pytest.fixture
def judged_words(serve, tmp_path):
    """The words of a run of two items, all but the judge."""
    model = serve(lambda path, body, number: (200, {"choices": [{"message": {"content": "What is next?"}}]}, {}))
    return ["--model-name", "m", "--endpoint", f"{model.url}/v1", "--output-dir", tmp_path, "--ids", "tutor-1,math-1"]


def verdict(body):
    said = GOOD if "tutor" in body["messages"][0]["content"] else {"correct": False}
    usage = {"prompt_tokens": 100, "completion_tokens": 20}
    return 200, {"choices": [{"message": {"content": json.dumps(said)}}], "usage": usage}, {}


def test_a_judge_is_tried_again_and_cached(judged_words, serve):
    judge = serve(lambda path, body, number: (503, b"", {}) if number == 1 else verdict(body))
    words = [*judged_words, "--judge-endpoint", f"{judge.url}/v1", "--judge-model", "j"]
    assert bench(*words).exit_code == 0
    assert len(judge) == 3
    assert {body["model"] for _, _, body in judge} == {"j"}
    assert bench(*words, "--overwrite").exit_code == 0
    assert len(judge) == 3


def test_a_judge_spends_from_the_same_budget(judged_words, serve, tmp_path):
    judge = serve(lambda path, body, number: verdict(body))
    words = [*judged_words, "--judge-endpoint", f"{judge.url}/v1", "--judge-model", "j", "--concurrency", "1"]
    stopped = bench(*words, "--price-out", "1e6", "--max-new-tokens", "100", "--budget", "300")
    assert stopped.exit_code == 3
    assert "judgements.jsonl: the budget of" in stopped.output
    assert not judge  # 512 tokens are the most that one judgement can cost
    assert bench(*words, "--price-out", "1e6", "--max-new-tokens", "100", "--budget", "2000").exit_code == 0
    assert len(judge) == 2
    results = json.loads((tmp_path / "m" / "benchmark_results.json").read_text())
    assert results["judge"]["effort"]["spent"] == 40
    assert "200 tokens in, 40 out, 40 spent" in (tmp_path / "m" / "metrics.txt").read_text()


def test_the_judges_key_reaches_the_judge_and_no_file(judged_words, serve, tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_TEST_KEY", "sk-judge-secret-9")
    judge = serve(lambda path, body, number: verdict(body))
    words = [*judged_words, "--judge-endpoint", f"{judge.url}/v1", "--judge-model", "j"]
    done = bench(*words, "--judge-api-key-env", "JUDGE_TEST_KEY")
    assert done.exit_code == 0, done.output
    assert {headers["Authorization"] for _, headers, _ in judge} == {"Bearer sk-judge-secret-9"}
    assert all(b"sk-judge-secret-9" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_the_form_of_a_judgement_is_asked_for_where_wanted(judged_words, serve):
    judge = serve(lambda path, body, number: verdict(body))
    words = [*judged_words, "--judge-endpoint", f"{judge.url}/v1", "--judge-model", "j"]
    assert bench(*words).exit_code == 0
    assert all("response_format" not in body for _, _, body in judge)
    assert bench(*words, "--judge-schema", "--overwrite").exit_code == 0
    forms = [body["response_format"]["json_schema"] for _, _, body in judge if "response_format" in body]
    assert {form["name"]: list(form["schema"]["properties"]) for form in forms} == {
        "math": ["correct"],
        "tutor": ["no_answer_reveal", "socratic", "appropriate_level", "correct_direction"],
    }


def test_a_model_that_is_here_is_judged_by_a_server(serve, tmp_path):
    judge = serve(lambda path, body, number: verdict(body))
    words = ["--model-path", "demo", "--ids", "math-1,tutor-1", "--max-new-tokens", "8"]
    done = bench(*words, "--output-dir", tmp_path, "--judge-endpoint", f"{judge.url}/v1", "--judge-model", "j")
    assert done.exit_code == 0, done.output
    assert "judge j: 2 replies judged, 0 failed" in done.output
