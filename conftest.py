"""What tests of several tools share: trainers in processes of their own, killed at a chosen step; a small disk; Ray; a
real server, as good or as bad as a test wants it."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools_shared.files import sha256_file
from tools_shared.runs import read_manifest, read_metrics


class Trainer:
    """`tools-NAME` as its users run it, and what a test does to it while it runs."""

    def __init__(self, name: str) -> None:
        self.start = [sys.executable, "-c", f"from tools_{name}.cli import main; main()"]

    def run(self, *args, **env) -> subprocess.CompletedProcess:
        words = [*self.start, *last_wins(args)]
        return subprocess.run(words, capture_output=True, text=True, env={**os.environ, **env}, check=False)

    def stopped_at(self, step: int, folder: Path, *args, number=signal.SIGKILL, before=()) -> subprocess.Popen:
        """The process, sent a signal as soon as the run in `folder` has logged `step`; its stderr can still be read.

        A run that is resumed has logged steps from before: it is also waited for until it has begun.
        `before` are words before the command, such as `unshare`'s.
        """
        begun = sessions(folder)
        words = [*before, *self.start, *last_wins([*args, "--output-dir", folder, "--logging-steps", 1])]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.wait(lambda: sessions(folder) > begun and logged(folder) >= step, process)
        os.kill(process.pid if not before else child_of(process.pid), number)
        return process

    def kill(self, steps, folder: Path, *args) -> None:
        """A run killed at each of `steps`, resumed in between."""
        for step in steps:
            self.stopped_at(step, folder, *args).wait()
            assert not folder.exists()

    def finish(self, folder: Path, *args) -> subprocess.CompletedProcess:
        """A run that was interrupted, brought to its end: it has gone on once more, and every step is logged once."""
        begun = sessions(folder)
        done = self.run(*args, "--output-dir", folder)
        assert done.returncode == 0, done.stderr
        assert len(read_manifest(folder).data["sessions"]) == begun + 1
        steps = [row["step"] for row in read_metrics(folder)]
        assert steps == sorted(set(steps))
        return done

    @staticmethod
    def wait(holds, process: subprocess.Popen, seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.005)


def last_wins(args) -> list[str]:
    """The words without an option's value where a later one is given, which the tools refuse; repeatable ones stay."""
    words, kept = list(map(str, args)), []
    for i, word in enumerate(words):
        again = word.startswith("--") and word not in ("--reward", "--lora-target") and word in words[i + 1 :]
        follows = i > 0 and words[i - 1].startswith("--") and not word.startswith("--") and not kept_last(words, i - 1)
        if not again and not follows:
            kept.append(word)
    return kept


def kept_last(words: list[str], i: int) -> bool:
    return words[i] in ("--reward", "--lora-target") or words[i] not in words[i + 1 :]


def sessions(folder: Path) -> int:
    """How many times the draft of a run has been begun or resumed."""
    path = Path(f"{folder}.partial/draft.json")
    return len(json.loads(path.read_text())["sessions"]) if path.exists() else 0


def logged(folder: Path) -> int:
    """How many steps the draft of a run has logged."""
    path = Path(f"{folder}.partial/metrics.jsonl")
    return path.read_bytes().count(b"\n") if path.exists() else 0


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


@pytest.fixture(scope="session")
def trainer():
    return Trainer


FORKS = """
import importlib, json, os, sys
main = importlib.import_module(sys.argv[1]).main
def call(words):
    sys.argv = [main.name, *words]
    try:
        main.main(words, prog_name=main.name)
    except SystemExit as done:
        return done.code or 0
    return 0
out = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
print(call(json.loads(sys.stdin.readline())), file=out, flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os._exit(call(json.loads(line)))
    print(child, file=out, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=out, flush=True)
"""


