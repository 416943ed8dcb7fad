"""A disk that fills up while attempts are written: exit 3, the journal whole, and the run goes on later."""

import json
import subprocess
import sys

from tools_traces.attempts.journal import FILE, read_attempts

ARGS = [
    "--model", "demo", "--data", "demo://problems?split=train&size=400", "--max-attempts", "3",
    "--max-new-tokens", "48", "--batch-size", "64", "--token-ids",
]  # fmt: skip
DISK = "160k"
"""Room for a part of the journal."""


def run(folder, plain):
    command = [sys.executable, "-c", "from tools_traces.cli import main; main()", *ARGS, "--profile", plain]
    command += ["--output-dir", str(folder / "run")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_full_disk_is_exit_3_the_journal_is_whole_and_the_run_goes_on(small_disk, tmp_path, plain):
    done = run(small_disk, plain)
    assert done.returncode == 3, done.stderr
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (small_disk / "run").exists()
    kept = read_attempts(small_disk / "run.partial" / FILE)  # cuts the torn line off, as a resumed run does
    assert len(kept) > 50

    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    done = run(small_disk, plain)
    assert done.returncode == 0, done.stderr
    assert f"{len(kept)} attempts are in the journal" in done.stderr
    whole = read_attempts(small_disk / "run" / FILE)
    assert {key: whole[key] for key in kept} == kept

    assert run(tmp_path, plain).returncode == 0
    for name in ("traces.jsonl", "debug"):
        assert contents(small_disk / "run" / name) == contents(tmp_path / "run" / name)


def contents(path):
    """The rows, or what the debug files hold: their names carry the time."""
    if path.is_dir():
        return sorted(file.read_text() for file in path.iterdir())
    return [json.loads(line) for line in path.read_text().splitlines()]
