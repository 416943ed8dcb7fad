"""Two processes on a CPU (gloo) train what one trains, write once, and end resumably when one of them is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools_shared.runs import read_manifest, read_metrics

SFT = [
    "--stage", "prep", "--prep-train-samples", "24", "--eval-samples", "5", "--eval-max-new-tokens", "24",
    "--logging-steps", "1", "--save-steps", "2",
]  # fmt: skip
GRPO = [
    "--train-samples", "16", "--prompts-per-step", "4", "--num-generations", "4", "--batch-size", "4",
    "--max-steps", "3", "--max-completion-length", "32", "--learning-rate", "1e-3", "--no-eval",
]  # fmt: skip
SHORT = """
def short(completions, answer, **columns):
    return [float(f">{gold}<" in text) + len(text) % 50 / 500 for text, gold in zip(completions, answer)]
"""


def command(tool, *args):
    return [sys.executable, "-c", f"from tools_{tool}.cli import main; main()", *map(str, args)]


def run(tool, *args):
    return subprocess.run(
        command(tool, *args), capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def column(folder, name):
    return [row[name] for row in read_metrics(folder)]


@pytest.mark.slow
def test_sft_in_two_processes_is_that_of_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert run("sft", *SFT, "--batch-size", 8, "--output-dir", one).returncode == 0
    batches = ("--batch-size", 4, "--gradient-accumulation", 2)
    done = run("sft", *SFT, *batches, "--processes", 2, "--output-dir", two)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(two)
    assert done.stderr.count("24 rows read") == 1
    assert column(two, "loss") == pytest.approx(column(one, "loss"), abs=1e-4)
    assert read_manifest(two).metrics["accuracy"] == read_manifest(one).metrics["accuracy"]
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
def test_grpo_in_two_processes_is_that_of_one(tmp_path):
    (tmp_path / "reward.py").write_text(SHORT)
    one, two = tmp_path / "one", tmp_path / "two"
    args = [*GRPO, "--reward", f"{tmp_path / 'reward.py'}:short"]
    done = run("grpo", *args, "--output-dir", one)
    assert done.returncode == 0, done.stderr
    done = run("grpo", *args, "--processes", 2, "--output-dir", two)
    assert done.returncode == 0, done.stderr
    for name in ("loss", "reward", "grad_norm"):
        assert column(two, name) == pytest.approx(column(one, name), abs=1e-4)
    assert any(column(one, "grad_norm"))
    first = "rollouts/step-000000.jsonl"
    drawn = [[json.loads(line)["token_ids"] for line in (run / first).read_text().splitlines()] for run in (one, two)]
    assert drawn[0] == drawn[1]


@pytest.mark.slow
def test_a_killed_process_ends_the_run_resumably(tmp_path):
    folder = tmp_path / "run"
    args = [*SFT, "--batch-size", 2, "--gradient-accumulation", 2, "--epochs", 20, "--no-eval", "--processes", 2]
    parent = subprocess.Popen(command("sft", *args, "--output-dir", folder), stderr=subprocess.PIPE, text=True)
    mark = Path(f"{folder}.partial/checkpoints/checkpoint-2/checkpoint.whole")
    deadline = time.monotonic() + 120
    while not mark.exists() and parent.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(int(rank_one(parent.pid)), signal.SIGKILL)
    _, said = parent.communicate(timeout=120)
    assert parent.returncode == 3, said
    assert "process 1 was killed by signal 9; run the same command again" in said
    again = run("sft", *args, "--max-steps", -1, "--output-dir", folder)
    assert again.returncode == 0, again.stderr
    assert "going on from step" in again.stderr
    steps = column(folder, "step")
    assert steps == list(range(1, 121))


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
    done = run("sft", *SFT, "--batch-size", 8, "--processes", 2, "--output-dir", tmp_path / "out")
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert len(said) == 1
    assert "cannot be dealt to 2 processes in batches of 8" in said[0]
    assert not list(tmp_path.iterdir())
