"""`tools-bench run` against real servers on this machine, through the command line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools_bench.cli import main

QUICK = Path(__file__).parents[1] / "src" / "tools_bench" / "requests" / "suites"
GOLD = {
    row["question"]: row["answer"].rsplit("#### ")[-1]
    for row in map(json.loads, (QUICK / "quick_math.jsonl").read_text().splitlines())
}


def bench(*words):
    suite = [] if "--suite" in words else ["--suite", "quick"]
    return CliRunner().invoke(main, ["run", *suite, *map(str, words)], catch_exceptions=False)


def solver(wrong=()):
    """An OpenAI-compatible model that knows the quick suite's answers; the questions in `wrong` get another one."""

    def answer(path, body, number):
        asked = body["messages"][-1]["content"]
        gold = GOLD.get(asked)
        if gold is None:
            return reply(
                "I'm sorry, but I cannot help with that." if "bomb at home" in asked else "What could you try?"
            )
        given = "0" if asked in wrong else gold
        return reply(f"<start_working_out>I think.<end_working_out><SOLUTION>{given}</SOLUTION>")

    def reply(text):
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": 30, "completion_tokens": 12}}, {}

    return answer


def results_of(folder):
    return json.loads((folder / "benchmark_results.json").read_text())


def test_a_suite_on_an_openai_endpoint(serve, tmp_path):
    asked = serve(solver(wrong={next(iter(GOLD))}))
    done = bench(
        "--model-name", "qwen3:8b", "--endpoint", f"{asked.url}/v1", "--suite", "quick", "--output-dir", tmp_path
    )
    assert done.exit_code == 0, done.output
    results = results_of(tmp_path / "qwen3_8b")
    assert results["model_name"] == "qwen3:8b"
    assert results["endpoint"] == f"{asked.url}/v1"
    math = results["evaluations"]["math_accuracy"]
    assert math["accuracy"] == math["accuracy_lenient"] == math["exact_match"] == 0.9
    assert math["intervals"]["accuracy"]["low"] == pytest.approx(0.596, abs=0.001)  # Wilson, 9 of 10
    assert results["evaluations"]["tutoring_quality"]["socratic_step_rate"] == 1
    safety = results["evaluations"]["safety"]
    assert (safety["refusal_rate"], safety["false_refusal_rate"]) == (0.2, 0)
    assert len(asked) == 30
    assert {path for path, _, _ in asked} == {"/v1/chat/completions"}
    assert {body["model"] for _, _, body in asked} == {"qwen3:8b"}
    for name in ("run.json", "responses.jsonl", "items.jsonl", "metrics.txt", "README.md", "config.yaml"):
        assert (tmp_path / "qwen3_8b" / name).is_file()


def test_the_tutor_api(serve, tmp_path):
    def tutor(path, body, number):
        reply = {"response": f"The answer is {GOLD.get(body['question'], 'in your hands')}.", "refusal": False}
        return 200, {**reply, "refusal": body["question"].startswith("How can I make a bomb at home")}, {}

    asked = serve(tutor)
    done = bench("--model-name", "tutor", "--endpoint", f"{asked.url}/chat", "--output-dir", tmp_path)
    assert done.exit_code == 0, done.output
    results = results_of(tmp_path / "tutor")
    assert results["headline"]["math_accuracy"] == "accuracy_lenient"
    assert results["evaluations"]["math_accuracy"]["accuracy_lenient"] == 1
    assert results["evaluations"]["safety"]["refusal_rate"] == 0.2
    bodies = {body["question"]: body for _, _, body in asked}
    hint = bodies["What is 2/3 of 45?"]
    assert hint == {"question": "What is 2/3 of 45?", "mode": "hint", "grade": "5", "dont_reveal_answer": True}
    assert bodies["What is 20% of 150?"]["attempt"] == "I divided 150 by 20 and got 7.5."


def test_any_json_by_template(serve, tmp_path):
    asked = serve(lambda path, body, number: (200, {"out": [{"text": "so it is 7"}]}, {}))
    template = '{"inputs": "{system}\\n{prompt}", "keep": "{braces}"}'
    words = ["--model-name", "m", "--endpoint", f"{asked.url}/generate", "--output-dir", tmp_path]
    done = bench(*words, "--request-template", template, "--response-path", "out.0.text", "--ids", "math-5")
    assert done.exit_code == 0, done.output
    (path, _, body), *others = asked
    assert not others
    assert path == "/generate"
    assert body["inputs"].endswith("\nSolve 5x - 7 = 28 for x.")
    assert body["keep"] == "{braces}"
    assert results_of(tmp_path / "m")["evaluations"]["math_accuracy"]["accuracy_lenient"] == 1


def test_a_finished_run_is_not_asked_again(serve, tmp_path):
    asked = serve(solver())
    words = ["--model-name", "m", "--endpoint", f"{asked.url}/v1", "--output-dir", tmp_path]
    assert bench(*words).exit_code == 0
    assert bench(*words).exit_code == 0
    assert len(asked) == 30


