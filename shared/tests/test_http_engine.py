"""The http engine against a real server on this machine; its faults are tested with tools-bench."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools_shared.engines import Draw, EngineConfig, SamplingParams, open_engine
from tools_shared.engines.http.address import chat_url
from tools_shared.engines.http.chat import HttpEngine, whole_text
from tools_shared.engines.http.replies import ChatReply, read_chat
from tools_shared.engines.http.reply_cache import ReplyCache
from tools_shared.engines.http.transport import Server
from tools_shared.errors import Incomplete, ToolError
from tools_shared.prompts import PROFILES, render_question


@pytest.fixture
def server():
    """A chat server that answers with the question in capitals, and 400 to the word `fail`; `.asked` are the bodies.
    What `.holds` a body is answered when `.release` is set."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            if server.holds(body):
                server.release.wait(300)
            text = body["messages"][-1]["content"].upper()
            length = body["max_tokens"] < 5
            message = {"content": text}
            if field := self.path.split("/")[1].removeprefix("v1"):  # as a server with a reasoning parser
                message = {"content": None if length else "So \\boxed{42}.", field: "6 times 7 is 42."}
            reply = {"choices": [{"message": message, "finish_reason": "length" if length else "stop"}]}
            raw = json.dumps(reply).encode()
            self.send_response(400 if text == "FAIL" else 200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.asked, server.holds, server.release = asked, lambda body: False, threading.Event()
    server.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def prompts(*questions):
    return [render_question(None, PROFILES["boxed"], question) for question in questions]


def test_completions_come_in_order_with_their_own_seeds(server):
    engine = open_engine(None, EngineConfig(engine="http", endpoint=server.url, model_name="m"))
    done = []
    drawn = engine.generate(
        prompts("one", "two"), SamplingParams(temperature=1, n=3), keys=["a", "b"], on_done=lambda i, c: done.append(i)
    )
    assert [[c.text for c in found] for found in drawn] == [["ONE"] * 3, ["TWO"] * 3]
    assert sorted(done) == [0, 1]
    assert len({body["seed"] for body in server.asked}) == 6
    assert server.asked[0]["model"] == "m"
    assert server.asked[0]["messages"][0] == {"role": "system", "content": PROFILES["boxed"].system}
    neutral = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "repeat_penalty": 1.0}
    assert server.asked[0].items() >= neutral.items()


def test_a_later_draw_is_the_same_draw(server):
    engine = HttpEngine(Server(chat_url(server.url)), None)
    engine.generate(prompts("one"), SamplingParams(n=3), keys=["a"])
    seeds = [body["seed"] for body in server.asked]
    engine.generate(prompts("one"), SamplingParams(n=1), keys=["a"], first_sample=2)
    assert server.asked[-1]["seed"] in seeds


def test_truncated_and_cached(server, tmp_path):
    for _ in range(2):
        cache = ReplyCache(tmp_path / "c.sqlite", "m")
        engine = HttpEngine(Server(chat_url(server.url)), "m", cache)
        ((completion,),) = engine.generate(prompts("one"), SamplingParams(max_new_tokens=2))
        cache.close()
        assert completion.finish_reason == "length"
    assert len(server.asked) == 1


def test_a_failure_is_incomplete_and_keeps_what_is_done(server):
    engine = HttpEngine(Server(chat_url(server.url), concurrency=1), "m")
    done = []
    with pytest.raises(Incomplete, match="prompt b: http: 400"):
        engine.generate(prompts("one", "fail"), SamplingParams(), keys=["a", "b"], on_done=lambda i, c: done.append(i))
    assert done == [0]


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://host:8000/v1/", "http://host:8000/v1/chat/completions"),
        ("http://host:8000", "http://host:8000/v1/chat/completions"),
        ("http://host:8000/", "http://host:8000/v1/chat/completions"),
        ("http://host/v1/completions", "http://host/v1/completions"),
        ("http://host:11434/api", "http://host:11434/api/chat"),
        ("http://host:3000/api", "http://host:3000/api/chat/completions"),
        ("http://host:11434/api/chat/", "http://host:11434/api/chat"),
        ("https://host/api/v1", "https://host/api/v1/chat/completions"),
        ("https://host/v1beta/openai/", "https://host/v1beta/openai/chat/completions"),
        ("http://host/v1/chat/completions", "http://host/v1/chat/completions"),
        ("https://host/v1?api-version=2", "https://host/v1/chat/completions?api-version=2"),
    ],
)
def test_where_requests_are_posted(endpoint, url):
    assert chat_url(endpoint) == url


