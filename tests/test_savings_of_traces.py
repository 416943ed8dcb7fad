"""What `tools-traces` sampled, replayed by `tools-bench savings`: the two share a file, and no code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_a_run_of_tools_traces_is_replayed_by_one_command(tmp_path):
    def run(tool, *words):
        command = [Path(sys.executable).parent / tool, *words]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]

    run(
        "tools-traces", "--model", "demo", "--data", "demo://problems?split=test&size=4", "--keep", "all",
        "--max-attempts", 5, "--temperature", 1, "--max-new-tokens", 48, "--output-dir", tmp_path / "attempts",
    )  # fmt: skip
    run("tools-bench", "savings", tmp_path / "attempts", "--output-dir", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "savings.json").read_text())
    assert (found["n_questions"], found["n_samples"], set(found["rules"])) == (4, 5, {"agree"})
    (sampled,) = json.loads((tmp_path / "out" / "run.json").read_text())["inputs"]
    assert Path(sampled["path"]).name == "attempts.jsonl"
