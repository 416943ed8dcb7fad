"""GRPO runs that are killed, asked to stop or guarded: the same command resumes, to the same bits; and dry runs."""

import json
import random
import signal

import pytest

from tools_shared.files import sha256_file
from tools_shared.runs import read_manifest

# Dropout, a reference model and more than one epoch: every random stream and the sampler's place count.
ARGS = [
    "--train-samples", "10", "--prompts-per-step", "2", "--num-generations", "4", "--batch-size", "4",
    "--epochs", "2", "--max-completion-length", "40", "--learning-rate", "1e-3", "--reward", "length:0.1",
    "--reward", "verified", "--beta", "0.05", "--lora-dropout", "0.1", "--save-steps", "2", "--no-eval",
]  # fmt: skip
N_STEPS = 10


@pytest.fixture(scope="module")
def grpo(trainer):
    return trainer("grpo")


@pytest.fixture(scope="module")
def unbroken(grpo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grpo") / "unbroken"
    done = grpo.run(*ARGS, "--output-dir", folder)
    assert done.returncode == 0, done.stderr
    assert read_manifest(folder).metrics["steps"] == N_STEPS
    return folder


def results(folder):
    """The adapter's hash, and every rollout with its tokens, log-probabilities, rewards and advantage."""
    rollouts = [path.read_text() for path in sorted((folder / "rollouts").glob("*.jsonl"))]
    return sha256_file(folder / "model" / "adapter_model.safetensors"), rollouts


def test_a_run_killed_at_a_random_step_ends_with_the_same_adapter_and_rollouts(grpo, unbroken, tmp_path):
    # In the second epoch, whose order of prompts is another.
    grpo.kill([random.randint(7, N_STEPS - 2)], tmp_path / "killed", *ARGS)
    # As a power cut would leave it: newer than all others, and not whole.
    (tmp_path / "killed.partial/checkpoints/checkpoint-99").mkdir()
    done = grpo.finish(tmp_path / "killed", *ARGS)
    assert "checkpoint-99: this checkpoint was interrupted" in done.stderr
    assert results(tmp_path / "killed") == results(unbroken)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_same_adapter_and_rollouts(grpo, unbroken, tmp_path):
    steps = sorted(random.sample(range(1, N_STEPS), 5))
    grpo.kill(steps, tmp_path / "killed", *ARGS)
    grpo.finish(tmp_path / "killed", *ARGS)
    assert results(tmp_path / "killed") == results(unbroken), f"killed at {steps}"


def test_sigterm_ends_the_step_and_smaller_batches_go_on(grpo, unbroken, tmp_path):
    folder = tmp_path / "stopped"
    process = grpo.stopped_at(5, folder, *ARGS, number=signal.SIGTERM)
    said = process.stderr.read()
    assert process.wait() == 3, said
    assert "of 10 is saved, run the same command again to resume from there" in said
    done = grpo.run(*ARGS, "--output-dir", folder)
    assert done.returncode == 0, done.stderr
    assert results(folder) == results(unbroken)


def test_no_spread_stops_the_run_and_the_guard_can_be_passed_by(grpo, tmp_path):
    # Before it has learned the format, the demo's base model never satisfies `verified`: all rewards are 0.
    flat = [*ARGS, "--output-dir", tmp_path / "flat"]
    at = flat.index("length:0.1")
    del flat[at - 1 : at + 1]
    done = grpo.run(*flat, "--guard-steps", 4)
    assert done.returncode == 3, done.stderr
    assert "no group had reward variance for 4 steps" in done.stderr
    assert "step 4 of 10 is saved" in done.stderr
    done = grpo.run(*flat, "--guard-steps", 0)
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "flat").data["sessions"][1]["from_step"] == 4


def test_truncated_completions_stop_the_run(grpo, tmp_path):
    done = grpo.run(*ARGS, "--max-completion-length", 4, "--guard-steps", 3, "--output-dir", tmp_path / "cut")
    assert done.returncode == 3, done.stderr
    assert "100 % of the completions of the last 3 steps were cut at the length limit" in done.stderr


def test_a_loss_that_is_not_a_number_stops_the_run(grpo, tmp_path):
    done = grpo.run(*ARGS, "--learning-rate", "1e30", "--output-dir", tmp_path / "nan")
    assert done.returncode == 3, done.stderr
    assert "not finite numbers after step" in done.stderr or "is not a finite number" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_shows_the_first_prompt_and_the_counts(grpo, tmp_path):
    done = grpo.run(*ARGS, "--dry-run", "--output-dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "<|im_start|>assistant\n⟦up to 40 tokens, drawn at temperature 1⟧" in done.stdout
    assert "2 prompts x 4 completions = 8 rollouts a step, in 2 forward passes of 4; 10 steps" in done.stdout
    assert "memory to expect: " in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_inspect_shows_the_rollouts_of_a_run(grpo, unbroken, tmp_path):
    done = grpo.run("inspect", unbroken, "--html", tmp_path / "run.html", "--shown", 2)
    assert done.returncode == 0, done.stderr
    assert "10 steps, 80 rollouts" in done.stdout
    rows = [json.loads(line) for text in results(unbroken)[1] for line in text.splitlines()]
    best = max(rows, key=lambda row: (row["reward"], row["advantage"]))
    shown = done.stdout.split("## Best")[1].split("## Worst")[0]
    assert f"step {best['step'] + 1}, {best['problem']}, sample {best['sample']}: reward {best['reward']:g}" in shown
    page = (tmp_path / "run.html").read_text()
    assert page.count("<svg") == 4
    assert "<script" not in page
    assert "://" not in page
