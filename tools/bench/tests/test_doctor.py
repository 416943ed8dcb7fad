"""`tools-bench doctor`: what is odd about a server is named, with the option that fixes it."""

import json

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_bench.doctor.advice import advice_on_template
from tools_shared.records import Message

RIGHT = "<start_working_out>6*35=210<end_working_out><SOLUTION>210</SOLUTION>"


def doctor(url, *words):
    return CliRunner().invoke(main, ["doctor", "--endpoint", url, *map(str, words)], catch_exceptions=False)


def said(content, reason="stop", **more):
    choice = {"message": {"content": content, **more}, "finish_reason": reason}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": 80, "completion_tokens": 20}}, {}


def server_of(serve, reply, template=None):
    def answer(path, body, number):
        if path == "/apply-template":
            return (200, {"prompt": template}, {}) if template else (404, {}, {})
        return reply(body) if path == "/v1/chat/completions" else (404, {"error": "no such path"}, {})

    return serve(answer)


def test_a_good_server_has_nothing_odd(serve):
    done = doctor(server_of(serve, lambda body: said(RIGHT)).url)
    assert done.exit_code == 0, done.output
    assert done.output.rstrip().endswith("nothing odd")
    for shown in ("request:", "How many passengers", "SOLUTION", "80 tokens in, 20 out", "it ended with stop"):
        assert shown in done.output


@pytest.mark.parametrize(
    ("reply", "remedy"),
    [
        (said("It is 6 * 35 =", "length"), "raise --max-new-tokens"),
        (said("", "stop", reasoning_content="6*35"), "enable_thinking"),
        (said(None), "the reply is empty"),
        (said(f"{RIGHT}<|im_end|>\n<|im_start|>user"), "--stop '<|im_end|>'"),
        (said(f"{RIGHT}</s>"), "--stop '</s>'"),
        (said(f"{RIGHT}\nQuestion: A train"), "--stop '\\nQuestion:'"),
        (said("The answer is 210."), "accuracy counts it as missing"),
        (said("I like ferries."), "no answer can be found"),
        (said(RIGHT, None), "does not say how the reply ended"),
        ((200, {"choices": [{"message": {"content": RIGHT}, "finish_reason": "stop"}]}, {}), "counts no tokens"),
        (
            (
                200,
                {
                    "choices": [{"message": {"content": RIGHT}, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 5, "completion_tokens": 9},
                },
                {},
            ),
            "5 prompt tokens for",
        ),
    ],
)
def test_an_odd_reply_has_a_remedy(serve, reply, remedy):
    done = doctor(server_of(serve, lambda body: reply).url, "--max-new-tokens", 64)
    assert done.exit_code == 0, done.output
    assert remedy in done.output


@pytest.mark.parametrize(
    ("reply", "remedy"),
    [
        ((401, {"error": {"message": "no key"}}, {}), "--api-key-env NAME"),
        ((404, {"error": {"message": "not found"}}, {}), "--endpoint should end with /v1"),
        ((422, {"detail": [{"loc": ["body", "min_p"], "msg": "must not be negative"}]}, {}), "--drop"),
        ((200, b"<html>hello</html>", {"Content-Type": "text/html"}), "OpenAI-compatible API"),
        ((503, {"error": {"message": "loading"}}, {}), "run again later"),
    ],
)
def test_a_failure_has_a_remedy_and_an_exit_code(serve, reply, remedy):
    done = doctor(server_of(serve, lambda body: reply).url)
    assert done.exit_code == 1
    assert remedy in done.output


def test_nobody_listens():
    done = doctor("http://127.0.0.1:9")
    assert done.exit_code == 1
    assert "start the server, or correct --endpoint" in done.output


def test_the_prompt_of_the_servers_template_is_shown(serve):
    template = "<s><s>[INST] A ferry makes 6 trips a day with 35 passengers each. How many passengers is that in a day?"
    done = doctor(server_of(serve, lambda body: said(RIGHT), template).url, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["template"] == template
    assert any("<s> twice" in sentence for sentence in found["advice"])
    assert any("leaves the system message out" in sentence for sentence in found["advice"])


def test_a_template_with_every_message_is_no_finding():
    messages = [Message("system", "Solve it."), Message("user", "2 +\n2?")]
    assert advice_on_template("<s>Solve it.\n\n2 +\n2?</s>", messages) == []


def test_what_the_server_refuses_is_left_out_and_told(serve):
    def reply(body):
        refused = (400, {"error": {"message": "Unsupported parameter: 'seed'", "param": "seed"}}, {})
        return refused if "seed" in body else said(RIGHT)

    done = doctor(server_of(serve, reply).url)
    assert done.exit_code == 0, done.output
    assert "changed by itself" in done.output
    assert "seed" in done.output
