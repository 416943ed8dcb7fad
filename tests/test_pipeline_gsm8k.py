"""`make pipeline` on real GSM8K, with the demo model: it solves nothing there, but every stage runs through."""

import json
import subprocess
from pathlib import Path

import pytest

from tools_shared.runs import read_manifest

ROOT = Path(__file__).parents[1]
GSM8K = ROOT.parent / "shared" / "data" / "gsm8k"


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not GSM8K.is_dir(), reason=f"{GSM8K} is not there")
def test_real_gsm8k_runs_through(tmp_path):
    data = [f"TRAIN={GSM8K}/train.jsonl", f"TEST={GSM8K}/test.jsonl", "TRAIN_SAMPLES=64", "EVAL_SAMPLES=64"]
    # A model that knows 360 words solves none of these, and a scorer needs attempts that are right.
    words = ["make", "pipeline", "SCORER=", f"ARTIFACTS={tmp_path}", *data]
    done = subprocess.run(words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    comparison = json.loads((tmp_path / "compare" / "comparison.json").read_text())
    assert comparison["n"] == 64
    assert read_manifest(tmp_path / "grpo").metrics["n_train"] == 64
