import contextlib
import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from tools_scorer.config.scorer import ScoreConfig, ServeConfig, TrainConfig
from tools_scorer.score import score
from tools_scorer.serve import serve
from tools_scorer.states.folder import open_hidden
from tools_scorer.train import train
from tools_shared.cli import Invocation
from tools_shared.errors import ToolError
from tools_shared.scorers.scorer import load_scorer, summarize

HERE = Invocation("tools-scorer", "0.1.0")


@pytest.fixture
def trained(tmp_path, make_hidden):
    data = make_hidden(tmp_path / "h", signal=1.0)
    train(TrainConfig(data=str(data), output_dir=str(tmp_path / "run"), config_name="linear", epochs=2), HERE)
    return tmp_path / "run", data


def test_scores_of_states_are_those_of_the_scorer(trained, tmp_path):
    run, data = trained
    result = score(ScoreConfig(scorer=str(run), data=str(data), output_file=str(tmp_path / "s.jsonl")))
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert result["n_scored"] == len(rows) == 360
    trace, positions, states = next(iter(open_hidden(data)))
    expected = load_scorer(run).probabilities(states)
    assert rows[0]["trace_id"] == trace.trace_id
    assert rows[0]["steps"] == pytest.approx(expected, abs=1e-6)
    assert rows[0]["score"] == pytest.approx(summarize(expected).to_json(), abs=1e-6)
    assert rows[0]["ends"] == [p + 1 - trace.prompt_len for p in positions.tolist()]


def test_scores_never_replace_what_is_read(trained, tmp_path):
    run, data = trained
    rows = tmp_path / "t.jsonl"
    rows.write_text('{"question": "1+1?", "response": "2"}\n')
    for given, output in ((rows, rows), (data, data / "manifest.json"), (tmp_path / "*.jsonl", rows)):
        before = output.read_bytes()
        with pytest.raises(ToolError, match="is an input too"):
            score(ScoreConfig(scorer=str(run), data=str(given), output_file=str(output)))
        assert output.read_bytes() == before


def test_scores_take_nobody_elses_place(trained, tmp_path):
    run, data = trained
    output = tmp_path / "scores.jsonl"
    output.write_text("precious")
    words = {"scorer": str(run), "data": str(data), "output_file": str(output)}
    with pytest.raises(ToolError, match="is there, and not as tools-scorer score wrote it"):
        score(ScoreConfig(**words))
    assert output.read_text() == "precious"
    score(ScoreConfig(**words, overwrite=True))
    assert next(tmp_path.glob(".scores.jsonl.*.replaced")).read_text() == "precious"
    assert score(ScoreConfig(**words))["n_scored"]


def test_a_trace_in_one_number():
    found = summarize([0.2, 0.8, 0.5])
    assert (found.mean, found.last, found.min) == (pytest.approx(0.5), 0.5, 0.2)
    assert found.ema == pytest.approx(0.2 + 0.3 * 0.6 + 0.3 * (0.5 - 0.38))


def test_text_of_another_model_is_refused(trained, tmp_path):
    rows = tmp_path / "t.jsonl"
    rows.write_text('{"question": "1+1?", "response": "2"}\n')
    with pytest.raises(ToolError, match="other weights .*made-up"):
        score(ScoreConfig(scorer=str(trained[0]), data=str(rows), model="demo", output_file=str(tmp_path / "s")))


@pytest.fixture
def client(trained):
    pytest.importorskip("starlette")
    from starlette.testclient import TestClient

    from tools_scorer.serve import application

    return TestClient(application(ServeConfig(scorer=str(trained[0]), text=False, max_body_mb=0.05, max_traces=3)))


def test_health_tells_what_is_loaded(client):
    told = client.get("/health").json()
    assert (told["status"], told["hidden_size"], told["layers"]) == ("ok", 24, [2])


def test_states_are_scored_over_http(client, trained):
    _, _, states = next(iter(open_hidden(trained[1])))
    told = client.post("/score", json={"traces": [{"states": states.tolist()}]}).json()
    assert told["scores"][0]["steps"] == pytest.approx(load_scorer(trained[0]).probabilities(states), abs=1e-5)


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"{", 400, "not valid JSON"),
        (b"[" * 20000, 400, "not valid JSON"),
        (b'{"traces": []}', 400, "send"),
        (b'{"traces": [{}, {}, {}, {}]}', 413, "more than 3"),
        (b'{"traces": [{"question": "a", "response": "b"}]}', 400, "--no-text"),
        (b'{"traces": [{"states": [[[1.0]]]}]}', 400, r"the scorer reads \[n_steps, 1, 24\]"),
        (b'{"traces": [{"states": [[["x"]]]}]}', 400, "states are numbers"),
        (b'{"traces": [{"states": [[[%s]]]}]}' % b",".join([b"NaN"] * 24), 400, "NaN or infinite"),
        (b" " * 100_000, 413, "larger than"),
    ],
)
def test_what_is_wrong_is_refused_with_a_reason(client, body, status, why):
    answer = client.post("/score", content=body)
    assert answer.status_code == status
    assert re.search(why, answer.json()["error"])


