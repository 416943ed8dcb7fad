"""Rollouts in bf16 of a model that is trained in float32: weighted for it, and float32 where that is asked for."""

import json

import pytest
import torch
from click.testing import CliRunner
from zoo import save_model

from tools_grpo.cli import main
from tools_grpo.config import GrpoConfig
from tools_grpo.rollouts.policy import rollout_dtype, rollouts_in
from tools_shared.devices import multiplies_bf16
from tools_shared.models import load, resolve
from tools_shared.runs import read_manifest, read_metrics

APART = "sampling/sampling_logp_difference/mean"
native = pytest.mark.skipif(not multiplies_bf16(), reason="this processor has no instructions for bf16")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model with random weights, stored in bf16; and a reward that differs within its groups."""
    folder = tmp_path_factory.mktemp("format")
    save_model("llama3", folder / "base")
    load(resolve(str(folder / "base")), "fp32", "cpu").model.to(torch.bfloat16).save_pretrained(folder / "base")
    (folder / "distinct.py").write_text(
        "def distinct(completion_ids, **_):\n    return [len(set(ids)) / 16 for ids in completion_ids]\n"
    )
    rows = [{"question": f"A ladder of {n + 5} rungs loses {n}. How many are left?", "answer": "5"} for n in range(4)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def train(base, out, *more):
    words = [
        "--base-model", base / "base", "--data", base / "rows.jsonl", "--reward", f"{base / 'distinct.py'}:distinct",
        "--num-generations", 4, "--prompts-per-step", 2, "--max-steps", 2, "--max-completion-length", 16, "--no-eval",
        "--device", "cpu", "--profile", "boxed", "--output-dir", out, *more,
    ]  # fmt: skip
    done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return read_manifest(out).metrics, read_metrics(out)


@native
def test_rollouts_in_bf16_are_weighted_by_the_trainers_own_probabilities(base, tmp_path):
    metrics, steps = train(base, tmp_path / "run")
    assert metrics["rollouts_in"] == "bf16"
    assert metrics["weights_changed"]
    assert all(0 < step[APART] < 0.1 for step in steps)


@pytest.mark.parametrize("more", [["--vllm-importance-sampling", "none"], ["--dtype", "fp32"], ["--loss", "vespo"]])
def test_rollouts_stay_in_the_trained_numbers_where_that_is_asked_for_or_no_weight_fits(base, tmp_path, more):
    metrics, steps = train(base, tmp_path / "run", *more)
    assert metrics["rollouts_in"] == "fp32"
    assert all(APART not in step for step in steps)


def test_whole_weights_are_rounded_while_they_sample(base):
    ref = resolve(str(base / "base"))
    config = GrpoConfig(base_model=ref.spec, full_finetune=True, device="cpu")
    assert rollout_dtype(ref, config) == (torch.bfloat16 if multiplies_bf16() else None)
    assert rollouts_in(ref, GrpoConfig(base_model=ref.spec, full_finetune=True, dtype="bf16", device="cpu")) == "fp32"
