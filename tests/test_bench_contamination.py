"""What `tools-dedup run` finds is what `tools-bench run --train-data` leaves out: the two tools on the same rows."""

import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import tools_shared.demo
from tools_shared.cli import Invocation
from tools_shared.files import sha256_file
from tools_shared.runs import RunConfig, draft, read_manifest

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


def test_training_rows_are_checked_without_a_run_of_dedup(endpoint, tmp_path):
    """Rows of any layout: a conversation that quotes an item is found too; the table says what was checked."""
    train = tmp_path / "train.jsonl"
    quoted = f"My son's homework says: {TESTS[3]['question']} How would you explain that to a child of ten?"
    chat = {"messages": [{"role": "user", "content": quoted}, {"role": "assistant", "content": "Draw it."}]}
    rows = [{"question": TESTS[0]["question"], "answer": "#### 1"}, chat, {"question": NEW[0], "answer": "#### 434"}]
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--endpoint", endpoint, "--datasets", f"math={SUITE}", "--output-dir", tmp_path]
    run("tools-bench", "run", *words, "--model-name", "checked", "--train-data", train)
    results = json.loads((tmp_path / "checked" / "benchmark_results.json").read_text())
    assert results["contamination"] == {"math": {"status": "removed", "removed": 2}}
    assert results["clean_subset"]["contaminated_items"] == 2
    assert "contamination: math 2 items removed" in (tmp_path / "checked" / "metrics.txt").read_text()
    train.write_text(json.dumps({"question": NEW[0], "answer": "#### 434"}) + "\n")
    run("tools-bench", "run", *words, "--model-name", "clean", "--train-data", train)
    assert "contamination: math clean" in (tmp_path / "clean" / "metrics.txt").read_text()
    run("tools-bench", "run", *words, "--model-name", "unknown")
    assert "contamination (--train-data checks it): math not checked" in (tmp_path / "unknown/metrics.txt").read_text()


def test_the_training_data_of_a_lineage(endpoint, tmp_path):
    """A model that was trained twice: the rows of both runs are looked at."""
    demo = Path(tools_shared.demo.__file__).parent / "model"
    parent = None
    for name, question in (("first", TESTS[0]["question"]), ("second", TESTS[1]["question"])):
        data = tmp_path / f"{name}.jsonl"
        data.write_text(json.dumps({"question": question, "answer": "#### 1"}) + "\n")
        with draft(tmp_path / name, RunConfig(), Invocation("tools-sft", "0"), "sft") as made:
            if parent is not None:
                made.add_input("base_model", str(parent), "0" * 64, run_sha256=read_manifest(parent).sha256)
            made.add_input("train", str(data), sha256_file(data))
            shutil.copytree(demo, made.path / "model")
            made.finish({}, seed=0, profile="gsm8k-tags")
        parent = tmp_path / name
    words = ["--model", parent, "--datasets", f"math={SUITE}", "--output-dir", tmp_path, "--max-new-tokens", 4]
    run("tools-bench", "run", *words, "--train-data", "lineage", "--model-name", "m")
    results = json.loads((tmp_path / "m" / "benchmark_results.json").read_text())
    assert results["contamination"] == {"math": {"status": "removed", "removed": 2}}
    assert {key[1] for key in results["clean_subset"]["contaminated"]} == {"math-1", "math-2"}
