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


LIKES = """
def level(prompts, completions, weight, **columns):
    return [float(len(text) % 5 + number > 4) for text, number in zip(completions, weight)]
"""


def test_a_reward_accepts_in_the_workers_what_it_accepts_in_one_process(tmp_path, plain, monkeypatch):
    """The reward's file is named from here and the row's columns reach it there."""
    rows = [{"question": f"Add {n} and {n + 2}.", "weight": n % 4} for n in range(24)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.py").write_text(LIKES)
    monkeypatch.chdir(tmp_path)
    options = {"data": "rows.jsonl", "max_attempts": 3, "accept": "mine.py:level>=1", "max_new_tokens": 24}

    drawn(tmp_path / "alone", plain, **options)
    drawn(tmp_path / "run", plain, **options, **RAY)

    assert result(tmp_path / "run") == result(tmp_path / "alone")
    verdicts = {json.loads(line)["verdict"] for line in (tmp_path / "run" / FILE).read_text().splitlines()}
    assert verdicts == {"accepted", "declined"}


def test_a_judge_in_the_workers_costs_what_its_server_counted(serve, tmp_path, plain, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = [{"prompt": f"Name {n} trees."} for n in range(12)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def answer(path, body, number):
        message = {"message": {"content": json.dumps({"score": number % 7})}, "finish_reason": "stop"}
        return 200, {"choices": [message], "usage": {"prompt_tokens": 30 + number, "completion_tokens": 4}}, {}

    server = serve(answer)
    judge = {"endpoint": server.url, "model": "j", "cache": False, "price_in": 10, "budget": 1}
    (tmp_path / "r.yaml").write_text(json.dumps({"score": [0, 6], "judge": judge}))
    monkeypatch.chdir(tmp_path)

    drawn(
        tmp_path / "run", plain, data="rows.jsonl", max_attempts=2, max_new_tokens=8, accept="judge:r.yaml>=0.5", **RAY
    )

    spent = json.loads((tmp_path / "run" / "judge-r.json").read_text())
    assert spent["n_asked"] == len(server) >= 12
    assert spent["tokens_in"] == sum(30 + n for n in range(1, len(server) + 1)) or spent["tokens_in"] == sum(
        30 + n for n in range(len(server))
    )
