"""What a server lists as its models decides the name and the profile that are asked for, where none were given."""

import json
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest

from tools_shared.engines import EngineConfig
from tools_shared.engines.http.served import the_model, with_served
from tools_shared.prompts import PROFILES, load_profile


@dataclass(frozen=True)
class Options(EngineConfig):
    TOOL: ClassVar[str] = "traces"


@pytest.fixture
def listing():
    """Starts a server that answers GET with this status and body; gives its address and the paths asked for."""
    servers = []

    def start(body, status=200):
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append((self.path, self.headers.get("Authorization")))
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/v1", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_one_adapter_beside_its_base_is_the_model_and_its_folder_has_the_profile(listing, tmp_path, monkeypatch):
    profile = PROFILES["boxed"].to_json() | {"name": "mine"}
    (tmp_path / "tools.json").write_text(json.dumps({"profile": profile, "base": None}))
    entries = [{"id": "base", "root": "/x"}, {"id": "reasoner", "root": str(tmp_path), "parent": "base"}]
    address, asked = listing({"object": "list", "data": entries})
    monkeypatch.setenv("SERVED_KEY", "sk-of-this-server")
    found = with_served(Options(engine="http", endpoint=address, api_key_env="SERVED_KEY"))
    assert found.model_name == "reasoner"
    assert load_profile(found.profile).name == "mine"
    assert asked == [("/v1/models", "Bearer sk-of-this-server")]


def test_what_was_given_stays(listing):
    address, asked = listing({"data": [{"id": "other"}]})
    given = Options(engine="http", endpoint=address, model_name="mine")
    assert with_served(given) is given
    assert with_served(Options()) == Options()
    assert with_served(Options(engine="http", endpoint=address, profile="boxed")).profile == "boxed"
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"data": [{"id": "a"}, {"id": "b"}]}, 200),
        ({"data": [{"id": "a", "parent": "c"}, {"id": "b", "parent": "c"}]}, 200),
        ({"data": []}, 200),
        ({"data": {"id": "a"}}, 200),
        ({"data": [{"id": 7}, "x"]}, 200),
        (b"<html>not found</html>", 404),
        (b"no json", 200),
        (b"[" * 100_000, 200),
        ({"data": [{"id": "a"}]}, 401),
    ],
)
def test_a_server_that_names_no_single_model_changes_nothing(listing, body, status):
    address, _ = listing(body, status)
    given = Options(engine="http", endpoint=address)
    assert with_served(given) == given


def test_a_server_that_is_down_is_left_to_the_first_request():
    given = Options(engine="http", endpoint="http://127.0.0.1:1/v1")
    assert with_served(given) == given


def test_a_root_that_is_not_here_gives_the_name_alone():
    found = the_model([{"id": "grpo", "root": "/artifacts/grpo/model"}])
    assert (found.name, found.notes) == ("grpo", None)
    assert "/artifacts/grpo/model, which is not on this machine" in found.elsewhere


@pytest.mark.parametrize("root", [None, "Qwen/Qwen3-8B", "."])
def test_a_hub_id_or_a_folder_without_a_profile_is_no_warning(root, tmp_path):
    assert the_model([{"id": "m", "root": str(tmp_path) if root == "." else root}]).elsewhere == ""
