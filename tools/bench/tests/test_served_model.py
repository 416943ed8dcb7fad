"""One model here and behind a server: `evaluate`, `run` and traces sample the same from it, greedily, text for text."""

import csv
import json
import threading

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_shared.engines import SamplingParams
from tools_shared.engines.local.engine import TransformersEngine
from tools_shared.models import load, resolve
from tools_shared.prompts import Profile, render_prompt
from tools_shared.records import Message

FILLED = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.0, "repetition_penalty": 1.1, "max_tokens": 16}
"""What a server puts where a request says nothing, as vLLM does from a generation config (Qwen2.5-Instruct's)."""
PROBLEMS = [
    {"question": "Tom has 3 boxes of 4 pens and gives 5 pens away. How many are left?", "answer": "#### 7"},
    {"question": "What is 12 + 30?", "answer": "#### 42"},
    {"question": "A train goes 60 km an hour for 3 hours. How far is that?", "answer": "#### 180"},
]


class Served:
    """A model behind OpenAI's chat API, sampled from with the core's own engine, as a request says or `FILLED` does."""

    def __init__(self, spec: str) -> None:
        loaded = load(resolve(spec), "fp32", "cpu")
        self.engine, self.lock = TransformersEngine(loaded.model, loaded.tokenizer), threading.Lock()

    def answer(self, path, body, number):
        asked = {name: body.get(name, value) for name, value in FILLED.items()}
        if asked.pop("repetition_penalty") != 1.0:
            return 400, {"error": {"message": "this engine has no repetition penalty"}}, {}
        params = SamplingParams(
            asked["temperature"], asked["max_tokens"], 1, asked["top_p"], max(0, asked["top_k"]), asked["min_p"]
        )
        profile = Profile("served", "", ("<", ">"), template_options=body.get("chat_template_kwargs", {}))
        messages = [Message(turn["role"], turn["content"]) for turn in body["messages"]]
        prompt = render_prompt(self.engine.tokenizer, profile, messages)
        with self.lock:
            ((found,),) = self.engine.generate([prompt], params)
        usage = {"prompt_tokens": len(prompt.token_ids), "completion_tokens": len(found.token_ids)}
        choice = {"message": {"content": found.text}, "finish_reason": found.finish_reason}
        return 200, {"choices": [choice], "usage": usage}, {}


@pytest.fixture(scope="module")
def served():
    return Served("demo")


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    return path


def bench(*words):
    done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def rows(folder):
    with (folder / "rows.csv").open(newline="") as file:
        return [{**row, "id": None} for row in csv.DictReader(file)]


def test_evaluate_gives_the_same_rows_here_and_from_a_server(serve, served, data, tmp_path):
    asked = serve(served.answer)
    words = ["evaluate", "--eval-file", data, "--eval-max-new-tokens", 48, "--output-file", "rows.csv"]
    bench(*words, "--output-dir", tmp_path / "here")
    server = ["--engine", "http", "--endpoint", asked.url, "--model-name", "demo"]
    bench(*words, *server, "--output-dir", tmp_path / "there")
    assert rows(tmp_path / "here") == rows(tmp_path / "there")
    here, there = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("here", "there"))
    assert here["metrics"].pop("sampled_in") == "fp32"  # a server does not say what it computes in
    assert here["metrics"] == there["metrics"]
    assert there["metrics"]["mean_tokens"] > 0
    assert set(FILLED) <= set(asked[0][2])
    assert not list((tmp_path / "there").rglob("*.sqlite*"))


def test_run_gives_the_same_replies_here_and_from_a_server(serve, served, data, tmp_path):
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"name: s\ntasks: [{{name: p, kind: math, source: {data}}}]\n")
    asked = serve(served.answer)
    words = ["run", "--suite", suite, "--max-new-tokens", 48, "--output-dir", tmp_path]
    bench(*words, "--model-path", "demo", "--model-name", "here")
    bench(*words, "--endpoint", asked.url, "--model-name", "there")

    def told(name):
        lines = (tmp_path / name / "responses.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        return {r["id"]: (r["text"], r["finish_reason"], r["tokens_in"], r["tokens_out"]) for r in found}

    assert told("here") == told("there")
    assert len(told("here")) == len(PROBLEMS)


def test_an_evaluation_that_a_server_ended_goes_on_and_pays_nothing_twice(serve, served, data, tmp_path):
    down = [True]

    def answer(path, body, number):
        return (403, b"closed", {}) if down and number == 8 else served.answer(path, body, number)

    asked = serve(answer)
    words = ["evaluate", "--eval-file", data, "--eval-max-new-tokens", 16, "--output-dir", tmp_path / "e"]
    words += ["--engine", "http", "--endpoint", asked.url, "--samples", 2]
    done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 3, done.output
    down.clear()
    bench(*words)
    assert sum(body["temperature"] == 0 for _, _, body in asked) == len(PROBLEMS)
    assert json.loads((tmp_path / "e" / "run.json").read_text())["metrics"]["pass@2"]["n"] == len(PROBLEMS)


def test_a_served_model_is_told_from_one_that_is_here(serve, tmp_path):
    done = CliRunner().invoke(main, ["evaluate", "--engine", "http", "--output-dir", str(tmp_path / "e")])
    assert (done.exit_code, "--engine http needs --endpoint" in done.output) == (1, True)
    done = CliRunner().invoke(main, ["evaluate", "--endpoint", "http://x/v1", "--output-dir", str(tmp_path / "e")])
    assert (done.exit_code, "with --engine http only" in done.output) == (1, True)
