"""`tools-bench serve-chat`: a tutor's API in front of a model's server, and what it refuses."""

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from tools_bench.requests.items import TUTOR_SYSTEM
from tools_bench.serving.chat import ChatRefusedError, prompt_of, read_request
from tools_shared.prompts import PROFILES, question_messages

COMMAND = [sys.executable, "-c", "from tools_bench.cli import main; main()"]


def reply(text):
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


def solver(path, body, number):
    """Adds up the numbers of a question, and tells tutors from solvers by the system message."""
    system, user = (message["content"] for message in body["messages"])
    total = sum(map(int, re.findall(r"\d+", user)))
    text = "What do you get first?" if "tutor" in system else f"<SOLUTION>{total}</SOLUTION>"
    return 200, reply(text), {}


@contextmanager
def service(*words):
    command = [*COMMAND, "serve-chat", "--port", "0", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line):
                threading.Thread(target=process.stderr.read, daemon=True).start()
                yield int(found[1])
                return
        raise AssertionError("".join(lines))
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0


def post(port, body, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", "/chat", raw, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_the_workflows_own_benchmark_runs_against_a_model_behind_it(serve, tmp_path):
    asked = serve(solver)
    data = tmp_path / "sums.jsonl"
    data.write_text(
        "".join(json.dumps({"question": f"{i} and {i + 5}?", "answer": str(2 * i + 5)}) + "\n" for i in range(9))
    )
    with service("--endpoint", f"{asked.url}/v1", "--model-name", "reasoner") as port:
        words = [
            "--endpoint",
            f"http://127.0.0.1:{port}/chat",
            "--model-name",
            "reasoner-chat",
            "--data",
            f"math={data}",
        ]
        command = [*COMMAND, "run", *words, "--output-dir", str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        status, hint = post(port, {"question": "3 and 4?", "mode": "hint", "grade": "4", "dont_reveal_answer": True})
    results = json.loads((tmp_path / "out/reasoner-chat/benchmark_results.json").read_text())
    (accuracy,) = [task["accuracy_lenient"] for task in results["evaluations"].values() if "accuracy_lenient" in task]
    assert accuracy == 1
    assert (status, hint["response"], hint["model"]) == (200, "What do you get first?", "reasoner")
    bodies = [body for path, _, body in asked if path == "/v1/chat/completions"]
    assert len(bodies) == 10
    assert {body["model"] for body in bodies} == {"reasoner"}
    profile = PROFILES["gsm8k-tags"]
    assert bodies[0]["messages"] == [
        {"role": m.role, "content": m.content} for m in question_messages(profile, bodies[0]["messages"][1]["content"])
    ]
    assert bodies[-1]["messages"][0]["content"] == TUTOR_SYSTEM["hint"].format(grade="4")


def test_what_is_wrong_is_refused_and_what_fails_behind_it_is_told(serve):
    stalled = threading.Event()

    def server(path, body, number):
        question = body["messages"][-1]["content"]
        if question == "stall":
            stalled.wait(20)
        if question == "break":
            return 500, {"error": {"message": "out of memory"}}, {}
        return 200, {"no": "choices"} if question == "odd" else reply("7"), {}

    asked = serve(server)
    words = [
        "--endpoint",
        f"{asked.url}/v1",
        "--model-name",
        "m",
        "--max-body-kb",
        4,
        "--timeout",
        1,
        "--concurrency",
        1,
    ]
    with service(*words) as port:
        assert post(port, {"question": "x"})[1]["response"] == "7"
        assert post(port, {"question": "x" * 5000})[0] == 413
        assert post(port, b"{")[0] == 400
        assert post(port, b"[" * 3000)[0] == 400
        assert post(port, {"question": "x"}, **{"Content-Type": "text/plain"})[0] == 415
        assert post(port, {"question": "x"}, Host="evil.example")[0] == 421
        assert post(port, {"question": "x"}, Origin="http://evil.example")[0] == 403
        assert post(port, {"question": "break"})[0] == 502
        assert post(port, {"question": "odd"})[0] == 502
        slow = threading.Thread(target=post, args=(port, {"question": "stall"}))
        slow.start()
        while "stall" not in [body["messages"][-1]["content"] for _, _, body in asked]:
            pass
        assert post(port, {"question": "x"})[0] == 503
        slow.join()
        assert post(port, {"question": "x"})[0] == 200
        stalled.set()


def test_the_server_must_say_which_model_is_meant():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    done = subprocess.run([*COMMAND, "serve-chat", "--endpoint", address], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not say which model it serves, or serves several; give --model-name" in done.stderr


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"mode": "hint"}, "question"),
        ({"question": "  "}, "question"),
        ({"question": 7}, "question"),
        (["question"], "question"),
        ({"question": "x", "mode": "solve"}, "hint, check_step, explain"),
        ({"question": "x", "grade": True}, "'grade' is bool"),
        ({"question": "x", "grade": [6]}, "'grade' is list"),
        ({"question": "x", "dont_reveal_answer": "yes"}, "'dont_reveal_answer' is str"),
        ({"question": "x", "attempt": {}}, "'attempt' is dict"),
    ],
)
def test_a_request_of_another_form_is_named(body, why):
    with pytest.raises(ChatRefusedError, match=why) as caught:
        read_request(json.dumps(body).encode())
    assert caught.value.status == 400


@pytest.mark.parametrize("mode", ["hint", "check_step", "explain"])
def test_the_answer_is_guarded_where_that_is_asked_for(mode):
    asked = {"question": "12 / 3?", "mode": mode, "grade": 4, "attempt": "I got 3.", "dont_reveal_answer": True}
    system, user = prompt_of(read_request(json.dumps(asked).encode()), PROFILES["think"])
    assert "Do not state the final answer." in system.content
    assert "grade 4" in system.content
    assert "I got 3." in user.content