def test_a_port_that_is_taken_is_said_before_anything_is_loaded():
    pytest.importorskip("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ToolError, match=f"--port {port}: cannot listen there"):
            serve(ServeConfig(scorer="nowhere", port=port))


def test_a_server_ends_in_order_when_it_is_stopped(trained):
    pytest.importorskip("uvicorn")
    command = [
        sys.executable,
        "-c",
        "from tools_scorer.cli import main; main()",
        "serve",
        "--scorer",
        str(trained[0]),
        "--no-text",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        address = server.stderr.readline().split()[2]
        with urllib.request.urlopen(f"{address}/health", timeout=120) as reply:
            assert json.load(reply)["status"] == "ok"
        server.send_signal(signal.SIGTERM)
        assert server.stderr.read() == ""
    assert server.returncode == 0


@pytest.fixture
def served(trained):
    """A real server on loopback: its port, and its process."""
    pytest.importorskip("uvicorn")
    start = [sys.executable, "-c", "from tools_scorer.cli import main; main()", "serve", "--no-text", "--port", "0"]
    more = ["--scorer", str(trained[0]), "--api-key-env", "SCORER_KEY", "--allowed-host", "scorer.internal"]
    environment = {**os.environ, "SCORER_KEY": "sesame"}
    with subprocess.Popen([*start, *more], stderr=subprocess.PIPE, text=True, env=environment) as server:
        yield int(server.stderr.readline().split()[2].rpartition(":")[2]), server
        server.kill()


def ask(port, path="/score", method="POST", body=b"{}", **headers):
    """The status of one answer, and the seconds that it took."""
    given = {"Host": f"127.0.0.1:{port}", "Authorization": "Bearer sesame", "Content-Type": "application/json"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {**given, "Content-Length": str(len(body))}.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(body)
    with contextlib.closing(connection):
        return connection.getresponse().status, time.monotonic() - began


def test_who_may_ask_and_in_what_form(served):
    port, _ = served
    assert ask(port)[0] == 400  # heard, and refused for its content
    for host in ("scorer.internal", "LOCALHOST:1", "[::1]:80", "10.0.0.7"):
        assert ask(port, Host=host)[0] == 400
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "", "127.0.0.1.evil.example"):
        assert ask(port, Host=host)[0] == 421
    for key in (None, "Bearer", "Bearer wrong", "sesame", "Bearer sesame\xe9".encode("latin-1")):
        assert ask(port, Authorization=key)[0] == 401
    assert ask(port, "/health", "GET", b"", Authorization=None)[0] == 200
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert ask(port, Content_Type=kind)[0] == 415
    for kind in ("application/json; charset=utf-8", "application/vnd.x+json", None):
        assert ask(port, Content_Type=kind)[0] == 400
    assert ask(port, Origin="http://evil.example")[0] == 403
    assert ask(port, Origin=f"http://127.0.0.1:{port}")[0] == 400


def test_500_slow_clients_keep_nobody_waiting_and_those_who_leave_make_no_noise(served):
    port, server = served
    begins = (
        b"",
        b"POST /sc",
        b"POST /score HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /score HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sesame\r\nContent-Length: 900\r\n\r\n{ ",
    )
    slow = []
    for number in range(500):
        client = socket.create_connection(("127.0.0.1", port), timeout=30)
        client.sendall(begins[number % len(begins)])
        slow.append(client)
        if number % 50 == 0:
            assert ask(port)[0] == 400
    statuses, seconds = zip(*(ask(port) for _ in range(10)), strict=True)
    assert set(statuses) == {400}
    assert statistics.median(seconds) < 1
    for client in slow:
        client.close()
    assert ask(port)[0] == 400
    server.send_signal(signal.SIGTERM)
    assert server.stderr.read() == ""


def test_a_slow_header_and_a_slow_body_have_a_time_limit(trained, monkeypatch):
    pytest.importorskip("uvicorn")
    import uvicorn

    from tools_scorer import serve as serving
    from tools_scorer.serving.connections import protocol

    monkeypatch.setattr(serving, "BODY_SECONDS", 0.3)
    app = serving.application(ServeConfig(scorer=str(trained[0]), text=False))
    server = uvicorn.Server(uvicorn.Config(app, http=protocol(8, seconds=0.3), log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        answers = []
        for rest in (b"", b"\r\nContent-Length: 9\r\n\r\n{"):
            with socket.create_connection(listener.getsockname(), timeout=60) as client:
                client.sendall(b"POST /score HTTP/1.1\r\nHost: a" + rest)
                with contextlib.suppress(ConnectionResetError):
                    answers.append(client.recv(1000))
        server.should_exit = True
        thread.join(30)
    assert answers[-1].startswith(b"HTTP/1.1 408")
    assert b"".join(answers[:-1]) == b""
