"""From labelled replies to a trained judge and back to people's labels, by the commands that docs/judge.md has."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tools_grpo.config import GrpoConfig
from tools_sft.config import SftConfig
from tools_shared.config import read_yaml
from tools_shared.judging import load_rubric
from tools_shared.judging.agreement import agreement_line
from tools_shared.runs import read_manifest

CONFIGS = Path(__file__).parents[1] / "configs" / "judge"
PLANTS = ["a fern", "an oak", "moss", "a tulip", "clover", "ivy", "a cactus", "mint", "rye", "a vine", "a reed", "sage"]


def test_the_configuration_files_are_taken():
    assert GrpoConfig(**read_yaml(CONFIGS / "grpo.yaml", GrpoConfig)).reward[0] == "agrees"
    assert SftConfig(**read_yaml(CONFIGS / "sft.yaml", SftConfig)).output_dir == "artifacts/judge_sft"
    assert load_rubric(CONFIGS / "refusal.yaml").judge.model == "artifacts/judge"


def labelled(n=72):
    drawn = random.Random(3)
    for i in range(n):
        wet = drawn.random() < 0.5
        told = "water it every day" if wet else "leave it dry"
        yield {
            "prompt": f"How do I keep {PLANTS[i % 12]} in month {i // 12}?",
            "response": f"{told}, {i}",
            "verdict": wet,
        }


@pytest.mark.slow
def test_a_judge_is_trained_used_and_measured(tmp_path):
    """Two short lessons, too short for a model as small as the demo to judge well: the commands fit together, and what
    is measured is kept with the judge."""

    def run(name, *words):
        command = [Path(sys.executable).with_name(f"tools-{name}"), *words]
        done = subprocess.run(
            list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labelled()))
    rubric = {"name": "wet", "criteria": [{"name": "wet", "ask": "It says to water."}]}
    rubric["judge"] = {"model": "artifacts/judge", "max_tokens": 24, "max_failed": 1}
    (tmp_path / "wet.yaml").write_text(yaml.safe_dump(rubric))
    run(
        "traces",
        "verdicts",
        "wet.yaml",
        "--data",
        "rows.jsonl",
        "--held-out",
        "0.3",
        "--output-dir",
        "artifacts/verdicts",
    )
    run("sft", "--config", CONFIGS / "sft.yaml", "--max-steps", "16")
    run("grpo", "--config", CONFIGS / "grpo.yaml", "--max-steps", "2", "--prompts-per-step", "4", "--guard-steps", "0")

    parts = tmp_path / "artifacts" / "verdicts"
    measured = run(
        "bench", "agreement", "wet.yaml", "--data", parts / "held_out.jsonl", "--train-data", parts / "train.jsonl"
    )

    assert read_manifest(tmp_path / "artifacts" / "judge").data["profile"] == "judge-wet"
    assert "wet        judge" in measured.stderr
    figures = json.loads((tmp_path / "artifacts" / "agreement" / "agreement.json").read_text())["criteria"]["wet"]
    assert figures["n"] == len((parts / "held_out.jsonl").read_text().splitlines())
    assert 0 <= figures["balanced_accuracy"]["estimate"] <= 1
    given = load_rubric(tmp_path / "wet.yaml")
    os.chdir(tmp_path)
    assert f"n={figures['n']}" in agreement_line(given, Path("wet.yaml"))
