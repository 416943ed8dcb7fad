"""Grading again, and the pinned data of suites."""

import hashlib
import http.server
import json
import threading

import pytest
from click.testing import CliRunner

from tools_bench.cli import main

WELL = {"choices": [{"message": {"content": "<SOLUTION>25</SOLUTION>"}, "finish_reason": "stop"}]}


def bench(*words):
    suite = ["--suite", "quick"] if words[0] == "run" and "--suite" not in words else []
    return CliRunner().invoke(main, [*map(str, words), *suite], catch_exceptions=False)


def test_rescore_grades_what_is_stored(serve, tmp_path):
    asked = serve(lambda path, body, number: (200, WELL, {}))
    words = ["run", "--model-name", "m", "--endpoint", f"{asked.url}/v1", "--output-dir", tmp_path]
    assert bench(*words).exit_code == 0
    n = len(asked)
    done = bench("rescore", tmp_path / "m")
    assert done.exit_code == 0, done.output
    assert "no metric has changed" in done.output
    assert len(asked) == n
    before, after = (json.loads((tmp_path / d / "benchmark_results.json").read_text()) for d in ("m", "m-rescored"))
    assert after["evaluations"] == before["evaluations"]
    assert json.loads((tmp_path / "m-rescored" / "run.json").read_text())["inputs"][0]["run_sha256"]


def test_rescore_says_what_changed(serve, tmp_path, signed):
    asked = serve(lambda path, body, number: (200, WELL, {}))
    assert bench("run", "--model-name", "m", "--endpoint", f"{asked.url}/v1", "--output-dir", tmp_path).exit_code == 0
    path = tmp_path / "m" / "benchmark_results.json"
    results = json.loads(path.read_text())
    results["evaluations"]["math_accuracy"]["intervals"]["accuracy"]["estimate"] = 0.9
    path.write_text(json.dumps(results))
    refused = bench("rescore", tmp_path / "m")
    assert refused.exit_code == 1
    assert "benchmark_results.json: is not as the run in" in refused.output
    signed(tmp_path / "m")
    assert "accuracy: 90.0 % then, 10.0 % now" in bench("rescore", tmp_path / "m").output


@pytest.fixture
def pinned(tmp_path, monkeypatch):
    """A suite that pins a file on a web server of our own; returns (suite, content holder)."""
    served = {"content": b'{"question": "1+1?", "answer": "#### 2"}\n'}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(served["content"])))
            self.end_headers()
            self.wfile.write(served["content"])

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("TOOLS_BENCH_DATA_DIR", str(tmp_path / "data"))
    sha = hashlib.sha256(served["content"]).hexdigest()
    url = f"http://127.0.0.1:{server.server_address[1]}/sums.jsonl"
    suite = tmp_path / "sums.yaml"
    task = f"name: sums, kind: math, source: 'data://sums.jsonl', url: '{url}', sha256: {sha}"
    suite.write_text(f"name: sums\ntasks:\n  - {{{task}}}\n")
    yield suite, served
    server.shutdown()
    server.server_close()


def test_data_is_fetched_and_verified(pinned, tmp_path):
    suite, _ = pinned
    missing = bench("data", "verify", "--suite", suite)
    assert missing.exit_code == 1
    assert "is missing; run tools-bench data fetch" in missing.output
    assert "fetched" in bench("data", "fetch", "--suite", suite).output
    assert "as pinned" in bench("data", "verify", "--suite", suite).output
    (tmp_path / "data" / "sums.jsonl").write_text("other\n")
    words = ["--model-name", "m", "--endpoint", "http://127.0.0.1:9/v1", "--output-dir", tmp_path / "o"]
    refused = bench("run", "--suite", suite, *words)
    assert refused.exit_code == 1
    assert "is not the file that the suite pins" in refused.output


def test_another_file_is_not_stored(pinned, tmp_path):
    suite, served = pinned
    served["content"] = b"changed upstream"
    done = bench("data", "fetch", "--suite", suite)
    assert done.exit_code == 1
    assert "nothing was stored" in done.output
    assert not (tmp_path / "data" / "sums.jsonl").exists()


@pytest.mark.parametrize("name", ["quick", "standard", "comprehensive"])
def test_shipped_suites_are_whole(name):
    from tools_bench.requests.suite import load_suite

    suite = load_suite(name)
    assert {task.kind for task in suite.tasks} == {"math", "tutor", "safety"}
    assert all(task.licence for task in suite.tasks)
    assert all(task.sha256 for task in suite.tasks if task.source.startswith("data://"))
