"""A run that learned nothing says so, and one that had a step to learn in uses it."""

import json
import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file
from transformers import get_scheduler

from tools_shared.runs import read_manifest, read_metrics
from tools_shared.training.rates import rate, warmup_steps

CAPITALS = [("Chile", "Santiago"), ("Norway", "Oslo"), ("Kenya", "Nairobi"), ("Peru", "Lima")] * 4


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "capitals.csv"
    path.write_text("prompt,response\n" + "".join(f'"The capital of {a}?","{b}."\n' for a, b in CAPITALS))
    return path


def run(*args, **env):
    words = [sys.executable, "-c", "from tools_sft.cli import main; main()", "--no-eval", *map(str, args)]
    return subprocess.run(words, capture_output=True, text=True, env={**os.environ, **env}, check=False)


def finished(folder, *args):
    done = run("--output-dir", folder, *args)
    assert done.returncode == 0, done.stderr
    return read_manifest(folder).metrics, done.stderr


@pytest.mark.parametrize("kind", ["constant", "constant_with_warmup", "linear", "cosine"])
@pytest.mark.parametrize("n_steps", [1, 2, 3, 19, 20, 21, 400])
@pytest.mark.parametrize("ratio", [0.0, 0.05, 0.5, 0.99])
def test_every_step_has_a_rate_above_0_and_one_has_the_peak(kind, n_steps, ratio):
    n_warmup = warmup_steps(ratio, n_steps)
    rates = [rate(kind, done, n_warmup, n_steps) for done in range(n_steps)]
    assert min(rates) > 0
    assert max(rates) == 1
    assert rates[:n_warmup] == sorted(rates[:n_warmup])


@pytest.mark.parametrize("kind", ["constant_with_warmup", "linear", "cosine"])
def test_after_the_warm_up_the_rates_are_those_of_transformers(kind):
    import torch

    n_steps, n_warmup = 37, warmup_steps(0.2, 37)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_scheduler(kind, optimizer, num_warmup_steps=n_warmup, num_training_steps=n_steps)
    for done in range(n_steps):
        if done >= n_warmup:
            assert rate(kind, done, n_warmup, n_steps) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_a_run_of_one_step_learns(rows, tmp_path):
    metrics, told = finished(
        tmp_path / "one", "--train-path", rows, "--batch-size", 16, "--epochs", 1, "--learning-rate", 2e-4, "--merge"
    )
    assert metrics["steps"] == 1
    assert metrics["weights_changed"] is True
    assert "warning: this run" not in told
    assert [row["learning_rate"] for row in read_metrics(tmp_path / "one")] == [pytest.approx(2e-4)]
    weights = load_file(tmp_path / "one" / "model" / "adapter_model.safetensors")
    assert sum(float(v.abs().sum()) for name, v in weights.items() if "lora_B" in name) > 0


def test_a_run_without_a_learning_rate_says_that_it_learned_nothing(rows, tmp_path):
    args = ["--train-path", rows, "--batch-size", 4, "--learning-rate", 0]
    for name, more in (("adapter", ["--merge"]), ("whole", ["--full-finetune"]), ("decay", ["--weight-decay", "0.5"])):
        metrics, told = finished(tmp_path / name, *args, *more)
        assert metrics["weights_changed"] is False
        assert "warning: this run has learned nothing, its weights are those it began with" in told
        assert "the learning rate was 0 at every step" in told
    assert not (tmp_path / "adapter" / "merged").exists()
    assert "merge_difference" not in read_manifest(tmp_path / "adapter").metrics


def test_a_continued_adapter_and_whole_weights_are_compared_with_their_own_start(rows, tmp_path):
    finished(tmp_path / "first", "--train-path", rows, "--batch-size", 8)
    still = ["--train-path", rows, "--base-model", tmp_path / "first", "--batch-size", 8]
    assert finished(tmp_path / "still", *still, "--learning-rate", 0)[0]["weights_changed"] is False
    assert finished(tmp_path / "on", *still)[0]["weights_changed"] is True
    assert finished(tmp_path / "whole", *still, "--full-finetune")[0]["weights_changed"] is True


def test_the_last_loss_is_that_of_the_last_step_however_seldom_one_is_logged(rows, tmp_path):
    args = [
        "--train-path",
        rows,
        "--batch-size",
        4,
        "--learning-rate",
        1e-2,
        "--gradient-accumulation",
        2,
        "--epochs",
        3,
    ]
    often, _ = finished(tmp_path / "often", *args, "--logging-steps", 1)
    seldom, _ = finished(tmp_path / "seldom", *args, "--logging-steps", 1000)
    assert often["steps"] == 6
    assert often["last_loss"] == seldom["last_loss"] != seldom["first_loss"] == often["first_loss"]
    assert often["last_loss"] == pytest.approx(list(read_metrics(tmp_path / "often"))[-1]["loss"], rel=1e-5)
    assert [row["step"] for row in read_metrics(tmp_path / "seldom")] == [1, 6]


def test_a_run_killed_after_its_last_step_still_knows_its_last_loss(rows, tmp_path, trainer):
    args = ["--train-path", rows, "--batch-size", "4", "--eval-samples", "64", "--save-steps", "1"]
    sft = trainer("sft")
    sft.stopped_at(4, tmp_path / "cut", *args).wait()
    sft.finish(tmp_path / "cut", *args, "--logging-steps", "1")
    cut = json.loads((tmp_path / "cut" / "run.json").read_text())["metrics"]
    whole, _ = finished(tmp_path / "whole", *args, "--logging-steps", "1")
    assert (cut["last_loss"], cut["weights_changed"]) == (whole["last_loss"], True)


def test_an_adapter_merged_into_a_new_base_is_compared_before_it_is_saved(tmp_path, rows):
    steps = ["--train-path", rows, "--batch-size", "4", "--max-steps", "2"]
    first, _ = finished(tmp_path / "first", *steps)
    second, _ = finished(tmp_path / "second", *steps, "--base-model", tmp_path / "first", "--adapter", "merge")
    assert first["weights_changed"] is second["weights_changed"] is True
