"""Distillation: the loss against its formula and against TRL's other trainer, its errors, and runs that go on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools_sft.config import SftConfig
from tools_sft.distillation.teacher import find_teacher
from tools_sft.reports.memory import expected_memory
from tools_sft.train import prepare
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file
from tools_shared.models import choose_profile, resolve
from tools_shared.models.load import load_tokenizer
from tools_shared.prompts import load_profile
from tools_shared.runs import read_manifest, read_metrics

DISTILL = ["--objective", "distill", "--teacher", "demo"]
SMALL = ["--train-samples", "24", "--batch-size", "4", "--no-eval", "--save-steps", "2", "--logging-steps", "1"]


def command(*args):
    return [sys.executable, "-c", "from tools_sft.cli import main; main()", *map(str, args)]


def run(*args):
    return subprocess.run(command(*args), capture_output=True, text=True, env=os.environ)


def options(**changed):
    return SftConfig(**{"objective": "distill", "teacher": "demo", **changed})


@pytest.mark.parametrize("divergence", ["forward", "reverse", "jsd"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_loss_is_the_formula(divergence, temperature):
    import torch

    from tools_sft.distillation.trainer import distillation_loss

    torch.manual_seed(0)
    student, teacher, labels = torch.randn(5, 11), torch.randn(5, 11), torch.arange(5)
    config = options(divergence=divergence, temperature=temperature, alpha=0.3)
    loss, divided = distillation_loss(student, teacher, labels, config)
    p, q = torch.softmax(teacher / temperature, -1), torch.softmax(student / temperature, -1)
    if divergence == "jsd":
        middle = (p + q) / 2
        expected = (p * (p / middle).log()).sum() / 2 + (q * (q / middle).log()).sum() / 2
    else:
        expected = (p * (p / q).log()).sum() if divergence == "forward" else (q * (q / p).log()).sum()
    hard = -torch.log_softmax(student, -1)[torch.arange(5), labels].sum()
    assert divided == pytest.approx(expected.item(), rel=1e-5)
    assert loss.item() == pytest.approx((0.3 * temperature**2 * expected + 0.7 * hard).item(), rel=1e-5)


@pytest.mark.parametrize(("divergence", "beta"), [("forward", 0.0), ("jsd", 0.5), ("reverse", 1.0)])
def test_loss_and_gradient_are_those_of_trls_distillation_trainer(divergence, beta):
    import torch
    from trl.trainer.distillation_trainer import _chunked_divergence_loss

    from tools_sft.distillation.trainer import distillation_loss

    torch.manual_seed(1)
    hidden_S, hidden_T = torch.randn(1, 7, 8, requires_grad=True), torch.randn(1, 7, 6)
    head_S, head_T = torch.randn(13, 8), torch.randn(13, 6)
    mask = torch.ones(1, 7)
    theirs, _, n = _chunked_divergence_loss(hidden_S, hidden_T, head_S, head_T, mask, beta, temperature=1.7)
    (their_gradient,) = torch.autograd.grad(theirs, hidden_S)
    config = options(divergence=divergence, temperature=1.7)
    logits_S, logits_T = (hidden_S @ head_S.T)[0], (hidden_T @ head_T.T)[0]
    ours, divided = distillation_loss(logits_S, logits_T, torch.zeros(7, dtype=torch.long), config)
    (our_gradient,) = torch.autograd.grad(ours / n, hidden_S)
    assert divided.item() / n == pytest.approx(theirs.item(), rel=1e-5)
    assert torch.allclose(our_gradient, 1.7**2 * their_gradient, rtol=1e-4, atol=1e-6)


def test_a_vocabulary_padded_further_is_the_same_vocabulary():
    import torch

    from tools_sft.distillation.trainer import distillation_loss

    student, teacher = torch.randn(3, 8), torch.randn(3, 8)
    padded = torch.cat([teacher, torch.full((3, 4), -5.0)], 1)
    labels = torch.zeros(3, dtype=torch.long)
    one, two = (distillation_loss(student, t, labels, options())[0] for t in (teacher, padded))
    assert torch.equal(one, two)


def test_a_model_is_its_own_teacher_and_learns_nothing_at_first(tmp_path):
    done = run(*DISTILL, *SMALL, "--max-steps", 1, "--output-dir", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    assert abs(json.loads(done.stdout)["metrics"]["first_loss"]) < 1e-6
    names = [entry["name"] for entry in read_manifest(tmp_path / "run").data["inputs"]]
    assert names == ["base_model", "teacher", "train"]


@pytest.mark.parametrize(
    "more",
    [
        ["--alpha", "0.5", "--temperature", "2"],
        ["--on-policy", "--divergence", "reverse", "--max-completion-length", "32"],
    ],
)
def test_a_killed_distillation_goes_on_and_ends_with_the_same_weights(tmp_path, more):
    args = [*DISTILL, *SMALL, "--learning-rate", "0.002", *more]
    whole = run(*args, "--output-dir", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        command(*args, "--output-dir", folder), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    mark = Path(f"{folder}.partial/checkpoints/checkpoint-2/checkpoint.whole")
    deadline = time.monotonic() + 500
    while not mark.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not folder.exists()
    done = run(*args, "--output-dir", folder)
    assert done.returncode == 0, done.stderr
    one, two = (tmp_path / name / "model" / "adapter_model.safetensors" for name in ("whole", "killed"))
    assert sha256_file(one) == sha256_file(two)
    assert [row["step"] for row in read_metrics(folder)] == [1, 2, 3, 4, 5, 6]
    assert all(row["divergence"] >= 0 for row in read_metrics(folder))


def test_a_teacher_with_other_tokens_is_refused_with_the_way_that_is_open(tmp_path):
    tokenizer = load_tokenizer(resolve("demo"))
    tokenizer.add_tokens(["one more"])
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((Path(resolve("demo").weights) / "config.json").read_text())
    with pytest.raises(ToolError, match=r"its tokenizer \(\d+ tokens\) is not that of demo .* tools-traces"):
        find(options(teacher=str(tmp_path)))


def test_a_server_is_refused_with_the_way_that_is_open():
    with pytest.raises(ToolError, match="a server does not give .* tools-sft --traces-file"):
        find(options(teacher="http://localhost:8000/v1"))


def test_a_teacher_of_another_profile_is_refused(tmp_path):
    shutil.copytree(resolve("demo").weights, tmp_path / "teacher")
    (tmp_path / "teacher" / "tools.json").write_text(json.dumps({"profile": load_profile("think").to_json()}))
    with pytest.raises(ToolError, match="was trained with the prompt profile 'think', the student uses 'gsm8k-tags'"):
        find(options(teacher=str(tmp_path / "teacher")))


def find(config):
    ref = resolve("demo")
    return find_teacher(config.base_model, config.teacher, choose_profile(ref, None), load_tokenizer(ref))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"teacher": None}, "belong together"),
        ({"objective": "sft"}, "belong together"),
        ({"on_policy": True, "alpha": 0.5}, "--alpha 1"),
        ({"on_policy": True, "packing": True}, "--packing"),
        ({"on_policy": True, "loss_on": "all"}, "--loss-on all"),
        ({"temperature": 0.0}, "--temperature must be"),
        ({"alpha": 1.5}, "--alpha must be"),
    ],
)
def test_options_that_do_not_go_together_are_refused(wrong, words):
    with pytest.raises(ToolError, match=words):
        options(**wrong)


def test_the_memory_to_expect_counts_the_teacher():
    given = prepare(options(train_samples=8))
    configs = (options(train_samples=8), SftConfig(train_samples=8))
    with_one, without = (expected_memory(config, given.ref, given.encoded) for config in configs)
    assert with_one.weights > 1.9 * without.weights
    assert with_one.activations > without.activations
    assert with_one.gradients == without.gradients
