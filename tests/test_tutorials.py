"""Every command of the tutorials, run in order in an empty folder that holds the files that the tutorial shows."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parents[1] / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.S | re.M)
# One process loads torch once; each command runs in a child of it, as a user's would run in its own.
FORKS = """
import importlib, json, os, sys
import torch, transformers
for line in sys.stdin:
    tool, *words = json.loads(line)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        main = importlib.import_module(tool.replace("-", "_") + ".cli").main
        sys.argv = [tool, *words]
        code = 0
        try:
            main.main(words, prog_name=tool)
        except SystemExit as done:
            code = done.code or 0
        sys.stdout.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(f"\\x1e{code}", flush=True)
"""


class Shell:
    """Runs a tutorial's lines in `folder` and keeps what they print, per line, in `said`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said, self.behind = folder, {}, []
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, line: str) -> int:
        words = shlex.split(line, comments=True)
        if words[-1] == "&":
            self.behind.append(subprocess.Popen([sys.executable, *words[1:-1]], cwd=self.folder))
            return 0
        if not words[0].startswith("tools-"):
            done = subprocess.run(words, cwd=self.folder, text=True, capture_output=True, check=False)
            self.said[line] = done.stdout + done.stderr
            return done.returncode
        print(json.dumps(words), file=self.process.stdin, flush=True)
        printed = []
        while not (answer := self.process.stdout.readline()).startswith("\x1e"):
            assert answer, "".join(printed)
            printed.append(answer)
        self.said[line] = "".join(printed)
        return int(answer[1:])

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        for process in self.behind:
            process.terminate()
            process.wait()


def lines(text: str) -> list[str]:
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_every_command_of_a_tutorial_runs(tutorial, tmp_path):
    shell = Shell(tmp_path)
    try:
        for language, title, text in BLOCK.findall(tutorial.read_text(encoding="utf-8")):
            if title:
                (tmp_path / title).write_text(text, encoding="utf-8")
            for line in lines(text) if language == "sh" else ():
                wanted = int(found[1]) if (found := re.search(r"# exit (\d)", line)) else 0
                assert shell.run(line) == wanted, shell.said.get(line)
    finally:
        shell.close()
        if folder := os.environ.get("TUTORIAL_LOGS"):
            text = "".join(f"$ {line}\n{said}\n" for line, said in shell.said.items())
            (Path(folder) / f"{tutorial.stem}.txt").write_text(text, encoding="utf-8")
