"""A finished run on vLLM's real server, asked by tools-bench and tools-traces that are told its address alone."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; make test-vllm makes an environment with it")
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, adapter_run):
    return adapter_run(tmp_path_factory.mktemp("runs") / "reasoner")


@pytest.fixture(scope="module")
def address(trained, tmp_path_factory, until_healthy):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tools_shared.engines.vllm.serve", str(trained), "--port", str(port)]
    log = tmp_path_factory.mktemp("log") / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen([*command, "--max-model-len", "2048"], stdout=file, stderr=file)
    try:
        until_healthy(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=60)


def run(tool, *words):
    command = [sys.executable, "-c", f"from tools_{tool}.cli import main; main()", *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def texts(folder):
    lines = (folder / "responses.jsonl").read_text().splitlines()
    return {(r["task"], r["id"], r["sample"]): r["text"] for r in map(json.loads, lines)}


SMALL = ("--suite", "quick", "--limit", 3, "--max-new-tokens", 48)


def test_tools_bench_finds_name_and_profile_and_gets_what_the_run_says(trained, address, tmp_path):
    said = run("bench", "run", "--endpoint", address, *SMALL, "--output-dir", tmp_path / "there")
    assert re.search("--model-name reasoner: the one model at .*, with the prompt profile of", said)
    run("bench", "run", "--model", trained, "--device", "cpu", *SMALL, "--output-dir", tmp_path / "here")
    there = tmp_path / "there" / "reasoner"
    assert texts(there) == texts(tmp_path / "here" / "reasoner")
    manifest = json.loads((there / "run.json").read_text())
    assert manifest["profile"] == "own"
    assert manifest["options"]["model_name"]["value"] == "reasoner"


def test_tools_traces_too(address, tmp_path):
    words = ["--data", "demo://problems?split=train&size=4", "--max-attempts", 1, "--max-new-tokens", 48]
    said = run("traces", "--engine", "http", "--endpoint", address, *words, "--output-dir", tmp_path / "traces")
    assert re.search("--model-name reasoner: the one model at .*, with the prompt profile of", said)
