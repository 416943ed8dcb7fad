"""All five steps on text, with the demo model as the reader; and what is read of text again is what was trained on."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools_scorer.cli import main
from tools_shared.errors import ToolError
from tools_shared.scorers.text import TextResponse, open_text_scorer
from tools_shared.sources import read_problems


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """By the command lines of STEP's scripts, whose --train_dir is the folder above --output_path's prefix."""
    folder = tmp_path_factory.mktemp("text")
    with (folder / "t.jsonl").open("w") as file:
        for i, problem in enumerate(read_problems("demo://problems?size=24").items):
            for k in range(4):
                right = (i + k) % 3 > 0
                answer = problem.answer if right else str(1000 + k)
                steps = problem.reasoning.replace("\n", "\n\n") if right else "I do not know.\n\nI guess."
                response = f"<start_working_out>{steps}<end_working_out><SOLUTION>{answer}</SOLUTION>"
                row = {"question": problem.question, "response": response, "ground_truth": problem.answer}
                file.write(json.dumps(row | {"extracted_answer": answer}) + "\n")
    run("preprocess", "--input_file", folder / "t.jsonl", "--output_file", folder / "data", "--tokenizer_path", "demo")
    data = folder / "data" / "t.jsonl"
    run(
        "extract",
        "--model_name",
        "demo",
        "--input_path",
        data,
        "--output_path",
        folder / "states" / "prefix",
        "--start_idx",
        "0",
        "--end_idx",
        "1000",
        "--dtype",
        "fp32",
    )
    run(
        *("train", "--train_dir", folder / "states", "--step_sample_ratio", "1.0", "--config_name", "demo"),
        *("--output_dir", folder / "scorer"),
    )
    return folder


def run(*words):
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_evaluation_makes_a_report(trained):
    run(
        "evaluate",
        "--scorer",
        trained / "scorer",
        "--data",
        trained / "states" / "prefix",
        "--output-dir",
        trained / "eval",
    )
    results = json.loads((trained / "eval" / "results.json").read_text())
    # Right traces reason and wrong ones guess: this much a reader of any size tells apart.
    assert results["within"]["estimate"] > 0.9
    assert "<svg" in (trained / "eval" / "report.html").read_text()


def test_text_scores_as_its_hidden_states_do(trained):
    for name, given in (("states", trained / "states" / "prefix"), ("text", trained / "t.jsonl")):
        run("score", "--scorer", trained / "scorer", "--input", given, "--output-file", trained / f"{name}.jsonl")
    states, text = (
        [json.loads(line) for line in (trained / f"{name}.jsonl").read_text().splitlines()]
        for name in ("states", "text")
    )
    assert len(states) == len(text) == 96
    for a, b in zip(states, text, strict=True):
        assert a["ends"] == b["ends"]
        assert b["steps"] == pytest.approx(a["steps"], abs=0.02)


def test_text_is_scored_over_http(trained):
    pytest.importorskip("starlette")
    from starlette.testclient import TestClient

    from tools_scorer.config.scorer import ServeConfig
    from tools_scorer.serve import application

    client = TestClient(application(ServeConfig(scorer=str(trained / "scorer"), max_tokens=200)))
    row = json.loads((trained / "t.jsonl").read_text().splitlines()[1])
    trace = {"question": row["question"], "response": row["response"]}
    told = client.post("/score", json={"traces": [trace, {"question": "1+1?", "response": " "}]}).json()["scores"]
    assert 0 <= told[0]["score"]["mean"] <= 1
    assert told[1] == {"score": None, "reason": "the reasoning is empty"}
    half = client.post("/score", content=b'{"traces": [{"question": "a\\ud800", "response": "b"}]}')
    assert (half.status_code, "surrogate" in half.json()["error"]) == (400, True)
    long = client.post("/score", json={"traces": [{"question": "a", "response": "b c " * 300}]})
    assert (long.status_code, "more than 200" in long.json()["error"]) == (413, True)


def test_a_scorer_finds_its_backbone_from_any_folder_and_after_both_have_moved(trained, tmp_path, monkeypatch):
    from tools_shared.demo import model_path

    shutil.copytree(model_path(), tmp_path / "here" / "backbone")
    monkeypatch.chdir(tmp_path / "here")
    run("extract", "--model", "backbone", "--data", trained / "data" / "t.jsonl", "--output-dir", "states")
    run("train", "--data", "states", "--config-name", "demo", "--output-dir", "runs/scorer")
    monkeypatch.chdir(tmp_path)
    Path("here").rename("there")
    reply = TextResponse("What is 7 + 5?", "Seven and five are twelve.\n\nThat is 12.\n\nDone.")
    assert open_text_scorer("there/runs/scorer").score([reply])[0].score
    Path("there/backbone").rename("there/elsewhere")
    with pytest.raises(ToolError, match=r"backbone, is not at .*there/backbone any more"):
        open_text_scorer("there/runs/scorer")
    assert open_text_scorer("there/runs/scorer", "there/elsewhere").score([reply])[0].score


def test_help_is_quick_and_needs_no_torch():
    import subprocess
    import sys

    program = "import sys, tools_scorer.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
