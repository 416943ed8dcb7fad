"""What `make gpu-check` runs, on the GPU where there is one, and small on a CPU so that it works when one comes."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu_check.py"
PARTS = {"sft", "grpo", "sampling", "hidden states", "embedding", "embedding, static"}
WITH_VLLM = "sampling, vLLM"


def check(device, folder, *args):
    """What was written, and what was said."""
    out = folder / "gpu-check.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--device", device, "--steps", "2", "--output", out, *args],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert all(part["tokens_per_second"] > 0 for part in found["results"].values())
    return found, done.stderr


def check_all(device, folder):
    found, said = check(device, folder)
    assert set(found["results"]) - {WITH_VLLM} == PARTS
    assert (WITH_VLLM in found["results"]) == (importlib.util.find_spec("vllm") is not None)
    assert "of 8 groups have zero variance" in said
    assert "8 of 8 groups have zero variance" not in said
    return found


@pytest.mark.slow
def test_every_part_is_timed_on_a_cpu(tmp_path):
    assert check_all("cpu", tmp_path)["device"] == "cpu"


@pytest.mark.vllm
def test_vllm_is_timed(tmp_path):
    pytest.importorskip("vllm", reason="vLLM is not in this environment; make vllm-env makes one with it")
    found, _ = check("cpu", tmp_path, "--parts", WITH_VLLM)
    assert found["results"][WITH_VLLM]["memory_peak_bytes"] is None


@pytest.mark.gpu
def test_every_part_is_timed_on_a_gpu(tmp_path):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    assert check_all("cuda", tmp_path)["device"] != "cpu"