def test_the_cache_belongs_to_a_model_name(serve, tmp_path):
    asked = serve(lambda path, body, number: (200, {"response": "42", "refusal": False}, {}))
    words = ["--endpoint", f"{asked.url}/chat", "--output-dir", tmp_path, "--limit", "3"]
    assert bench("--model-name", "a", *words).exit_code == 0
    assert bench("--model-name", "a", *words, "--overwrite").exit_code == 0
    assert len(asked) == 9
    assert bench("--model-name", "b", *words).exit_code == 0
    assert len(asked) == 18
    assert bench("--model-name", "b", *words, "--overwrite", "--no-cache").exit_code == 0
    assert len(asked) == 27


def test_a_torn_line_is_repaired_and_nothing_is_asked_twice(serve, tmp_path):
    def hanging_up_after_12(path, body, number):
        return (500, b"no", {}) if number > 12 else solver()(path, body, number)

    asked = serve(hanging_up_after_12)
    words = ["--model-name", "m", "--output-dir", tmp_path, "--no-cache", "--concurrency", "1", "--max-retries", "0"]
    stopped = bench(*words, "--endpoint", f"{asked.url}/v1")
    assert stopped.exit_code == 3
    assert "run the same command" in stopped.output
    journal = tmp_path / "m.partial" / "responses.jsonl"
    with journal.open("a") as file:
        file.write('{"task": "math", "id": "mat')
    well = serve(solver())
    done = bench(*words, "--endpoint", f"{well.url}/v1")
    assert done.exit_code == 0, done.output
    assert len(well) == 18
    unbroken = serve(solver())
    other = tmp_path / "other"
    assert bench("--model-name", "m", "--output-dir", other, "--endpoint", f"{unbroken.url}/v1").exit_code == 0
    assert results_of(tmp_path / "m")["evaluations"] == results_of(other / "m")["evaluations"]


def test_failures_count_as_wrong_and_apart(serve, tmp_path):
    first = next(iter(GOLD))

    def one_fails(path, body, number):
        if body["messages"][-1]["content"] == first:
            return 400, {"error": "too long"}, {}
        return solver()(path, body, number)

    asked = serve(one_fails)
    done = bench("--model-name", "m", "--endpoint", f"{asked.url}/v1", "--output-dir", tmp_path)
    assert done.exit_code == 0, done.output
    math = results_of(tmp_path / "m")["evaluations"]["math_accuracy"]
    assert math["accuracy"] == 0.9
    assert math["intervals"]["accuracy"]["answered"]["estimate"] == 1
    assert math["errors"] == {"error_http": 1}
    assert len(asked) == 30  # a 4xx is not tried again


def test_several_draws(serve, tmp_path):
    def every_other_right(path, body, number):
        text = "<SOLUTION>7</SOLUTION>" if body["seed"] % 2 else "<SOLUTION>8</SOLUTION>"
        return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}, {}

    asked = serve(every_other_right)
    words = ["--model-name", "m", "--endpoint", f"{asked.url}/v1", "--output-dir", tmp_path, "--ids", "math-5,math-1"]
    done = bench(*words, "--samples", "4", "--temperature", "1")
    assert done.exit_code == 0, done.output
    assert len({body["seed"] for _, _, body in asked}) == 8
    found = results_of(tmp_path / "m")["evaluations"]["math_accuracy"]
    assert found["total"] == 2
    assert {"pass_at_2", "pass_at_4", "maj_at_k"} <= found.keys()


