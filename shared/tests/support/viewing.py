"""What tests of `tools-bench view` share: a real process of it, and a folder of runs made by real commands."""

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlencode

from click.testing import CliRunner

from tools_bench.cli import main

COMMAND = [sys.executable, "-c", "from tools_bench.cli import main; main()"]
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
ROWS = [
    {"question": "A pond loses 1/8 of 56 litres. How many litres are lost?", "answer": "7"},
    {"question": 'What is 15 % of 340? Write "n, n" twice,\nplease.', "answer": "51"},
    {"question": "Find x if 3x - 4 = 11.", "answer": "5"},
    {"question": "How many diagonals has a convex octagon?", "answer": "20"},
    {"question": "Évalue log₂ 64.", "answer": "6"},
    {"question": "Give the remainder of 2^10 divided by 7.", "answer": "2"},
]


def reply_of(text):
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


def solver(right, words=""):
    """Answers with the gold answer the questions whose numbers are in `right`, and 999 the others."""

    def answer(path, body, number):
        asked = body["messages"][-1]["content"]
        i = next(i for i, row in enumerate(ROWS) if row["question"] in asked)
        value = ROWS[i]["answer"] if i in right else "999"
        return 200, reply_of(f'{words} Say "{i}",\nthen <SOLUTION>{value}</SOLUTION>'), {}

    return answer


def bench(*words):
    done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def make_run(serve, root, name, right, words=""):
    """A benchmark run of the rows, below the root."""
    data = root.parent / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    asked = serve(solver(right, words))
    given = ["--endpoint", f"{asked.url}/v1", "--model-name", name, "--data", f"math={data}"]
    bench("run", *given, "--output-dir", root)
    return root / name


class Viewer:
    """A running `tools-bench view`: its port, its token and every line that it has said."""

    def __init__(self, process):
        self.process, self.said = process, []
        line = process.stderr.readline()
        self.said.append(line)
        while not (
            found := re.search(r"open in a browser .*: (http://(?:\[[^\]]*\]|[^:/]+):(\d+)/(?:#token=(\S+))?)$", line)
        ):
            assert line, self.said
            line = process.stderr.readline()
            self.said.append(line)
        self.url, self.port, self.token = found[1], int(found[2]), found[3]
        threading.Thread(target=lambda: self.said.extend(process.stderr), daemon=True).start()

    def get(self, path, method="GET", token=None, **headers):
        """(status, headers, body) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()

    def ask(self, path, **given):
        status, _, body = self.get(f"/api/{path}?{urlencode(given)}", token=self.token)
        assert status == 200, (status, body)
        return json.loads(body)

    def wait(self, path, holds, seconds=120, **given):
        """Ask until the answer is as wanted; returns it. An index that is made again is waited for."""
        end = time.monotonic() + seconds
        while True:
            status, _, body = self.get(f"/api/{path}?{urlencode(given)}", token=self.token)
            assert status in (200, 409, 503), (status, body)
            if status == 200 and holds(told := json.loads(body)):
                return told
            assert time.monotonic() < end, (body, self.said)
            time.sleep(0.1)

    def settled(self, n_runs):
        """The runs by name, once as many are listed."""
        runs = self.wait("runs", lambda told: told["all"] == n_runs, limit=200)["runs"]
        return {run["name"]: run for run in runs}


@contextmanager
def viewer(root, *words, number=signal.SIGINT):
    """Ended by Ctrl-C, in order."""
    command = [*COMMAND, "view", str(root), "--port", "0", "--interval", "0.2", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Viewer(process)
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert process.stdout.read() == ""
    finally:
        process.kill()
        process.wait()
