"""A model that is named by its hub id and is not in the cache yet, from a hub on this machine."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools_shared.demo import model_path
from tools_shared.models import weights_sha256

REPO = "acme/demo"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as its client asks for: a repository's files, and one file."""

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        names = [path.name for path in model_path().iterdir()]
        if re.fullmatch(rf"/api/models/{REPO}/tree/\w+(\?.*)?", self.path):
            files = [{"type": "file", "path": name, "oid": "0" * 40, "size": 1} for name in names]
            return self.send(json.dumps(files).encode(), with_body)
        if re.fullmatch(rf"/api/models/{REPO}(/revision/\w+)?(\?.*)?", self.path):
            files = [{"rfilename": name} for name in names]
            return self.send(json.dumps({"id": REPO, "sha": COMMIT, "siblings": files}).encode(), with_body)
        path = model_path() / Path(self.path.split("?")[0]).name
        if f"/{REPO}/resolve/" not in self.path or not path.is_file():
            return self.send(b"", with_body, status=404, more={"X-Error-Code": "EntryNotFound"})
        return self.send(path.read_bytes(), with_body)

    def send(self, body: bytes, with_body: bool, status: int = 200, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        tag = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
        for name, value in {"Content-Length": str(len(body)), **tag, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture(scope="module")
def hub():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(code: str, hub: str, home: Path) -> str:
    names = {"HF_HOME": str(home), "HF_ENDPOINT": hub, "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")} | names
    done = subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


HASH = f"""
from tools_shared.models import resolve, weights_sha256
from tools_shared.models.load import load, load_config, load_tokenizer
ref = resolve("{REPO}")
load_tokenizer(ref), load_config(ref)
early = weights_sha256(ref.weights)
load(ref, device="cpu")
assert weights_sha256(ref.weights) == early
print(early)
"""


def test_the_hash_is_that_of_the_weights_also_before_they_were_downloaded(hub, tmp_path):
    assert ask(HASH, hub, tmp_path) == weights_sha256(str(model_path()))


def test_what_is_in_the_cache_needs_no_hub(hub, tmp_path):
    first = ask(HASH, hub, tmp_path)
    assert ask(HASH, "http://127.0.0.1:9", tmp_path) == first


def test_a_repository_that_is_not_there_is_one_sentence(hub, tmp_path):
    code = """
from tools_shared.errors import ToolError
from tools_shared.models import weights_sha256
try:
    weights_sha256("acme/nothing")
except ToolError as error:
    print(error)
"""
    assert ask(code, hub, tmp_path).startswith("acme/nothing: not found on the hub, or no network")
