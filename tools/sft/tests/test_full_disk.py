"""A disk that fills up while a checkpoint is saved: exit 3, the last whole checkpoint stays, the run goes on later."""

import subprocess
import sys

from tools_shared.runs import read_manifest

ARGS = [
    "--stage", "prep", "--prep-train-samples", "24", "--epochs", "1", "--batch-size", "4",
    "--no-eval", "--save-steps", "2",
]  # fmt: skip
DISK = "3m"
"""Room for one checkpoint, not for two."""


def run(folder):
    command = [
        sys.executable,
        "-c",
        "from tools_sft.cli import main; main()",
        *ARGS,
        "--output-dir",
        str(folder / "run"),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_full_disk_is_exit_3_and_the_run_goes_on_when_there_is_room(small_disk):
    done = run(small_disk)
    assert done.returncode == 3, done.stderr
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (small_disk / "run").exists()
    kept = list(small_disk.glob("run.partial/checkpoints/*/checkpoint.whole"))
    assert kept
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    done = run(small_disk)
    assert done.returncode == 0, done.stderr
    assert read_manifest(small_disk / "run").data["sessions"][1]["from_step"] >= 2
