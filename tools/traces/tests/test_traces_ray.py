"""A real local Ray of two workers: the rows of one process, whoever is killed."""

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tools_traces.attempts.journal import FILE

from .conftest import result
from .conftest import run as drawn

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

RAY = {"engine": "ray", "ray_workers": 2}


def run(folder, plain, **options):
    """Enough rows for two workers."""
    return drawn(folder, plain, data="demo://problems?split=train&size=48", max_attempts=3, **options)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, plain):
    folder = tmp_path_factory.mktemp("alone") / "run"
    run(folder, plain)
    return folder


def test_two_workers_write_the_rows_of_one_process(alone, tmp_path, plain):
    run(tmp_path / "run", plain, **RAY)
    assert result(tmp_path / "run") == result(alone)


def busy_workers():
    """Our own processes that sample: loading a model and sampling takes processor seconds, waiting none."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::MapWorker"):
                found += [process] if process.cpu_times().user > 2 else []
    return found


def test_a_worker_killed_while_it_draws_loses_nothing(alone, tmp_path, plain):
    """kill -9 as soon as a worker is inside its part: nothing of it has come back yet."""
    killed, is_over = [], threading.Event()

    def kill_one():
        while not killed and not is_over.wait(0.05):
            for worker in busy_workers()[:1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.kill()
                    killed.append(worker.pid)

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        run(tmp_path / "run", plain, **RAY)
    finally:
        is_over.set()  # else it would kill a worker of the next test
        killer.join()
    assert killed
    assert result(tmp_path / "run") == result(alone)


def test_a_journal_goes_on_with_ray_and_without(alone, tmp_path, plain):
    """Half of one process's attempts, some questions half done: workers sample what is missing."""
    partial = tmp_path / "run.partial"
    partial.mkdir()
    identity = json.loads((alone / "run.json").read_text())["identity"]
    state = {"identity": identity, "run_id": "x", "sessions": [], "inputs": {}}
    (partial / "draft.json").write_text(json.dumps(state))
    lines = (alone / FILE).read_bytes().splitlines(keepends=True)
    (partial / FILE).write_bytes(b"".join(lines[: len(lines) // 2]))
    run(tmp_path / "run", plain, **RAY)
    assert result(tmp_path / "run") == result(alone)


def test_what_is_wrong_is_told_in_a_line(tmp_path, plain):
    command = [
        Path(sys.executable).with_name("tools-traces"), "--model", "demo", "--engine", "ray", "--profile", plain,
        "--num-samples", "2", "--max-new-tokens", "100000", "--output-dir", str(tmp_path / "run"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "exceeds the model's" in done.stderr
    assert "Traceback" not in done.stderr
