"""A key planted in every option that may hold one is in no file and no output of any command."""

import importlib
import json
import re
from pathlib import Path

import click
import pytest

TOOLS = ("dedup", "sft", "grpo", "traces", "scorer", "bench")
MAY_HOLD_ONE = re.compile(
    r"endpoint|url|uri|address|server|key_env|request|extra_|header|auth_token|secret|password|webhook"
)
KEY = "sk-PLANTED0123456789"
QUERY = f"?api_key={KEY}&sig={KEY}"
BODY = json.dumps({"user": KEY, "metadata": {"token": KEY}})


def commands(command=None, path=()):
    """Every command of every tool that has options of its own: (words, command)."""
    if command is None:
        for tool in TOOLS:
            yield from commands(importlib.import_module(f"tools_{tool}.cli").main, (tool,))
        return
    if any(parameter.name == "as_json" for parameter in command.params) or not isinstance(command, click.Group):
        yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))


def secrets(command):
    """The names of a command's options that may hold a secret, and those among them that say how they are written."""
    names = {p.name for p in command.params if MAY_HOLD_ONE.search(p.name)}
    kept = {p.name for p in command.params if getattr(p, "secret", None) is not None}
    return names, kept


def test_every_option_that_may_hold_a_secret_says_how_it_is_written():
    for path, command in commands():
        names, kept = secrets(command)
        assert names <= kept, f"{path}: {sorted(names - kept)} need secret=... in their option()"


RUNS = {
    ("bench", "run"): [
        ["--model-name", "m", "--suite", "quick", "--limit", "1", "--endpoint", "{address}", "--extra-body", BODY,
         "--api-key-env", "PLANTED", "--judge-endpoint", "{address}", "--judge-model", "j",
         "--judge-api-key-env", "PLANTED", "--output-dir", "{out}/a"],
        ["--model-name", "m", "--suite", "quick", "--limit", "1", "--endpoint", "{address}", "--api", "template",
         "--request-template", json.dumps({"key": KEY, "inputs": "{prompt}"}), "--response-path", "text",
         "--output-dir", "{out}/b"],
        ["--model-name", "m", "--suite", "quick", "--endpoint", "{address}", "--extra-body", BODY, "--dry-run"],
        ["--model-name", "m", "--suite", "quick", "--endpoint", "{address}", "--api", "template", "--dry-run",
         "--request-template", json.dumps({"pin": 4711, "key": KEY, "inputs": "{prompt}"}), "--response-path", "text"],
        ["--model-name", "m", "--suite", "quick", "--endpoint", "{address}", "--api-key-env", KEY],
        ["--model-name", "m", "--suite", "quick", "--endpoint", "{broken}", "--limit", "1", "--max-retries", "0",
         "--output-dir", "{out}/c"],
        ["--model-name", "m", "--suite", "quick", "--endpoint", "{address}", "--request-template", "not JSON " + KEY],
        ["--model-name", "m", "--suite", "quick", "--endpoint", "{address}", "--extra-body", "not JSON " + KEY],
    ],
    ("bench", "doctor"): [
        ["--model-name", "m", "--endpoint", "{address}", "--extra-body", BODY, "--api-key-env", "PLANTED"],
        ["--model-name", "m", "--endpoint", "{broken}", "--api-key-env", KEY],
    ],
    ("bench", "serve-chat"): [["--endpoint", "{address}", "--model-name", "m", "--api-key-env", KEY]],
    ("bench", "evaluate"): [
        ["--engine", "http", "--model-name", "m", "--endpoint", "{address}", "--extra-body", BODY, "--eval-path",
         "{rows}", "--api-key-env", "PLANTED", "--output-dir", "{out}/d"],
        ["--endpoint", "{address}", "--eval-path", "{rows}", "--output-dir", "{out}/e"],
    ],
    ("traces",): [
        ["--engine", "http", "--model-name", "m", "--endpoint", "{address}", "--extra-body", BODY, "--data", "{rows}",
         "--api-key-env", "PLANTED", "--output-dir", "{out}/f"],
    ],
    ("sft", "train"): [
        ["--backend", "tinker", "--tinker-url", "{address}", "--train-path", "{rows}", "--no-eval", "--max-steps", "1",
         "--output-dir", "{out}/s"],
    ],
    ("grpo", "train"): [
        ["--engine", "http", "--endpoint", "{address}", "--api-key-env", "PLANTED", "--train-path", "{rows}",
         "--no-eval", "--max-steps", "1", "--output-dir", "{out}/g", "--dry-run"],
        ["--engine", "http", "--endpoint", "{address}", "--api-key-env", KEY, "--train-path", "{rows}",
         "--no-eval", "--max-steps", "1", "--output-dir", "{out}/h"],
    ],
    ("scorer", "serve"): [["--scorer", "{out}/none", "--api-key-env", KEY]],
}  # fmt: skip
"""For each command with such options: command lines with the key in all of them. `{address}` answers and repeats the
key, `{broken}` refuses and repeats it."""
NO_RUN = {("scorer", "serve"), ("bench", "doctor"), ("bench", "serve-chat")}


def test_each_command_with_such_options_is_run_here():
    assert {path for path, command in commands() if secrets(command)[1]} <= set(RUNS)


def answer(path, body, number):
    said = f"Bearer {KEY} at {path}: 3 <SOLUTION>3</SOLUTION> \\boxed{{3}}"
    choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    return 200, {"choices": [choice], "text": said}, {}


def refuse(path, body, number):
    return 404, {"error": f"no key {KEY} at {path}"}, {"X-Echo": KEY}


@pytest.mark.parametrize("path", RUNS, ids=" ".join)
def test_a_planted_key_is_in_no_file_and_no_output(path, trainer, serve, tmp_path):
    if path not in {p for p, _ in commands()}:
        pytest.skip("no such command")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "What is 1 + 2?", "answer": "1 + 2 = 3\\n#### 3"}\n' * 2)
    out = tmp_path / "out"
    out.mkdir()
    places = {"{address}": f"{serve(answer).url}/v1{QUERY}", "{broken}": f"{serve(refuse).url}/v1{QUERY}"}
    places |= {"{rows}": str(rows), "{out}": str(out)}
    for words in RUNS[path]:
        filled = [re.sub(r"\{(address|broken|rows|out)\}", lambda found: places[found[0]], word) for word in words]
        if "--output-dir" not in filled and path not in NO_RUN:
            filled += ["--output-dir", str(out / "more")]
        done = trainer(path[0]).run(
            *path[1:], *filled, PLANTED=KEY, HF_HOME=str(out / "hf"), XDG_CACHE_HOME=str(out / "cache"),
            TOOLS_LOG_LEVEL="DEBUG",
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        for said in (done.stdout, done.stderr):
            assert "PLANTED0" not in said, said
    assert path[0] not in ("bench", "traces") or path in NO_RUN or list(out.rglob("run.json")), "no run was finished"
    for file in (f for f in Path(out).rglob("*") if f.is_file()):
        assert b"PLANTED0" not in file.read_bytes(), file
