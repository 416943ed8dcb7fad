"""The first command of a stranger: their file and a server, or two runs to compare, and nothing else."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_shared.engines.http.served import models_url

CAPITALS = {"Peru": "Lima", "Kenya": "Nairobi", "Norway": "Oslo", "Chile": "Santiago"}


def bench(*words):
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


class Server(ThreadingHTTPServer):
    """Has models, and answers every question about a capital; `seen` are the bodies."""

    daemon_threads = True

    def __init__(self, models):
        self.models, self.seen = models, []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def reply(self, content):
        raw = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self):
        assert self.path == "/v1/models"
        self.reply({"object": "list", "data": [{"id": name} for name in self.server.models]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append(body)
        asked = body["messages"][-1]["content"]
        said = next((capital for land, capital in CAPITALS.items() if land in asked), "42")
        self.reply({"choices": [{"message": {"content": f"It is \\boxed{{{said}}}."}, "finish_reason": "stop"}]})

    def log_message(self, *args):
        pass


@pytest.fixture
def server(request):
    started = Server(getattr(request, "param", ["acme/small-1b"]))
    threading.Thread(target=started.serve_forever, daemon=True).start()
    yield started
    started.shutdown()
    started.server_close()


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


CAPITAL_ROWS = [
    {"question": f"What is the capital of {land}?", "answer": capital} for land, capital in CAPITALS.items()
]


def test_a_file_and_a_server_are_enough(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "capitals.jsonl", CAPITAL_ROWS)
    done = bench("run", "capitals.jsonl", "--endpoint", server.url)
    assert done.exit_code == 0, done.output
    assert "capitals.jsonl: its rows are of kind match" in done.output
    assert "--model-name acme/small-1b: the one model" in done.output
    assert {body["model"] for body in server.seen} == {"acme/small-1b"}
    results = json.loads((tmp_path / "outputs/benchmarks/acme_small-1b/benchmark_results.json").read_text())
    assert results["evaluations"]["text_match"]["match"] == 1
    assert "already finished" in bench("run", "capitals.jsonl", "--endpoint", server.url).output


@pytest.mark.parametrize("server", [["a", "b"]], indirect=True)
def test_of_several_models_one_has_to_be_named(server, tmp_path):
    done = bench("run", write(tmp_path / "c.jsonl", CAPITAL_ROWS), "--endpoint", server.url, "--output-dir", tmp_path)
    assert done.exit_code == 1
    assert "--model-name is missing" in done.output
    assert "it has a, b" in done.output
    assert server.seen == []


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([{"question": "Name the painter.", "answers": ["Frida Kahlo", "Kahlo"]}], "match"),
        ([{"question": "Is salt a metal?", "answer": "no"}], "match"),
        ([{"question": "2+2?", "answer": "4"}], "math"),
        ([{"question": "Solve.", "answer": "x"}], "math"),
        ([{"question": "Solve.", "answer": "\\frac{1}{2}"}], "math"),
        ([{"problem": "Solve.", "solution": "So \\boxed{3}."}], "math"),
        ([{"question": "Add.", "answer": "1+1=2\n#### 2"}], "math"),
        ([{"question": "Which?", "choices": ["tin", "lead"], "answer": 0}], "choice"),
        ([{"prompt": "Write.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}], "instructions"),
        ([{"prompt": "How do I pick a lock?", "label": "unsafe"}], "safety"),
        ([{"question": "2+2?", "answer": "4", "mode": "hint"}], "tutor"),
    ],
)
def test_the_rows_tell_the_kind(tmp_path, rows, kind):
    data = write(tmp_path / "mine.jsonl", rows)
    done = bench("run", data, "--model-name", "m", "--endpoint", "http://127.0.0.1:9", "--dry-run")
    assert done.exit_code == 0, done.output
    assert f"its rows are of kind {kind};" in done.output


@pytest.mark.parametrize(
    ("url", "models"),
    [
        ("http://h/v1/chat/completions?k=1", "http://h/v1/models?k=1"),
        ("http://h/v1/completions", "http://h/v1/models"),
        ("http://h:11434/api/chat", "http://h:11434/api/tags"),
    ],
)
def test_where_a_server_lists_its_models(url, models):
    assert models_url(url) == models


SUMS = [{"question": f"What is {n} + 40?", "answer": str(n + 40)} for n in range(6)]


def test_comparisons_stand_beside_the_runs_and_can_be_made_again(server, tmp_path):
    data = write(tmp_path / "sums.jsonl", SUMS)
    for name in ("one", "two", "three"):
        words = ["--model-name", name, "--output-dir", tmp_path / "b"]
        assert bench("run", data, "--endpoint", server.url, *words).exit_code == 0
    folder = tmp_path / "b"
    for _ in range(2):
        assert bench("compare", folder / "one", folder / "two").exit_code == 0
        assert bench("compare", folder / "one", folder / "three").exit_code == 0
        assert bench("compare", folder / "one", folder / "two", "--margin", 5).exit_code == 0
    made = sorted(path.name for path in folder.glob("compare-*"))
    assert made == ["compare-one-three", "compare-one-two"]
    again = ["--model-name", "two", "--output-dir", folder, "--overwrite", "--max-new-tokens", 64]
    assert bench("run", data, "--endpoint", server.url, *again).exit_code == 0
    changed = bench("compare", folder / "one", folder / "two")
    assert changed.exit_code == 1
    assert "max_new_tokens is 1024 in baseline and 64 in current" in changed.output


def test_an_evaluation_is_compared_with_a_benchmark_run(server, tmp_path):
    """The same problems under other ids, asked with the same prompt: paired by their words."""
    data = write(tmp_path / "sums.jsonl", SUMS)
    other = write(tmp_path / "other.jsonl", [{"id": f"x{i}", **row} for i, row in enumerate(SUMS)])
    run = ["--model-name", "m", "--output-dir", tmp_path / "b", "--max-new-tokens", 512]
    assert bench("run", data, "--endpoint", server.url, *run).exit_code == 0
    served = ["--engine", "http", "--endpoint", server.url, "--model-name", "m"]
    done = bench("evaluate", "--eval-data", other, *served, "--output-dir", tmp_path / "e")
    assert done.exit_code == 0, done.output
    compared = bench("compare", tmp_path / "e", tmp_path / "b" / "m", "--output-dir", tmp_path / "c")
    assert compared.exit_code == 0, compared.output
    metrics = json.loads((tmp_path / "c" / "comparison.json").read_text())["metrics"]
    assert metrics["accuracy_lenient"]["n"] == 6
    assert metrics["accuracy_lenient"]["baseline"] == metrics["accuracy_lenient"]["current"] == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--eval-max-new-tokens", "99"], "max_new_tokens is 99 in baseline and 512 in current"),
        (["--profile", "boxed"], "the prompts of task"),
        (["--eval-samples", "4"], "the items of task"),
    ],
)
def test_an_evaluation_that_was_made_otherwise_is_refused(server, tmp_path, words, message):
    data = write(tmp_path / "sums.jsonl", SUMS)
    run = ["--model-name", "m", "--output-dir", tmp_path / "b", "--max-new-tokens", 512]
    assert bench("run", data, "--endpoint", server.url, *run).exit_code == 0
    served = ["--engine", "http", "--endpoint", server.url, "--model-name", "m"]
    assert bench("evaluate", "--eval-data", data, *served, "--output-dir", tmp_path / "e", *words).exit_code == 0
    compared = bench("compare", tmp_path / "e", tmp_path / "b" / "m", "--output-dir", tmp_path / "c")
    assert compared.exit_code == 1
    assert message in compared.output
