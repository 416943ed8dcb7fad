"""Tasks that bring their own rubric: scores, failures, costs, and rows that lack what the rubric wants."""

import json

import pytest
import yaml
from click.testing import CliRunner

from tools_bench.cli import main
from tools_bench.requests.suite import load_suite
from tools_shared.errors import ToolError

ROWS = [
    {"id": "tea", "goal": "Brew tea", "steps": ["Boil"]},
    {"id": "bean", "goal": "Plant a bean", "steps": ["Dig"]},
    {"id": "bare", "goal": "Sew"},
    {"id": "cake", "goal": "Bake a cake", "steps": ["Mix"]},
]


def reply(text):
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}, {}


def suite(tmp_path, judge, **task):
    rubric = {"score": [0, 10], "show": ["steps"], "judge": {"price_in": 10, "max_failed": 0.5, **judge}}
    (tmp_path / "rubric.yaml").write_text(yaml.safe_dump(rubric))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    given = {"name": "how-to", "kind": "judged", "source": "rows.jsonl", "rubric": "rubric.yaml", **task}
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "tasks": [{k: v for k, v in given.items() if v}]}))
    return str(path)


def test_replies_are_scored_by_the_suites_rubric(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def judge(path, body, number):
        shown = json.loads(body["messages"][-1]["content"])
        assert shown["steps"]
        score = {"Brew tea": 10, "Plant a bean": 5}.get(shown["prompt"])
        return reply("hm" if score is None else json.dumps({"score": score}))

    asked = serve(lambda path, body, number: reply(f"About {body['messages'][-1]['content']}."))
    judging = serve(judge)
    given = suite(tmp_path, {"endpoint": judging.url, "model": "j"})
    options = ["run", "--suite", given, "--endpoint", asked.url, "--model-name", "m", "--output-dir", str(tmp_path)]
    options += ["--max-rejected", "50%"]

    done = CliRunner().invoke(main, options, catch_exceptions=False)

    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "m" / "benchmark_results.json").read_text())
    score = results["evaluations"]["judged"]["intervals"]["judged_score"]
    assert (score["estimate"], score["n"]) == (0.75, 2)
    assert results["judge"]["judged"] == 2
    assert results["judge"]["failed"] == 1
    assert results["judge"]["effort"]["tokens_in"] == 100 * len(judging) == 300
    assert results["judge"]["effort"]["spent"] == pytest.approx(0.003)
    assert "no column \"steps\", which the rubric 'rubric' wants" in json.dumps(
        (tmp_path / "m" / "rejected.jsonl").read_text()
    ).replace("\\", "")
    rescored = CliRunner().invoke(main, ["rescore", str(tmp_path / "m")], catch_exceptions=False)
    assert rescored.exit_code == 0, rescored.output
    assert "no metric has changed" in rescored.output


def test_a_rubric_and_its_kind_belong_together(tmp_path):
    for task, message in (
        ({"rubric": None}, "kind judged and a rubric"),
        ({"kind": "math"}, "kind judged and a rubric"),
        ({"rubric": "none.yaml"}, "no such rubric"),
    ):
        with pytest.raises(ToolError, match=message):
            load_suite(suite(tmp_path, {"model": "j"}, **task))
