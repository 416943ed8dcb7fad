"""Servers that misbehave, one way each: what the run makes of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_shared.engines import draw_key
from tools_shared.files import whole_lines

QUICK = ("--suite", "quick")
WELL = {"choices": [{"message": {"content": "<SOLUTION>25</SOLUTION>"}, "finish_reason": "stop"}]}


def bench(url, folder, *words):
    fast = {"--timeout": "60", "--max-retries": "1", "--max-error-rate": "1", "--ids": "math-1"}
    given = [word for name, value in fast.items() if name not in words for word in (name, value)]
    given += ["--suite", "quick"] if "--cache" in words else ["--no-cache", "--suite", "quick"]
    base = ["run", "--model-name", "m", "--endpoint", f"{url}/v1", "--output-dir", folder, *given, *words]
    return CliRunner().invoke(main, list(map(str, base)), catch_exceptions=False)


def response_of(folder):
    return json.loads((folder / "m" / "responses.jsonl").read_text().splitlines()[-1])


def hang(handler):
    time.sleep(1.5)
    handler.close_connection = True


def half_a_body(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(json.dumps(WELL).encode()[:30])
    handler.close_connection = True


def hang_up(handler):
    handler.connection.close()
    handler.close_connection = True


def slow(handler):
    raw = json.dumps(WELL).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(raw)))
    handler.end_headers()
    for i in range(0, len(raw), 20):
        handler.wfile.write(raw[i : i + 20])
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("reply", "error", "n_tries"),
    [
        (hang, "timeout", 2),
        (half_a_body, "connection", 2),
        (hang_up, "connection", 2),
        ((500, b"oh no", {}), "http", 2),
        ((200, b"{not json", {}), "invalid", 2),
        ((200, {"error": "odd"}, {}), "invalid", 1),
        ((200, {"choices": [{"message": {"content": 7}}]}, {}), "invalid", 1),
        ((404, b"no such model", {}), "http", 1),
        ((301, b"", {"Location": "http://127.0.0.1:9/"}), "http", 1),
    ],
)
def test_failures_are_told_apart(serve, tmp_path, reply, error, n_tries):
    asked = serve(lambda path, body, number: reply)
    done = bench(asked.url, tmp_path, *(["--timeout", "0.5"] if error == "timeout" else []))
    assert done.exit_code == 0, done.output
    assert response_of(tmp_path)["error"] == error
    assert len(asked) == n_tries
    results = json.loads((tmp_path / "m" / "benchmark_results.json").read_text())
    assert results["evaluations"]["math_accuracy"]["accuracy"] == 0
    assert results["outcomes"] == {f"error_{error}": 1}


def test_what_passes_is_tried_again(serve, tmp_path):
    answers = [(503, b"", {}), (200, WELL, {})]
    asked = serve(lambda path, body, number: answers[number - 1])
    assert bench(asked.url, tmp_path).exit_code == 0
    assert response_of(tmp_path)["attempts"] == 2


def test_retry_after_is_obeyed(serve, tmp_path):
    times = []

    def busy_once(path, body, number):
        times.append(time.monotonic())
        return (429, b"", {"Retry-After": "1.2"}) if number == 1 else (200, WELL, {})

    asked = serve(busy_once)
    assert bench(asked.url, tmp_path).exit_code == 0
    assert times[1] - times[0] >= 1.2


def test_a_slow_server_is_waited_for(serve, tmp_path):
    asked = serve(lambda path, body, number: slow)
    assert bench(asked.url, tmp_path).exit_code == 0
    assert response_of(tmp_path)["text"] == "<SOLUTION>25</SOLUTION>"


def test_empty_and_truncated_answers_are_outcomes(serve, tmp_path):
    def answer(path, body, number):
        cut = "A baker" in body["messages"][-1]["content"]
        reply = {"message": {"content": "7*12 is" if cut else ""}, "finish_reason": "length" if cut else "stop"}
        return 200, {"choices": [reply]}, {}

    asked = serve(answer)
    assert bench(asked.url, tmp_path, "--ids", "math-1,math-2").exit_code == 0
    outcomes = json.loads((tmp_path / "m" / "benchmark_results.json").read_text())["outcomes"]
    assert outcomes == {"truncated": 1, "empty": 1}


def test_half_an_emoji_is_kept_as_text_that_files_can_hold(serve, tmp_path):
    """Servers that cut a text in the middle of a character send half a surrogate pair."""
    raw = rb'{"choices": [{"message": {"content": "<SOLUTION>25</SOLUTION> \ud83d"}}]}'
    asked = serve(lambda path, body, number: (200, raw, {}))
    done = bench(asked.url, tmp_path, "--cache")
    assert done.exit_code == 0, done.output
    assert response_of(tmp_path)["text"] == "<SOLUTION>25</SOLUTION> \ufffd"


@pytest.mark.parametrize("key", ["sk-\nabc", "ключ"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(serve, tmp_path, monkeypatch, key):
    monkeypatch.setenv("BENCH_TEST_KEY", key)
    asked = serve(lambda path, body, number: (200, WELL, {}))
    done = bench(asked.url, tmp_path, "--api-key-env", "BENCH_TEST_KEY")
    assert done.exit_code == 1
    assert "--api-key-env BENCH_TEST_KEY: is not a key" in done.output
    assert "abc" not in done.output
    assert not asked


def test_an_address_that_cannot_be_one_is_a_sentence(tmp_path):
    done = bench("http://[half", tmp_path)
    assert done.exit_code == 1
    assert "is no address" in done.output


def test_ten_megabytes_are_graded_in_time(serve, tmp_path):
    text = "<SOLUTION>" * 300_000 + "((((1+" * 1_200_000 + " 25"
    asked = serve(lambda path, body, number: (200, {"choices": [{"message": {"content": text}}]}, {}))
    began = time.monotonic()
    assert bench(asked.url, tmp_path, "--timeout", "60").exit_code == 0
    assert time.monotonic() - began < 120  # seconds where the work grows with the text, hours where with its square


def test_tls_errors_are_not_tried_again(serve, tmp_path):
    asked = serve(lambda path, body, number: (200, WELL, {}))
    done = bench(asked.url.replace("http://", "https://"), tmp_path)
    assert done.exit_code == 0
    assert response_of(tmp_path)["error"] == "connection"
    assert not asked


def test_too_many_failures_stop_the_run(serve, tmp_path):
    asked = serve(lambda path, body, number: (401, b"bad key", {}))
    words = ["--suite", "quick", "--max-error-rate", "0.2", "--concurrency", "1"]
    base = ["run", "--model-name", "m", "--endpoint", f"{asked.url}/v1", "--output-dir", str(tmp_path), *words]
    done = CliRunner().invoke(main, base, catch_exceptions=False)
    assert done.exit_code == 3
    assert "401 bad key" in done.output
    assert len(asked) == 10
    assert not (tmp_path / "m").exists()


def test_the_key_reaches_the_server_and_no_file(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_TEST_KEY", "sk-very-secret-123")
    asked = serve(lambda path, body, number: (400, b"bad key: sk-very-secret-123", {}))
    done = bench(asked.url, tmp_path, "--api-key-env", "BENCH_TEST_KEY")
    assert asked[0][1]["Authorization"] == "Bearer sk-very-secret-123"
    assert "sk-very-secret-123" not in done.output
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert all(b"sk-very-secret-123" not in path.read_bytes() for path in files)


def test_kill_and_resume_pays_nothing_twice_and_loses_nothing(serve, tmp_path):
    def calm(path, body, number):
        time.sleep(0.1)
        return 200, WELL, {}

    asked = serve(calm)
    command = [
        Path(sys.executable).with_name("tools-bench"),
        "run",
        "--model-name",
        "m",
        "--output-dir",
        tmp_path,
        *QUICK,
    ]
    command += ["--endpoint", f"{asked.url}/v1", "--concurrency", "2", "--no-cache"]
    process = subprocess.Popen(list(map(str, command)), env=os.environ, stderr=subprocess.DEVNULL)
    journal = tmp_path / "m.partial" / "responses.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 8:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = [json.loads(line) for line in whole_lines(journal)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    n_asked = Counter(body["seed"] for _, _, body in asked)
    assert all(n_asked[draw_key(0, f"{r['task']}/{r['id']}", 0) % 2**31] == 1 for r in kept)
    assert len(asked) <= 30 + 2  # the two that were under way
    rows = [json.loads(line) for line in (tmp_path / "m" / "responses.jsonl").read_text().splitlines()]
    assert len({(r["task"], r["id"]) for r in rows}) == len(rows) == 30