def test_a_slow_draw_holds_up_no_other(server):
    """The first sample is answered only when the follow-up of the second one has come to the server."""
    slow, quick = prompts("slow", "quick")
    server.holds = lambda body: body["messages"][-1]["content"] == "slow"
    draws, drawn = [Draw(quick, "quick"), Draw(slow, "slow")], []

    def on_draw(draw, completion):
        drawn.append((draw.key, draw.sample, completion.text))
        if (draw.key, draw.sample) == ("quick", 0):
            draws.append(Draw(quick, "quick", 1))
        if (draw.key, draw.sample) == ("quick", 1):
            server.release.set()

    engine = open_engine(None, EngineConfig(engine="http", endpoint=server.url))
    engine.stream(lambda: draws.pop() if draws else None, SamplingParams(), on_draw, n_slots=4)
    assert drawn == [("quick", 0, "QUICK"), ("quick", 1, "QUICK"), ("slow", 0, "SLOW")]


def test_how_hard_to_try_is_the_users_choice(server):
    server.holds = lambda body: True
    config = EngineConfig(engine="http", endpoint=server.url, timeout=0.2, max_retries=1)
    with pytest.raises(Incomplete, match=r"no answer within 0\.2 s \(after 2 tries\)"):
        open_engine(None, config).generate(prompts("x"), SamplingParams())
    server.release.set()


def test_a_password_in_an_address_is_refused_before_it_is_written():
    with pytest.raises(ToolError, match="endpoint at host:8000: a name or password") as refused:
        EngineConfig(engine="http", endpoint="http://me:hunter2@host:8000/v1")
    assert "hunter2" not in str(refused.value)


def test_the_endpoint_is_needed():
    with pytest.raises(ToolError, match="--engine http needs --endpoint"):
        open_engine(None, EngineConfig(engine="http"))


def test_the_key_is_not_in_the_words_of_a_server():
    assert "sk-1" not in repr(Server("http://x", api_key="sk-1"))


def test_everything_that_decides_a_draw_is_in_the_request(server):
    """A server fills what is missing from the model's generation config; a local engine does not."""
    engine = open_engine(None, EngineConfig(engine="http", endpoint=server.url))
    params = SamplingParams(0.7, 33, top_p=0.9, top_k=40, min_p=0.05, seed=3)
    engine.generate([render_question(None, PROFILES["think"], "How far is 60 km/h in 3 h?")], params)
    (body,) = server.asked
    wanted = {"temperature": 0.7, "max_tokens": 33, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.0}
    assert body.items() >= wanted.items()
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    assert isinstance(body["seed"], int)


def test_what_ends_a_completion_is_sent_for_a_served_model_that_is_also_here(server, tmp_path):
    from tools_shared.demo import model_path
    from tools_shared.engines.local.engine import TransformersEngine
    from tools_shared.models import load, resolve

    folder = shutil.copytree(model_path(), tmp_path / "mine")
    config = EngineConfig(engine="http", endpoint=server.url)
    open_engine(resolve(str(folder)), config).generate(prompts("x"), SamplingParams())
    loaded = load(resolve(str(folder)), "fp32", "cpu")
    assert server.asked[-1]["stop_token_ids"] == sorted(TransformersEngine(loaded.model, loaded.tokenizer).stop_ids)
    open_engine(resolve("demo"), config).generate(prompts("x"), SamplingParams())
    assert "stop_token_ids" not in server.asked[-1]


