"""Two processes on a CPU (gloo), each with the whole model or with a part of it, train what one trains, write once, and
end resumably when one of them is killed."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from tools_shared.runs import read_manifest, read_metrics

SFT = [
    "--stage", "prep", "--prep-train-samples", "24", "--eval-samples", "5", "--eval-max-new-tokens", "24",
    "--logging-steps", "1", "--save-steps", "2",
]  # fmt: skip
ONCE = ("--epochs", 1)
GRPO = [
    "--train-samples", "16", "--prompts-per-step", "4", "--num-generations", "4", "--batch-size", "4",
    "--max-steps", "3", "--max-completion-length", "32", "--learning-rate", "1e-3", "--no-eval",
]  # fmt: skip
SHORT = """
def short(completions, answer, **columns):
    return [1.0 if f">{gold}<" in text else len(text) % 50 / 500 for text, gold in zip(completions, answer)]
"""


LAUNCH = Path(__file__).parents[1] / "docker" / "launch"
HALVES = ("--batch-size", 4, "--gradient-accumulation", 2)
"""A step of 8 examples as two processes take it."""


def command(tool, *args):
    return [sys.executable, "-c", f"from tools_{tool}.cli import main; main()", *map(str, args)]


def run(tool, *args):
    return finished(command(tool, *args))


def finished(words):
    """The outcome of a run; where one of its processes crashed in native code (rarely, torch's gloo on a CPU), that of
    the same command again, which has to resume."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=env)
    if "SIGSEGV" not in done.stderr and "signal 11" not in done.stderr:
        return done
    warnings.warn(done.stderr, stacklevel=2)
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, env=env)


def weights(folder):
    """What a run has saved, adapter or whole, by name."""
    from safetensors.torch import load_file

    (path,) = folder.glob("*.safetensors")
    return load_file(path)


def assert_same_weights(one, two):
    assert one.keys() == two.keys()
    for name, values in one.items():
        assert (values - two[name]).abs().max() < 1e-4, name


def column(folder, name):
    return [row[name] for row in read_metrics(folder)]


