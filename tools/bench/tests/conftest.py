"""A real server on this machine, as good or as bad as a test wants it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Asked(list):
    """The requests a server has received: (path, headers, body)."""

    url = ""


@pytest.fixture
def serve():
    """Start servers: `serve(answer)` where `answer(path, body, number)` returns (status, bytes or JSON, headers), or a
    function that does with the handler what it likes."""
    servers = []

    def start(answer):
        asked = Asked()
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    asked.append((self.path, dict(self.headers), body))
                    number = len(asked)
                reply = answer(self.path, body, number)
                if callable(reply):
                    reply(self)
                    return
                status, content, headers = reply
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(raw)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                pass

        server = Server(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked.url = f"http://127.0.0.1:{server.server_address[1]}"
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
