"""How long `tools-bench view` takes to open a large root, and how much memory: 1,000 runs with 1,000 replies each.

    python tests/benchmarks/view_roots.py [N_RUNS] [N_REPLIES]

Makes the root in a temporary folder (0.5 GB by default), builds the index once, and then starts the command again three
times: seconds, and seconds of processor time, from the start of the process to the first answer that lists all runs;
seconds of one page of replies, one search and one comparison; the highest memory of the process (VmHWM). Beside them
the start of `tools-bench --help`, and its processor time.
"""

import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tools_bench.grading.results import COLUMNS
from tools_shared.files import csv_cells

COMMAND = [sys.executable, "-c", "from tools_bench.cli import main; main()"]


def make_root(root: Path, n_runs: int, n_replies: int) -> None:
    """Runs as `tools-bench run` leaves them: a manifest, results and the per-example CSV."""
    rng = random.Random(0)
    words = "the sum of both is then taken from what was there before, so that we find what is left of it".split()
    texts = [" ".join(rng.choices(words, k=80)) for _ in range(100)]
    for number in range(n_runs):
        folder = root / f"group-{number // 100:02d}" / f"run-{number:04d}"
        (folder / "debug").mkdir(parents=True)
        right = 0
        with (folder / "debug" / "bench_r.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv_cells.Writer(file)
            writer.row([*COLUMNS, "accuracy", "accuracy_lenient"])
            for i in range(n_replies):
                is_right = rng.random() < 0.4 + number / n_runs / 4
                right += is_right
                text = f"{texts[i % 100]}.\n<SOLUTION>{i if is_right else i + 1}</SOLUTION>"
                outcome = "correct" if is_right else "wrong"
                question = f"A dam holds {i} litres and {number % 7} more come. How many are there?"
                writer.row(
                    ["math", f"q-{i}", 0, "math", outcome, question, i, i, text, "stop", "", *[float(is_right)] * 2]
                )
        rate = {"estimate": right / n_replies, "low": 0.0, "high": 1.0, "n": n_replies}
        data = {
            "schema_version": 1, "kind": "bench", "status": "finished", "tool": "tools-bench", "tool_version": "0.2.0",
            "run_id": "r", "started": "2026-01-01T00:00:00+00:00",
            "finished": f"2026-01-02T{number % 24:02d}:00:00+00:00",
            "inputs": [], "outputs": {}, "identity": {}, "metrics": {"accuracy_lenient": rate},
            "options": {"model": {"value": f"model-{number % 13}", "from": "flag"}},
        }  # fmt: skip
        (folder / "run.json").write_text(json.dumps(data))


class Viewer:
    """A started viewer: `wait` asks until the answer is as wanted."""

    def __init__(self, root: Path) -> None:
        self.began = time.monotonic()
        words = [*COMMAND, "view", str(root), "--port", "0"]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        while not (found := re.search(r"(http://127\.0\.0\.1:\d+)/", self.process.stderr.readline())):
            assert self.process.poll() is None
        self.url = found[1]

    def ask(self, path: str) -> dict:
        with urllib.request.urlopen(f"{self.url}/api/{path}") as got:
            return json.load(got)

    def timed(self, path: str) -> tuple[float, dict]:
        began = time.monotonic()
        told = self.ask(path)
        return time.monotonic() - began, told

    def listed(self, n_runs: int) -> float:
        """Seconds from the start until all runs are listed and known to be up to date."""
        while (told := self.ask("runs?limit=50"))["all"] != n_runs or not self.ask("state")["is_ready"]:
            time.sleep(0.02)
        assert len(told["runs"]) == min(50, n_runs)
        return time.monotonic() - self.began

    def processor(self) -> float:
        """Seconds of processor time so far, on all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """The highest memory so far, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


def children() -> float:
    """Seconds of processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    n_runs, n_replies = (int(word) for word in (*sys.argv[1:3], "1000", "1000")[:2])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        make_root(root, n_runs, n_replies)
        first = Viewer(root)
        took = first.listed(n_runs)
        print(f"index built in {took:.1f} s ({first.processor():.1f} s of processor), {first.memory():.0f} MiB at most")
        first.end()
        size = (root / ".tools-bench-view.sqlite").stat().st_size / 2**20
        print(f"{n_runs} runs, {n_runs * n_replies} replies, index {size:.0f} MiB")
        found: dict[str, list[float]] = {}
        for _ in range(3):
            began, before = time.monotonic(), children()
            subprocess.run([*COMMAND, "--help"], stdout=subprocess.DEVNULL, check=True)
            found.setdefault("tools-bench --help", []).append(time.monotonic() - began)
            found.setdefault("its processor time", []).append(children() - before)
            viewer = Viewer(root)
            found.setdefault("open", []).append(viewer.listed(n_runs))
            found.setdefault("processor time", []).append(viewer.processor())
            one, other = (run["id"] for run in viewer.ask("runs?limit=2")["runs"])
            for name, path in (
                ("list, sorted", "runs?sort=score&limit=50&offset=400"),
                ("page of replies", f"runs/{one}/replies?show=wrong&after={n_replies // 2}"),
                ("search in a run", f"runs/{one}/replies?search=no+such+words"),
                ("comparison", f"runs/{one}/flips/{other}"),
            ):
                found.setdefault(name, []).append(viewer.timed(path)[0])
            found.setdefault("MiB at most", []).append(viewer.memory())
            viewer.end()
        for name, values in found.items():
            print(f"{name:>20}  {statistics.median(values):.3g}  ({min(values):.3g} to {max(values):.3g})")


if __name__ == "__main__":
    main()