def test_a_filters_refusal_is_a_completion_and_an_empty_reply_is_said_once(serve, capsys):
    def answer(path, body, number):
        if "poison" in body["messages"][-1]["content"]:
            return 400, {"error": {"code": "content_filter", "message": "The prompt was filtered"}}, {}
        return 200, {"choices": [{"message": {"content": None, "tool_calls": [{"function": {"name": "sum"}}]}}]}, {}

    engine = open_engine(None, EngineConfig(engine="http", endpoint=serve(answer).url))
    drawn = engine.generate(prompts("How is poison made?", "12 + 30?", "7 + 8?"), SamplingParams())
    assert [c.text for (c,) in drawn] == ["", "", ""]
    assert capsys.readouterr().err.count("the model called a tool (sum) instead of answering") == 1


def test_tokens_are_those_that_the_server_counted(serve):
    reply = {"choices": [{"message": {"content": "It is 42."}}], "usage": {"completion_tokens": 5}}
    asked = serve(lambda path, body, number: (200, reply if number == 1 else {"choices": reply["choices"]}, {}))
    engine = HttpEngine(Server(chat_url(asked.url), concurrency=1), "m")
    drawn = engine.generate(prompts("12 + 30?", "40 + 2?"), SamplingParams())
    assert [c.n_tokens for (c,) in drawn] == [5, None]


def test_an_opening_tag_that_the_servers_template_wrote_is_put_back(serve):
    asked = serve(
        lambda path, body, number: (200, {"choices": [{"message": {"content": "6 by 7.</think>\\boxed{42}"}}]}, {})
    )
    engine = open_engine(None, EngineConfig(engine="http", endpoint=asked.url))
    ((completion,),) = engine.generate([render_question(None, PROFILES["think"], "6 by 7?")], SamplingParams())
    assert completion.text == "<think>6 by 7.</think>\\boxed{42}"


def test_a_server_that_has_moved_says_where_to(serve):
    asked = serve(lambda path, body, number: (301, b"", {"Location": "https://new.example/v1"}))
    with pytest.raises(Incomplete, match=r"moved to https://new\.example/v1; give that address"):
        open_engine(None, EngineConfig(engine="http", endpoint=asked.url)).generate(prompts("x"), SamplingParams())


def test_azures_key_goes_into_its_own_header_too():
    from tools_shared.engines.http.exchange import headers_of

    url = "https://me.openai.azure.com/openai/deployments/d/chat/completions?api-version=1"
    assert headers_of(Server(url, api_key="k"))["api-key"] == "k"
    assert "api-key" not in headers_of(Server("https://host/v1", api_key="k"))


@pytest.mark.parametrize("data", [None, [], {}, {"choices": []}, {"choices": [7]}, {"choices": [{"message": None}]}])
def test_wrong_schemas_are_value_errors(data):
    with pytest.raises(ValueError, match="in the"):
        read_chat(data)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("profile", ["think", "boxed"])
def test_reasoning_that_a_server_took_out_is_put_back(server, field, profile):
    engine = open_engine(None, EngineConfig(engine="http", endpoint=server.url.replace("/v1", f"/v1{field}")))
    asked = [render_question(None, PROFILES[profile], "six times seven?")]
    ((completion,),) = engine.generate(asked, SamplingParams())
    parsed = PROFILES[profile].parse(completion.text)
    assert (parsed.answer, parsed.well_formed) == ("42", True)
    assert parsed.thinking.startswith("6 times 7 is 42.")
    ((cut,),) = engine.generate(asked, SamplingParams(max_new_tokens=2))
    assert cut.finish_reason == "length"
    assert PROFILES[profile].parse(cut.text).answer is None
    assert not cut.text.endswith("</think>")


def test_tags_that_a_server_left_in_the_text_are_not_doubled():
    reply = ChatReply("<think>a</think>b", "stop", reasoning="a")
    assert whole_text(reply, ("<think>", "</think>")) == "<think>a</think>b"
