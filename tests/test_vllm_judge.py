"""GRPO against a real judge: SmolLM2-135M on vLLM's server, held to the rubric's form, pays the demo's completions."""

import json
import os
import subprocess
import sys

import pytest
import yaml

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm", reason="vLLM is not in this environment; make vllm-env makes one with it")

ROWS = [
    {"goal": "Whistle with a leaf of grass", "steps": ["Hold it between your thumbs", "Blow"]},
    {"goal": "Dry apple rings", "steps": ["Cut thin rings", "Hang them up in a warm place"]},
    {"goal": "Sharpen a pencil with a knife", "steps": ["Cut away from yourself", "Turn the pencil"]},
    {"goal": "Fold a paper hat", "steps": ["Fold the sheet in half", "Fold both corners down"]},
]


def test_a_run_is_paid_by_a_model_and_each_step_says_what_that_cost(vllm_server, smollm2, tmp_path):
    form = '{"backend": "xgrammar", "disable_any_whitespace": true}'
    words = ["--model", str(smollm2), "--served-model-name", "judge", "--max-model-len", "1024", "--dtype", "bfloat16"]
    rubric = {"name": "how-to", "criteria": [{"name": "clear", "ask": "The reply is clear."}], "show": ["steps"]}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with vllm_server(tmp_path, *words, "--structured-outputs-config", form) as address:
        judge = {
            "endpoint": address,
            "model": "judge",
            "schema": True,
            "max_tokens": 24,
            "price_out": 1.0,
            "cache": False,
        }
        (tmp_path / "r.yaml").write_text(yaml.safe_dump({**rubric, "judge": judge}))
        command = [sys.executable, "-c", "from tools_grpo.cli import main; main()", "--no-eval"]
        command += [
            "--data",
            tmp_path / "rows.jsonl",
            "--reward",
            f"judge:{tmp_path / 'r.yaml'}",
            "--reward",
            "length:0.1",
        ]
        command += ["--max-steps", "2", "--prompts-per-step", "2", "--num-generations", "4", "--batch-size", "8"]
        command += ["--max-completion-length", "24", "--guard-steps", "0", "--output-dir", tmp_path / "run"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    spent = json.loads((tmp_path / "run" / "judge-how-to.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert spent["n_failed"] == 0
    assert spent["n_asked"] > sum(line["judge/n_asked"] for line in lines) == 16
    assert abs(spent["money"] - spent["tokens_out"] / 1e6) < 1e-12
    assert "judge:how-to: agreement with people's labels not measured" in done.stderr
    rewards = [
        json.loads(line)
        for path in sorted((tmp_path / "run" / "rollouts").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert {row["rewards"]["judge:how-to"] for row in rewards} <= {0.0, 1.0}
