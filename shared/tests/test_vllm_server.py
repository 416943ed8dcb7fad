"""The client of vLLM's server against one of its interface; the real one is in tests/test_vllm_grpo.py."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools_shared.engines import SamplingParams
from tools_shared.engines.http.transport import Server
from tools_shared.engines.vllm.server import VllmServerEngine, read_choice
from tools_shared.errors import Incomplete, ToolError
from tools_shared.models import resolve
from tools_shared.models.load import load_tokenizer
from tools_shared.prompts import PROFILES, render_question


class Handler(BaseHTTPRequestHandler):
    """Answers a prompt with its last two tokens; its adapters are `server.loaded`, by name."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path, loaded = self.path.removeprefix("/v1/"), self.server.loaded
        if path == "load_lora_adapter":
            loaded[body["lora_name"]] = body["lora_path"]
            self.say(200, "Success: loaded") if "bad" not in body["lora_name"] else self.say(400, "rank 64 sk-1")
        elif path == "unload_lora_adapter":
            del loaded[body["lora_name"]]
            self.say(200, "Success: removed")
        elif path == "completions" and body["model"] in loaded:
            self.server.asked.append(body)
            choice = {"token_ids": body["prompt"][-2:], "finish_reason": "stop", "text": "unused"}
            choice["logprobs"] = {"token_logprobs": [-0.5, -0.25]}
            self.say(200, json.dumps({"choices": [choice]}))
        else:
            self.say(404, "Not Found")

    def say(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.asked, server.loaded = True, [], {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def engine_of(server, path="v1"):
    address = Server(f"http://127.0.0.1:{server.server_address[1]}/{path}", api_key="sk-1", max_retries=0)
    return VllmServerEngine(address, load_tokenizer(resolve("demo")), 4096)


def test_tokens_and_log_probabilities_of_an_adapter(server, tmp_path):
    engine = engine_of(server)
    engine.load_adapter("run-0", tmp_path)
    engine.adapter = "run-0"
    assert server.loaded == {"run-0": str(tmp_path.resolve())}
    prompts = [render_question(engine.tokenizer, PROFILES["boxed"], q) for q in ("one", "two")]
    params = SamplingParams(temperature=1, n=3, logprobs=True)
    drawn = engine.generate(prompts, params, keys=["a", "b"])
    assert [[c.token_ids for c in found] for found in drawn] == [[p.token_ids[-2:]] * 3 for p in prompts]
    assert drawn[0][0].logprobs == (-0.5, -0.25)
    assert drawn[0][0].text == engine.tokenizer.decode(prompts[0].token_ids[-2:], skip_special_tokens=True)
    assert len({body["seed"] for body in server.asked}) == 6
    assert {body["repetition_penalty"] for body in server.asked} == {1.0}
    engine.drop_adapter("run-0")
    assert server.loaded == {}


def test_what_a_server_refuses_is_said_in_a_sentence(server, tmp_path):
    with pytest.raises(ToolError, match=r"400 rank 64 \*\*\*; the server must serve the adapter's base"):
        engine_of(server).load_adapter("bad", tmp_path)
    with pytest.raises(ToolError, match="start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"):
        engine_of(server, "v2").load_adapter("run-0", tmp_path)
    engine = engine_of(server)
    engine.adapter = "gone"
    prompt = render_question(engine.tokenizer, PROFILES["boxed"], "one")
    with pytest.raises(Incomplete, match="404 Not Found"):
        engine.generate([prompt], SamplingParams())


def test_a_server_that_is_gone_leaves_the_run_to_be_taken_up_again(tmp_path):
    server = Server("http://127.0.0.1:9/v1")  # the port of a service that nobody runs any more
    engine = VllmServerEngine(server, load_tokenizer(resolve("demo")), 4096)
    with pytest.raises(Incomplete, match="run the same command again"):
        engine.load_adapter("run-0", tmp_path)


@pytest.mark.parametrize(
    "choice",
    [None, {}, {"token_ids": None}, {"token_ids": [1]}, {"token_ids": [1], "logprobs": {"token_logprobs": [None]}},
     {"token_ids": [1, 2], "logprobs": {"token_logprobs": [-1.0]}}],
)  # fmt: skip
def test_replies_without_what_is_needed_are_value_errors(choice):
    with pytest.raises(ValueError, match="first choice"):
        read_choice({"choices": [choice]}, with_logprobs=True)