def test_the_budget_stops_before_it_is_spent(serve, tmp_path):
    asked = serve(solver())
    words = ["--model-name", "m", "--endpoint", f"{asked.url}/v1", "--output-dir", tmp_path, "--concurrency", "1"]
    words += ["--price-out", "1e6", "--max-new-tokens", "100"]
    stopped = bench(*words, "--budget", "130")
    assert stopped.exit_code == 3
    assert "budget" in stopped.output
    assert len(asked) == 3  # 12 tokens each were spent, and 100 are the most that the next one can cost
    assert bench(*words, "--budget", "1000").exit_code == 0
    assert len(asked) == 30


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model-name", "m"], "give --endpoint or --model to make it"),
        (["--endpoint", "http://x/v1"], "--model-name is missing"),
        (["--endpoint", "http://x/v1", "--model-path", "demo"], "not both"),
        (["--model-name", "m", "--endpoint", "x/v1"], "is no address"),
        (
            ["--model-name", "m", "--endpoint", "http://x/v1", "--suite", "qick"],
            "no such suite (did you mean 'quick'?)",
        ),
        (["--model-name", "m", "--endpoint", "http://x/v1", "--datasets", "maths=x"], "did you mean 'math'?"),
        (["--model-name", "m", "--endpoint", "http://x/v1", "--ids", "math-99"], "no item 'math-99'"),
        (["--model-name", "m", "--endpoint", "http://x/v1", "--api-key-env", "NOT_SET_9"], "is not set"),
        (["--model-name", "m", "--endpoint", "http://x/v1", "--api", "template"], "needs --request-template"),
        (["--model-name", "m", "--endpoint", "http://x/v1", "--fail-on", "accuracy:x"], "write METRIC:POINTS"),
        (["--model-name", "m", "--endpoint", "http://x/v1", "--fail-on", "accurcy:1"], "did you mean 'accuracy'?"),
        (["--model-name", "m", "--endpoint", "http://x/v1", "--fail-on", "accuracy:nan"], "between 0 and 100"),
        (["--model-name", "m", "--endpoint", "http://x/v1", "--fail-on", "accuracy:1"], "give --compare BASELINE"),
        (["--model-name", "m", "--endpoint", "http://x/v1", "--budget", "5"], "give --price-in and --price-out"),
        (["--model-name", "m", "--endpoint", "http://x/v1", "--judge-schema"], "give --judge-endpoint too"),
        (["--model-name", "m", "--endpoint", "http://x/v1", "--ids", " , "], "names no item"),
        (
            ["--model-name", "m", "--endpoint", "http://x/v1", "--response-path", "x"],
            "are for --api template",
        ),
        (["--model-name", "m", "--endpoint", "http://x/v1", "--compare", "no.json"], "no.json: no such file"),
    ],
)
def test_wrong_words_get_one_line(tmp_path, words, message):
    done = bench(*words, "--output-dir", tmp_path)
    assert done.exit_code == 1
    assert message in done.output
    assert done.output.count("\n") == 1


@pytest.mark.parametrize("content", ["{broken", "[]", '{"evaluations": 3}'])
def test_a_baseline_that_is_none_is_found_before_anything_is_asked(serve, tmp_path, content):
    asked = serve(solver())
    (tmp_path / "base.json").write_text(content)
    words = ["--model-name", "m", "--endpoint", f"{asked.url}/v1", "--output-dir", tmp_path]
    for suite in ([], ["--suite", "quick"]):
        done = bench(*words, *suite, "--compare", tmp_path / "base.json")
        assert done.exit_code == 1
        assert done.output.startswith(f"Error: {tmp_path / 'base.json'}: ")
    assert not asked


def test_a_suites_profile_is_what_models_are_asked_in(serve, tmp_path):
    asked = serve(lambda path, body, number: (200, {"choices": [{"message": {"content": "so \\boxed{2}"}}]}, {}))
    (tmp_path / "sums.jsonl").write_text('{"question": "1+1?", "answer": "#### 2"}\n')
    suite = tmp_path / "sums.yaml"
    suite.write_text("name: sums\nprofile: boxed\ntasks:\n  - {name: sums, kind: math, source: sums.jsonl}\n")
    words = ["--model-name", "m", "--endpoint", f"{asked.url}/v1", "--output-dir", tmp_path, "--suite", suite]
    assert bench(*words).exit_code == 0
    assert "boxed" in asked[0][2]["messages"][0]["content"]
    assert results_of(tmp_path / "m")["evaluations"]["math_accuracy"]["accuracy"] == 1


def test_the_clean_subset_by_the_matches_of_dedup(serve, tmp_path, signed):
    first, second, *_ = GOLD
    asked = serve(solver(wrong={first}))
    matches = tmp_path / "train.matches.jsonl"
    rows = [
        {"nearest_test_goal": second.upper(), "removed_by": "exact"},
        {"nearest_test_goal": first, "removed_by": None},
    ]
    matches.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--model-name", "m", "--endpoint", f"{asked.url}/v1", "--output-dir", tmp_path]
    done = bench(*words, "--train-data", matches)
    assert done.exit_code == 0, done.output
    results = results_of(tmp_path / "m")
    assert results["evaluations"]["math_accuracy"]["accuracy"] == 0.9
    assert results["clean_subset"]["contaminated_items"] == 1
    assert results["clean_subset"]["evaluations"]["math_accuracy"]["accuracy"] == pytest.approx(8 / 9)
    stored = tmp_path / "m" / "benchmark_results.json"
    stored.write_text(stored.read_text().replace("0.8888888888888888", "0.5"))
    signed(tmp_path / "m")
    assert CliRunner().invoke(main, ["rescore", str(tmp_path / "m")], catch_exceptions=False).exit_code == 0
    assert results_of(tmp_path / "m-rescored")["clean_subset"] == results["clean_subset"]
    other = bench(*words[:1], "n", *words[2:], "--train-data", QUICK / "quick_math.jsonl")
    assert other.exit_code == 0, other.output  # the suite's own rows contain all of it
    assert results_of(tmp_path / "n")["clean_subset"]["contaminated_items"] == 10
