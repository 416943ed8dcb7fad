"""What `make gpu-check` runs, on the GPU where there is one, and small on a CPU so that it works when one comes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu_check.py"


def check(device, folder):
    out = folder / "gpu-check.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--device", device, "--steps", "2", "--output", out], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert set(found["results"]) == {"sft", "grpo", "sampling", "hidden states"}
    assert all(part["tokens_per_second"] > 0 for part in found["results"].values())
    assert "of 8 groups without spread" in done.stderr
    assert "8 of 8 groups without spread" not in done.stderr
    return found


@pytest.mark.slow
def test_every_part_is_timed_on_a_cpu(tmp_path):
    assert check("cpu", tmp_path)["device"] == "cpu"


@pytest.mark.gpu
def test_every_part_is_timed_on_a_gpu(tmp_path):
    assert check("cuda", tmp_path)["device"] != "cpu"
