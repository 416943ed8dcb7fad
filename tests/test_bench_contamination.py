"""What `tools-dedup run` finds is what `tools-bench run --train-data` leaves out: the two tools on the same rows."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
SUITE = Path(__file__).parents[1] / "tools/bench/src/tools_bench/requests/suites/quick_math.jsonl"
TESTS = [json.loads(line) for line in SUITE.read_text().splitlines()]
LEAKED = [TESTS[0]["question"], "  " + TESTS[1]["question"].upper(), TESTS[2]["question"] + " Show your work."]
"""What the training set holds of the test set: a copy, one with other letters and spaces, one with words added."""
NEW = ["A lorry carries 31 crates of 14 jars each. How many jars is that?", "Write 0.35 as a fraction in lowest terms."]


class Model(BaseHTTPRequestHandler):
    """Knows by heart what leaked and nothing else."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][-1]["content"]
        known = {row["question"]: row["answer"].rsplit("#### ")[-1] for row in TESTS[:3]}
        choice = {"message": {"content": f"<SOLUTION>{known.get(asked, 'none')}</SOLUTION>"}, "finish_reason": "stop"}
        raw = json.dumps({"choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args):
        pass


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def run(tool, *words):
    done = subprocess.run([str(BIN / tool), *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_accuracy_without_what_leaked(endpoint, tmp_path):
    train = tmp_path / "train.jsonl"
    rows = [{"question": question, "answer": "#### 1"} for question in [*LEAKED, *NEW]]
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    method = ["--method", "exact", "--method", "lexical", "--threshold", "0.5", "--text-key", "question"]
    clean = tmp_path / "clean.jsonl"
    run("tools-dedup", "run", "--train-path", train, "--test-path", f"quick={SUITE}", "--output-path", clean, *method)
    assert len(clean.read_text().splitlines()) == len(NEW)
    words = ["--model-name", "m", "--endpoint", endpoint, "--datasets", f"math={SUITE}", "--output-dir", tmp_path]
    run("tools-bench", "run", *words, "--train-data", tmp_path / "clean.matches.jsonl")
    results = json.loads((tmp_path / "m" / "benchmark_results.json").read_text())
    assert results["evaluations"]["math_accuracy"]["accuracy"] == pytest.approx(3 / 10)
    found = results["clean_subset"]
    assert found["contaminated_items"] == 3
    assert found["evaluations"]["math_accuracy"]["total"] == 7
    assert found["evaluations"]["math_accuracy"]["accuracy"] == 0
    assert "without the 3 items that the training data holds" in (tmp_path / "m" / "metrics.txt").read_text()
