"""Traces accepted by a reward: a judge, tests of a program, a function; rows need no gold answer."""

import json

import pytest
import yaml
from click.testing import CliRunner

from tools_shared.errors import ToolError
from tools_shared.prompts import PROFILES
from tools_traces.attempts.grading import load_accepted
from tools_traces.attempts.workers import absolute
from tools_traces.cli import main
from tools_traces.config import TracesConfig

ROWS = [{"goal": "Brew tea", "steps": ["Boil"]}, {"goal": "Sew a button", "steps": ["Thread"]}]


def sample(tmp_path, rows, *more):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--data", str(data), "--max-attempts", "3", "--max-new-tokens", "8", "--temperature", "1"]
    options += ["--output-dir", str(tmp_path / "run"), "--emit", "graded"]
    done = CliRunner().invoke(main, [*options, *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    written = [tmp_path / "run" / name for name in ("traces.jsonl", "traces.graded.jsonl")]
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in written]


def test_a_judge_accepts_replies_to_rows_without_answers(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def answer(path, body, number):
        shown = json.loads(body["messages"][-1]["content"])
        score = 9 if shown["goal"] == "Brew tea" else 2
        message = {"message": {"content": json.dumps({"score": score})}, "finish_reason": "stop"}
        return 200, {"choices": [message], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}, {}

    server = serve(answer)
    rubric = tmp_path / "r.yaml"
    rubric.write_text(
        yaml.safe_dump({"score": [0, 10], "show": ["goal"], "judge": {"endpoint": server.url, "cache": False}})
    )

    rows, graded = sample(tmp_path, ROWS, "--accept", f"judge:{rubric}>=0.7")

    assert [(row["prompt"], row["score"]) for row in rows] == [("Brew tea", 0.9)]
    assert rows[0]["response"]
    assert [g["verdict"] for g in graded] == ["accepted", "declined", "declined", "declined"]
    assert json.loads((tmp_path / "run" / "judge-r.json").read_text())["n_asked"] == len(server)


def test_a_function_of_the_rows_columns(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "def likes(prompts, completions, level, **columns):\n    return [None if n is None else n for n in level]\n"
    )
    rows = [{"question": f"{n} + 1", "level": level} for n, level in enumerate([1, 3, 2])]
    rows.append({"question": "without"})

    kept, _ = sample(tmp_path, rows, "--accept", f"{path}:likes>=2")

    assert [row["prompt"] for row in kept] == ["1 + 1", "2 + 1"]
    rejected = (tmp_path / "run" / "rejected.jsonl").read_text()
    assert "no column \\\"level\\\", which the reward 'likes' wants" in rejected


def test_a_rubric_that_compares_replies_accepts_none_alone(tmp_path):
    rubric = tmp_path / "r.yaml"
    rubric.write_text(yaml.safe_dump({"pairwise": True, "judge": {"model": "demo"}}))
    with pytest.raises(ToolError, match="compares the replies of a group.*score or criteria"):
        load_accepted(TracesConfig(data="rows.jsonl", accept=f"judge:{rubric}>=0.5"), PROFILES["boxed"])


@pytest.mark.parametrize("given", ["verified", "verified>=much", ">=1", "verified>1"])
def test_forms_of_accept_that_say_nothing(given):
    with pytest.raises(ToolError, match="--accept .*such as judge:rubric.yaml>=0.7"):
        TracesConfig(accept=given)


@pytest.mark.parametrize(
    ("reward", "whole"),
    [
        ("scorer:runs/probe?at=last:0.5", "scorer:{}/runs/probe?at=last:0.5"),
        ("scorer:model:my-prm?at=min", "scorer:model:{}/my-prm?at=min"),
        ("model:my-prm:2", "model:{}/my-prm:2"),
        ("model:smollm2", "model:{}/models/smollm2"),
        ("judge:odd:name.yaml", "judge:{}/odd:name.yaml"),
        ("rewards.py:near", "{}/rewards.py:near"),
        ("scorer:model:Qwen/Qwen3-0.6B", "scorer:model:Qwen/Qwen3-0.6B"),
        ("model:demo", "model:demo"),
        ("verified:0.5", "verified:0.5"),
    ],
)
def test_workers_in_another_folder_are_given_whole_paths(tmp_path, monkeypatch, reward, whole):
    for folder in ("runs/probe", "my-prm", "models/smollm2"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "odd:name.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert absolute(reward) == whole.format(tmp_path)
