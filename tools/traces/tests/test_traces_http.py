"""Attempts from a server: what has come is in the journal, whatever becomes of the server."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools_shared.errors import Incomplete
from tools_shared.sources import read_problems
from tools_traces.journal import FILE, read_attempts

from .conftest import run

DATA = "demo://problems?split=train&size=24"


@pytest.fixture
def serve():
    """`serve(answer)` starts a server: `answer(number)` is the text of a reply, or None for a request that is refused;
    gives its address and the list of the request bodies."""
    servers = []

    def start(answer):
        asked, lock = [], threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                with lock:
                    asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                    number = len(asked)
                text = answer(number)
                raw = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}).encode()
                self.send_response(200 if text is not None else 403)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/v1", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def over_http(folder, plain, endpoint, **options):
    return run(
        folder, plain, data=DATA, engine="http", endpoint=endpoint, model_name="m", token_ids=False, **options
    )  # fmt: skip


def test_replies_that_came_before_a_server_failed_are_not_asked_for_again(serve, tmp_path, plain):
    endpoint, asked = serve(lambda number: None if number == 15 else "Some words. The answer is 5.")
    with pytest.raises(Incomplete, match="403"):
        over_http(tmp_path / "run", plain, endpoint, max_attempts=1, batch_size=1)
    assert len(asked) == 15
    assert len(read_attempts(tmp_path / "run.partial" / FILE)) == 14
    over_http(tmp_path / "run", plain, endpoint, max_attempts=1, batch_size=1)
    assert len(asked) == 15 + 24 - 14
    assert len(read_attempts(tmp_path / "run" / FILE)) == 24


def test_each_reply_is_in_the_journal_at_once(serve, tmp_path, plain):
    """All first attempts are one list for a server: a kill in the middle must find those that have come."""
    journal, seen = tmp_path / "run.partial" / FILE, []

    def answer(number):
        deadline = time.monotonic() + 60
        while number > 10 and not seen and time.monotonic() < deadline:
            time.sleep(0.01)
            seen.extend([1] if len(journal.read_text().splitlines()) >= 8 else [])
        return "Some words. The answer is 5."

    endpoint, _ = serve(answer)
    over_http(tmp_path / "run", plain, endpoint, max_attempts=1, batch_size=1)
    assert seen


def test_batch_size_is_how_many_requests_are_under_way(serve, tmp_path, plain):
    under_way, most, changed = [0], [0], threading.Condition()

    def answer(number):
        with changed:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
            changed.notify_all()
            changed.wait_for(lambda: most[0] >= 3, timeout=60)
        time.sleep(0.02)  # room for a fourth to come
        with changed:
            under_way[0] -= 1
        return "Some words. The answer is 5."

    endpoint, asked = serve(answer)
    over_http(tmp_path / "run", plain, endpoint, max_attempts=2, batch_size=3)
    assert most[0] == 3
    rows = [json.loads(line) for line in (tmp_path / "run" / "traces.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [problem.id for problem in read_problems(DATA).items]
    assert sum(row["n_attempts"] for row in rows) == len(asked)
