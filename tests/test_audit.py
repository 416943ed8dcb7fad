import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts/audit.py"


def audit(tmp_path, facts, monkeypatch):
    """The script's exit code and output with a registry that knows `facts` by name."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.split("/")[-3] if self.path.startswith("/root/pypi/") else None
            body = json.dumps(facts.get(name, {})).encode()
            self.send_response(200 if name in facts else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_address[1]}/root/simple/")
    (tmp_path / "c.txt").write_text("# pins\nAlpha_One==1.0\nbeta==2.0+cpu ; python_version > '3'\n")
    done = subprocess.run([sys.executable, SCRIPT, tmp_path / "c.txt"], capture_output=True, text=True, check=False)
    server.shutdown()
    server.server_close()
    return done.returncode, done.stdout


def test_the_registry_that_pip_has_is_asked_and_not_known_is_not_passed(tmp_path, monkeypatch):
    clean, hit = {"vulnerabilities": []}, {"vulnerabilities": [{"id": "X-1"}, {"id": "X-2", "withdrawn": "2026"}]}
    assert audit(tmp_path, {"alpha-one": clean, "beta": clean}, monkeypatch)[0] == 0
    code, said = audit(tmp_path, {"alpha-one": clean, "beta": hit}, monkeypatch)
    assert code == 1
    assert "beta 2.0: X-1" in said
    assert "X-2" not in said
    for facts in ({"alpha-one": clean}, {"alpha-one": clean, "beta": {}}):
        code, said = audit(tmp_path, facts, monkeypatch)
        assert code == 1
        assert "not known to the registry: beta 2.0" in said