@pytest.mark.slow
def test_sft_in_two_processes_is_that_of_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert run("sft", *SFT, *ONCE, "--batch-size", 8, "--output-dir", one).returncode == 0
    done = run("sft", *SFT, *ONCE, *HALVES, "--processes", 2, "--output-dir", two)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(two)
    assert done.stderr.count("24 rows read") == 1
    assert column(two, "loss") == pytest.approx(column(one, "loss"), abs=1e-4)
    assert read_manifest(two).metrics["accuracy"] == read_manifest(one).metrics["accuracy"]
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
def test_sft_of_a_model_in_two_parts_by_accelerate_launch(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    args = [*SFT, *ONCE, "--device", "cpu"]
    assert run("sft", *args, "--batch-size", 8, "--output-dir", one).returncode == 0
    launch = [Path(sys.executable).with_name("accelerate"), "launch", "--config_file", LAUNCH / "accelerate-fsdp2.yaml"]
    launch += ["--num_processes", 2, "--main_process_port", 0, "--no_python"]
    done = finished([*launch, *command("sft", *args, *HALVES, "--output-dir", two)])
    assert done.returncode == 0, done.stderr
    assert column(two, "loss") == pytest.approx(column(one, "loss"), abs=1e-4)
    assert read_manifest(two).metrics["accuracy"] == read_manifest(one).metrics["accuracy"]
    assert_same_weights(weights(one / "model"), weights(two / "model"))


@pytest.mark.slow
def test_a_full_finetune_in_two_parts_goes_on_where_it_was_killed(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    args = [*SFT, "--full-finetune", "--epochs", 6, "--no-eval"]
    assert run("sft", *args, "--batch-size", 8, "--output-dir", one).returncode == 0
    args += [*HALVES, "--processes", 2]
    kill_after_a_checkpoint(two, "sft", *args, "--sharding", "fsdp2")
    other = run("sft", *args, "--output-dir", two)
    assert other.returncode == 1
    assert "written with --sharding fsdp2; continue so" in other.stderr
    again = run("sft", *args, "--sharding", "fsdp2", "--output-dir", two)
    assert again.returncode == 0, again.stderr
    assert "resuming from step" in again.stderr
    assert column(two, "loss") == pytest.approx(column(one, "loss"), abs=1e-4)
    assert_same_weights(weights(one / "model"), weights(two / "model"))


@pytest.mark.slow
def test_a_student_that_speaks_itself_learns_the_same_in_two_processes(tmp_path):
    one, teacher = tmp_path / "one", tmp_path / "teacher"
    learn = ["--full-finetune", "--learning-rate", "1e-3", "--max-steps", 2, "--no-eval"]
    assert run("sft", *SFT, *learn, "--output-dir", teacher).returncode == 0
    args = [*SFT, *ONCE, "--objective", "distill", "--teacher", teacher, "--on-policy", "--max-completion-length", 16]
    args += ["--learning-rate", "1e-3", "--no-eval", "--merge"]
    assert run("sft", *args, "--batch-size", 8, "--output-dir", one).returncode == 0
    assert any(column(one, "divergence"))
    for sharding in ("none", "fsdp2"):
        two = tmp_path / sharding
        done = run("sft", *args, *HALVES, "--processes", 2, "--sharding", sharding, "--output-dir", two)
        assert done.returncode == 0, done.stderr
        for name in ("loss", "divergence", "completion_length"):
            assert column(two, name) == pytest.approx(column(one, name), abs=1e-4)
        assert_same_weights(weights(one / "merged"), weights(two / "merged"))


@pytest.mark.slow
def test_grpo_in_two_processes_is_that_of_one(tmp_path):
    (tmp_path / "reward.py").write_text(SHORT)
    one = tmp_path / "one"
    args = [*GRPO, "--reward", f"{tmp_path / 'reward.py'}:short"]
    done = run("grpo", *args, "--output-dir", one)
    assert done.returncode == 0, done.stderr
    assert any(column(one, "grad_norm"))
    for sharding in ("none", "fsdp2"):
        two = tmp_path / sharding
        done = run("grpo", *args, "--processes", 2, "--sharding", sharding, "--output-dir", two)
        assert done.returncode == 0, done.stderr
        for name in ("loss", "reward", "grad_norm"):
            assert column(two, name) == pytest.approx(column(one, name), abs=1e-4)
        # A mean over the forward passes, which are not the same ones.
        assert column(two, "entropy") == pytest.approx(column(one, "entropy"), rel=0.1)
        assert_same_weights(weights(one / "model"), weights(two / "model"))
        assert drawn_first(two) == drawn_first(one)


def drawn_first(folder):
    """The tokens of each completion of a run's first step."""
    lines = (folder / "rollouts" / "step-000000.jsonl").read_text().splitlines()
    return [json.loads(line)["token_ids"] for line in lines]


@pytest.mark.slow
def test_a_killed_process_ends_the_run_resumably(tmp_path):
    folder = tmp_path / "run"
    args = [*SFT, "--batch-size", 2, "--gradient-accumulation", 2, "--epochs", 20, "--no-eval", "--processes", 2]
    said = kill_after_a_checkpoint(folder, "sft", *args)
    assert "process 1 was killed by signal 9; run the same command again" in said
    again = run("sft", *args, "--max-steps", -1, "--output-dir", folder)
    assert again.returncode == 0, again.stderr
    assert "resuming from step" in again.stderr
    steps = column(folder, "step")
    assert steps == list(range(1, 121))


def kill_after_a_checkpoint(folder, tool, *args):
    """Kill rank 1 of a run when its first checkpoint is whole; what the run said then."""
    parent = subprocess.Popen(command(tool, *args, "--output-dir", folder), stderr=subprocess.PIPE, text=True)
    mark = Path(f"{folder}.partial/checkpoints/checkpoint-2/checkpoint.whole")
    deadline = time.monotonic() + 500
    while not mark.exists() and parent.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(int(rank_one(parent.pid)), signal.SIGKILL)
    _, said = parent.communicate(timeout=500)
    assert parent.returncode == 3, said
    return said


def rank_one(parent):
    """The process id of rank 1 among the children of the launcher."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "stat").read_text().rsplit(")", 1)[1].split()
            environment = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(words[1]) == parent and b"RANK=1" in environment:
            return path.name
    raise AssertionError("rank 1 is not there")


@pytest.mark.slow
def test_a_step_that_cannot_be_dealt_out_is_one_line(tmp_path):
    done = run("sft", *SFT, *ONCE, "--batch-size", 8, "--processes", 2, "--output-dir", tmp_path / "out")
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert len(said) == 1
    assert "cannot be dealt to 2 processes in batches of 8" in said[0]
    assert not list(tmp_path.iterdir())
