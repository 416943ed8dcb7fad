"""GRPO against a judge that is a server: what it cost, what it failed at, and going on after the budget was raised."""

import json

import yaml
from click.testing import CliRunner

from tools_grpo.cli import main

ROWS = [
    {"goal": "Brew tea", "steps": ["Boil water", "Steep the leaves"]},
    {"goal": "Sew on a button", "steps": ["Thread the needle", "Sew"]},
    {"goal": "Plant a bean", "steps": ["Dig", "Water"]},
]


def run(tmp_path, *more):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    options = ["--train-path", str(data), "--reward", f"judge:{tmp_path}/r.yaml", "--no-eval", "--max-steps", "2"]
    options += ["--prompts-per-step", "2", "--num-generations", "2", "--batch-size", "4", "--save-steps", "1"]
    options += ["--max-completion-length", "6", "--output-dir", str(tmp_path / "run")]
    return CliRunner().invoke(main, [*options, *more], catch_exceptions=False)


def rubric(tmp_path, url, **judge):
    options = {"endpoint": url, "model": "j", "retries": 0, "price_in": 10, "price_out": 100, **judge}
    given = {"name": "how-to", "score": [0, 10], "show": ["goal", "steps"], "judge": options}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(given))


def test_the_cost_of_each_step_is_what_the_server_counted(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    counted = []

    def answer(path, body, number):
        tokens = (40 + number, 5)
        counted.append(tokens)
        score = len(json.loads(body["messages"][-1]["content"])["reply"]) % 10
        usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
        bad = number % 7 == 0
        content = "well" if bad else json.dumps({"score": score})
        return 200, {"choices": [{"message": {"content": content}, "finish_reason": "stop"}], "usage": usage}, {}

    server = serve(answer)
    rubric(tmp_path, server.url, max_failed=0.5)

    done = run(tmp_path)

    assert done.exit_code == 0, done.output
    spent = json.loads((tmp_path / "run" / "judge-how-to.json").read_text())
    money = sum(10 * i + 100 * o for i, o in counted) / 1e6
    assert spent["n_asked"] == len(counted) == len(server)
    assert (spent["tokens_in"], spent["tokens_out"]) == tuple(map(sum, zip(*counted, strict=True)))
    assert abs(spent["money"] - money) < 1e-12
    assert spent["n_failed"] == len(counted) // 7
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "judge/n_asked" in line]
    assert len(steps) == 2
    assert all(line["judge/money"] > 0 for line in steps)
    assert "another score asked again" in done.output
    assert "judging before the first step: n_asked " in done.output
    assert " cost " in done.output
    shown = json.loads(server[0][2]["messages"][-1]["content"])
    assert shown["steps"] in [row["steps"] for row in ROWS]


def test_a_run_that_met_its_budget_is_resumed_with_a_larger_one(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def answer(path, body, number):
        score = len(json.loads(body["messages"][-1]["content"])["reply"]) % 10
        usage = {"prompt_tokens": 1000, "completion_tokens": 10}
        message = {"message": {"content": json.dumps({"score": score})}, "finish_reason": "stop"}
        return 200, {"choices": [message], "usage": usage}, {}

    server = serve(answer)
    rubric(tmp_path, server.url, budget=0.3, concurrency=1)

    stopped = run(tmp_path)
    n_before = len(server)
    rubric(tmp_path, server.url, budget=30)
    resumed = run(tmp_path)

    assert stopped.exit_code == 3, stopped.output
    assert "raise budget in the rubric and run the same command to resume" in stopped.output
    assert n_before * 0.011 <= 0.3
    assert resumed.exit_code == 0, resumed.output
    spent = json.loads((tmp_path / "run" / "judge-how-to.json").read_text())
    assert spent["n_asked"] == len(server) > n_before
