"""SFT runs that are killed, asked to stop, out of memory or of room: the same command resumes, to the same bits."""

import importlib.util
import random
import resource
import shutil
import signal
import subprocess
import sys

import pytest

from tools_shared.files import sha256_file
from tools_shared.runs import read_manifest, read_metrics

# Dropout, several epochs and accumulation: every random stream, the sampler's place and an epoch's odd end count.
ARGS = [
    "--stage", "prep", "--prep-train-samples", "22", "--batch-size", "4", "--gradient-accumulation", "2",
    "--epochs", "4", "--lora-dropout", "0.2", "--save-steps", "2", "--no-eval",
]  # fmt: skip
N_STEPS = 12


def adapter(folder):
    return sha256_file(folder / "model" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def sft(trainer):
    return trainer("sft")


@pytest.fixture(scope="module")
def unbroken(sft, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft") / "unbroken"
    done = sft.run(*ARGS, "--output-dir", folder, "--report-to", "tensorboard")
    assert done.returncode == 0, done.stderr
    assert read_manifest(folder).metrics["steps"] == N_STEPS
    return folder, done


def test_a_run_killed_at_a_random_step_ends_with_the_same_adapter(sft, unbroken, tmp_path):
    folder = tmp_path / "killed"
    sft.kill([random.randint(3, N_STEPS - 2)], folder, *ARGS)
    sft.finish(folder, *ARGS)
    assert adapter(folder) == adapter(unbroken[0])


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_same_adapter(sft, unbroken, tmp_path):
    # Checkpoints are of every second step: each kill is some steps after the one that it resumes from.
    folder, steps = tmp_path / "killed", sorted(random.sample(range(1, N_STEPS), 5))
    sft.kill(steps, folder, *ARGS)
    sft.finish(folder, *ARGS)
    assert adapter(folder) == adapter(unbroken[0]), f"killed at {steps}"


def test_sigterm_saves_the_step_and_a_torn_checkpoint_falls_back(sft, unbroken, tmp_path):
    folder = tmp_path / "stopped"
    process = sft.stopped_at(5, folder, *ARGS, number=signal.SIGTERM)
    said = process.stderr.read()
    assert process.wait() == 3, said
    assert "SIGTERM: finishing this step and writing a checkpoint" in said
    assert "is saved, run the same command again to resume from there" in said
    checkpoints = (tmp_path / "stopped.partial/checkpoints").glob("checkpoint-*")
    newest = max(checkpoints, key=lambda path: int(path.name.split("-")[1]))
    assert int(newest.name.split("-")[1]) >= 5
    optimizer = newest / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:-100])
    done = sft.run(*ARGS, "--output-dir", folder)
    assert done.returncode == 0, done.stderr
    assert f"{newest.name}: this checkpoint is torn (optimizer.pt is not as long as it was written)" in done.stderr
    assert adapter(folder) == adapter(unbroken[0])


def test_a_second_signal_stops_at_once(sft, tmp_path):
    folder = tmp_path / "stopped"
    process = sft.stopped_at(2, folder, *ARGS, "--epochs", "400", number=signal.SIGINT)
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait() == 3
    # The first may have ended the run before the second came.
    assert "stopped at once by a second SIGINT" in said or "is saved, run the same command again" in said


def test_a_container_s_first_process_stops_in_order(sft, tmp_path):
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("a process namespace of one's own needs root")
    process = sft.stopped_at(2, tmp_path / "pid1", *ARGS, number=signal.SIGTERM, before=unshare)
    said = process.stderr.read()
    assert process.wait() == 3, said
    assert "stopped by SIGTERM; step" in said


def test_a_signal_during_evaluation_keeps_the_draft(sft, tmp_path):
    folder = tmp_path / "stopped"
    words = [
        *sft.start,
        *(word for word in ARGS if word != "--no-eval"),
        "--eval",
        "--eval-before",
        "--output-dir",
        str(folder),
    ]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "rows read" in line:
            break
    sft.wait(lambda: (tmp_path / "stopped.partial/draft.json").exists(), process)
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait() == 3, said
    assert "stopped by SIGINT; what is finished is kept, run the same command again to resume" in said
    assert (tmp_path / "stopped.partial/draft.json").exists()