class Forks:
    """`tools-NAME` run again and again in children of one process that has everything loaded, and killed at will."""

    def __init__(self, name: str, *warm) -> None:
        words = [sys.executable, "-c", FORKS, f"tools_{name}.cli"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True, env=environment
        )
        self._ask(warm)
        assert self._answer() == 0, self._told()

    def _told(self) -> str:
        """What was said since the last time."""
        self._said.seek(0)
        told = self._said.read()
        self._said.truncate(0)
        return told

    def _ask(self, words) -> None:
        self.process.stdin.write(json.dumps([str(word) for word in words]) + "\n")
        self.process.stdin.flush()

    def _answer(self) -> int:
        return int(self.process.stdout.readline())

    def run(self, *words) -> tuple[int, str]:
        self._ask(words)
        self._answer()
        code = self._answer()
        return code, self._told()

    def kill(self, words, seconds: float, after=lambda: True) -> bool:
        """Whether a kill that many seconds after the start, or once `after` holds, met a living process."""
        self._ask(words)
        child = self._answer()
        deadline = time.monotonic() + 30
        while not after() and time.monotonic() < deadline and Path(f"/proc/{child}/stat").exists():
            time.sleep(0.0002)
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        return self._answer() == -signal.SIGKILL

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)


def hidden_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def random_kills(forks: Forks, folder: Path, old: Path, words, n: int, check) -> int:
    """Restore `old` into `folder`, kill the command there, `check(killed=True)`; until n kills have landed. Half of
    them come at any time, half while the result is put in place. After each of few kills, and one in ten of many, the
    command is run to its end, `check(killed=False)`. Returns how many commands that took."""
    rng = random.Random(0)
    began = time.monotonic()
    shutil.copytree(old, folder)
    assert forks.run(*words)[0] == 0
    seconds, landed = time.monotonic() - began, 0
    tries = 0
    while landed < n:
        tries += 1
        assert tries < 20 * n + 20, f"{landed} of {tries} kills have landed"
        shutil.rmtree(folder)
        shutil.copytree(old, folder)
        known = hidden_files(folder)

        def drafted(known=known) -> bool:
            return hidden_files(folder) != known

        if rng.random() < 0.5:
            landed_now = forks.kill(words, rng.uniform(0, seconds))
        else:
            landed_now = forks.kill(words, rng.choice((0.003, 0.03, seconds / 2)) * rng.random(), drafted)
        if not landed_now:
            continue
        landed += 1
        check(killed=True)
        if n <= 10 or landed % 10 == 0:
            code, told = forks.run(*words)
            assert code == 0, told
            check(killed=False)
    return tries


@pytest.fixture
def kills():
    """Starts `Forks`, and ends them: `kills("dedup", *words)`; `kills.random(...)` is `random_kills`."""
    opened = []

    def start(name: str, *warm) -> Forks:
        opened.append(Forks(name, *warm))
        return opened[-1]

    start.random = random_kills
    yield start
    for forks in opened:
        forks.close()


@pytest.fixture(scope="session")
def signed():
    """Makes a run that a test has changed into one that was written so: `signed(run_dir)`."""

    def sign(folder: Path) -> None:
        manifest = json.loads((folder / "run.json").read_text())
        for name, entry in manifest["outputs"].items():
            entry["sha256"] = sha256_file(folder / name)
        (folder / "run.json").write_text(json.dumps(manifest))

    return sign


@pytest.fixture
def small_disk(tmp_path, request):
    """A file system of the size that the test's module names in DISK."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={request.module.DISK}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def local_ray():
    """Ray in this process, with places for four workers."""
    ray = pytest.importorskip("ray", reason="ray is not installed (extra: ray)")
    with pytest.MonkeyPatch.context() as patch:
        # Ray makes its workers give way to every other process; beside other tests they would take many minutes.
        patch.setenv("RAY_worker_niceness", "0")
        ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
        yield ray
        ray.shutdown()


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

            def do_GET(self):
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

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


class UnderWay:
    """Counts the requests that a server has at once; each stays until there have been `expected`, and a moment more."""

    def __init__(self, expected: int) -> None:
        self.expected, self.now, self.most, self.changed = expected, 0, 0, threading.Condition()

    def stay(self) -> None:
        with self.changed:
            self.now += 1
            self.most = max(self.most, self.now)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.most >= self.expected, timeout=60)
        time.sleep(0.02)  # room for one more to come
        with self.changed:
            self.now -= 1


@pytest.fixture
def under_way():
    return UnderWay


@pytest.fixture(scope="session")
def sandbox():
    """Skips where no sandbox can be made."""
    from tools_shared.errors import ToolError
    from tools_shared.sandbox import check_sandbox

    try:
        check_sandbox()
    except ToolError as error:
        pytest.skip(str(error))