def test_a_loss_that_is_not_a_number_stops_the_run(sft, tmp_path):
    done = sft.run(*ARGS, "--learning-rate", "1e30", "--output-dir", tmp_path / "nan")
    assert done.returncode == 3, done.stderr
    assert "is not a finite number, and the step was not made; start over with --resume never" in done.stderr
    assert "Traceback" not in done.stderr


OUT_OF_MEMORY = f"""
import resource, sys
import torch, trl, peft, tools_sft.train
from tools_sft.cli import main
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * {resource.getpagesize()} + int(sys.argv.pop(1)) * 2**20,) * 2)
main()
"""


def test_out_of_memory_names_the_flags_and_goes_on_with_them(sft, tmp_path):
    folder = tmp_path / "oom"
    args = ["--stage", "prep", "--prep-train-samples", "256", "--epochs", "1", "--no-eval"]
    args += ["--output-dir", str(folder)]
    words = [sys.executable, "-c", OUT_OF_MEMORY, "400", *args, "--batch-size", "256"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "out of memory: lower --batch-size (now 256) and raise --gradient-accumulation (now 1)" in done.stderr
    done = sft.run(*args, "--batch-size", "32", "--gradient-accumulation", "8")
    assert done.returncode == 0, done.stderr


def test_tensorboard_has_the_steps_of_metrics(unbroken):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = event_accumulator.EventAccumulator(str(unbroken[0] / "tensorboard"))
    events.Reload()
    shown = {event.step: event.value for event in events.Scalars("train/loss")}
    logged = {row["step"]: row["loss"] for row in read_metrics(unbroken[0])}
    assert shown == pytest.approx(logged)


def test_a_tracker_that_is_not_installed_names_its_extra(sft, tmp_path):
    missing = next((name for name in ("mlflow", "trackio", "wandb") if importlib.util.find_spec(name) is None), None)
    if missing is None:
        pytest.skip("all trackers are installed here")
    done = sft.run(*ARGS, "--report-to", missing, "--output-dir", tmp_path / "out")
    assert done.returncode == 1
    assert f"pip install 'tools-shared[{missing}]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_memory_to_expect_and_the_time_left_are_said(unbroken):
    assert unbroken[1].stderr.index("memory to expect: ") < unbroken[1].stderr.index("step 1/12")
    assert "  left " in unbroken[1].stderr


@pytest.mark.parametrize("flag", ["--load-in-4bit", "--liger", "--attention=flash_attention_2"])
def test_what_needs_a_gpu_is_refused_on_a_cpu(sft, tmp_path, flag):
    done = sft.run(*ARGS, flag, "--device", "cpu", "--output-dir", tmp_path / "out")
    assert done.returncode == 1
    assert f"{flag.replace('=', ' ')} needs a GPU, and this run is on the CPU" in done.stderr


def test_a_dry_run_shows_what_training_will_do_and_leaves_nothing(sft, unbroken, tmp_path):
    done = sft.run(*ARGS, "--dry-run", "--output-dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "lora_dropout: 0.2" in done.stdout
    assert "<|im_start|>assistant\n⟦<start_working_out>" in done.stdout
    assert "6 batches of 4 an epoch, 2 to an optimiser step; 12 steps" in done.stdout
    assert list(tmp_path.iterdir()) == []
    tokens = read_manifest(unbroken[0]).metrics["train_tokens"]
    assert f"22 examples of {tokens} tokens" in done.stdout


def test_precision_is_another_name_of_dtype(sft):
    done = sft.run(*ARGS, "--dry-run", "--precision", "bf16")
    assert "\ndtype: bf16\n" in done.stdout
    assert "\nprecision:" not in done.stdout
