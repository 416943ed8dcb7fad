"""SFT and GRPO on a real Tinker-compatible server (SkyRL on a CPU) that trains the demo model, in the environment of
`make tinker-env`. Keys and versions that a service refuses are tried on a small server: SkyRL takes every key."""

import csv
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tools_shared.demo import model_path
from tools_shared.runs import read_manifest, read_metrics

pytestmark = pytest.mark.tinker
pytest.importorskip("tinker", reason="the Tinker client is not in this environment; make tinker-env makes one with it")

SERVER = Path(os.environ.get("TINKER_SERVER", ".venv-tinker/server")).resolve()
NEWEST = Path(os.environ.get("TINKER_NEWEST", ".venv-tinker/newest")).resolve()
CONFIG = {"max_lora_adapters": 6, "max_lora_rank": 8, "train_micro_batch_size": 8, "sample_max_num_sequences": 16}
SHIM = """#!/bin/bash
# The server starts its engine by `uv run`, and reads how it was started itself from its parent's command line.
while [ "$1" != "-m" ]; do shift; done
{python} "$@"
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The address of a server whose one base model is the demo."""
    folder = tmp_path_factory.mktemp("tinker")
    shim = folder / "uv"
    shim.write_text(SHIM.format(python=SERVER / "bin" / "python"))
    shim.chmod(0o755)
    port = free_port()
    environment = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "JAX_PLATFORMS": "cpu",
        "HF_HUB_OFFLINE": "1",
        "JAX_COMPILATION_CACHE_DIR": str(SERVER / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    environment.pop("PYTHONPATH", None)
    words = [shim, "run", "--extra", "jax", "-m", "skyrl.tinker.api", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--base-model", model_path(), "--backend", "jax", "--backend-config", json.dumps(CONFIG)]
    words += ["--checkpoints-base", folder / "saved", "--database-url", f"sqlite:///{folder}/server.db"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            list(map(str, words)), env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 300
        while not answers(url):
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(f"{url}/api/v1/healthz", timeout=5).status == 200
    except OSError:
        return False


def words_of(tool: str, *words) -> list[str]:
    return [sys.executable, "-c", f"from tools_{tool}.cli import main; main()", *map(str, words)]


def run(tool: str, *words, key: str = "tml-test", **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        words_of(tool, *words),
        capture_output=True,
        text=True,
        env={**os.environ, "TINKER_API_KEY": key, **environment},
        check=False,
    )


def done(tool: str, *words, **environment) -> str:
    result = run(tool, *words, **environment)
    assert result.returncode == 0, result.stderr
    return result.stderr


TRAIN = ("--backend", "tinker", "--base-model", "demo", "--learning-rate", 5e-3, "--batch-size", 8)
ONE_LENGTH = ("--max-length", 128, "--on-overlong", "drop")
"""The server pads to powers of two and compiles for each length that it meets, which takes it longer than the rest."""
EVAL = ("--eval-data", "demo://problems?split=test&size=16&seed=1", "--eval-max-new-tokens", 96)


@pytest.fixture(scope="module")
def sft(service, tmp_path_factory):
    """A run of SFT that was killed in its third step or later and resumed; its folder and what the resumption said."""
    folder = tmp_path_factory.mktemp("runs") / "sft"
    words = [*TRAIN, *EVAL, "--tinker-url", service, "--data", "demo://problems?split=train&size=96"]
    words += [*ONE_LENGTH, "--max-steps", 24, "--output-dir", folder]
    environment = {**os.environ, "TINKER_API_KEY": "tml-test"}
    killed = subprocess.Popen(words_of("sft", *words), env=environment, stderr=subprocess.PIPE, text=True)
    metrics = Path(f"{folder}.partial/metrics.jsonl")
    deadline = time.monotonic() + 400
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < 3:
        assert killed.poll() is None, killed.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    return folder, done("sft", *words)


def test_sft_lowers_the_loss_and_a_killed_run_pays_for_no_step_twice(sft):
    folder, said = sft
    record = json.loads((folder / "tinker.json").read_text())
    first = int(said.partition("resuming from step ")[2].partition(",")[0])
    steps = [row["step"] for row in read_metrics(folder)]
    assert first >= 3
    assert len(record["training_runs"]) == 2
    # The last step before the kill may be saved on the service without having been logged here; none is made twice.
    assert steps == sorted(set(steps))
    assert set(range(first + 1, 25)) <= set(steps)
    assert len(steps) >= 23
    metrics = read_manifest(folder).metrics
    assert metrics["steps"] == 24
    assert metrics["last_loss"] < 0.3 * metrics["first_loss"]
    assert metrics["weights_changed"] is True


def test_fetched_adapter_says_what_the_service_said(sft, tmp_path):
    folder, _ = sft
    done("bench", "evaluate", "--model-path", folder, *EVAL, "--output-dir", tmp_path / "home")
    there, here = (texts(one) for one in (folder, tmp_path / "home"))
    assert len(here) == 16
    assert here == there
    assert read_manifest(folder).metrics["accuracy"] == read_manifest(tmp_path / "home").metrics["accuracy"]


def texts(folder: Path) -> list[str]:
    with next((folder / "debug").glob("*.csv")).open(encoding="utf-8", newline="") as file:
        return [row["generated_text"] for row in csv.DictReader(file)]


def test_grpo_continues_the_run_on_the_service_and_raises_the_reward(service, sft, tmp_path):
    words = ["--backend", "tinker", "--tinker-url", service, "--base-model", sft[0], "--learning-rate", 1e-3]
    words += ["--data", "demo://problems?split=train&size=4", "--reward", "gsm8k-tiered", "--max-steps", 8]
    words += ["--prompts-per-step", 4, "--num-generations", 8, "--batch-size", 8, "--max-completion-length", 96]
    done("grpo", *words, *EVAL, "--tinker-weights", "keep", "--output-dir", tmp_path / "grpo")
    rows = list(read_metrics(tmp_path / "grpo"))
    rewards = [row["reward"] for row in rows]
    assert sum(rewards[-3:]) > sum(rewards[:3])
    # Trainer and sampler of the server compute the same model.
    assert rows[0]["sampling/logp_difference"] < 0.05
    rollouts = [json.loads(line) for line in (tmp_path / "grpo/rollouts/step-000000.jsonl").read_text().splitlines()]
    assert len(rollouts) == 32
    assert {len(one["logprobs"]) == one["n_tokens"] for one in rollouts} == {True}
    manifest = read_manifest(tmp_path / "grpo")
    assert manifest.metrics["tinker_model"].startswith("tinker://")
    assert not (tmp_path / "grpo/model").exists()
    assert "tml-test" not in "".join(p.read_text("utf-8") for p in (tmp_path / "grpo").rglob("*") if p.is_file())


def test_newest_client_trains(service, tmp_path):
    """Its samples need a newer server than there is; training and fetching do not."""
    words = [
        *TRAIN,
        "--tinker-url",
        service,
        "--data",
        "demo://problems?split=train&size=16",
        *ONE_LENGTH,
        "--max-steps",
        2,
    ]
    path = os.pathsep.join(filter(None, [str(NEWEST), os.environ.get("PYTHONPATH")]))
    done("sft", *words, "--no-eval", "--output-dir", tmp_path / "run", PYTHONPATH=path)
    packages = read_manifest(tmp_path / "run").data["packages"]
    assert tuple(map(int, packages["tinker"].split(".")[:2])) > (0, 25)


def test_the_servers_replacement_for_peft_writes_what_peft_writes(tmp_path):
    import peft

    there = runpy.run_path(str(Path(__file__).parent / "tinker_server" / "peft.py"))["LoraConfig"]
    written = {}
    for name, kind in (("ours", there), ("theirs", peft.LoraConfig)):
        (tmp_path / name).mkdir()
        kind(base_model_name_or_path="some/model", r=4, lora_alpha=32).save_pretrained(tmp_path / name)
        written[name] = json.loads((tmp_path / name / "adapter_config.json").read_text())
    left_out = {key: value for key, value in written["theirs"].items() if key not in written["ours"]}
    assert {key: written["theirs"][key] for key in written["ours"]} == written["ours"] | {
        "peft_version": peft.__version__
    }
    assert not {value for value in left_out.values() if isinstance(value, bool) and value}


class Refusing(BaseHTTPRequestHandler):
    status, detail = 401, ""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        is_well = self.path.endswith("healthz")
        body = json.dumps({"status": "ok"} if is_well else {"detail": self.detail}).encode()
        self.send_response(200 if is_well else self.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815 - so the library calls them

    def log_message(self, *args) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "detail", "key", "words"),
    [
        (401, "unknown key", "tml-wrong", "refuses the key in TINKER_API_KEY"),
        (403, "no access to training", "tml-wrong", "refuses the key in TINKER_API_KEY"),
        (401, "", "sk-of-another-service", "refuses the key in TINKER_API_KEY"),
        (400, "SDK version no longer supported", "tml-old", "pip install -U tinker"),
    ],
)
def test_refusal_of_a_service_is_one_line(tmp_path, status, detail, key, words):
    handler = type("Handler", (Refusing,), {"status": status, "detail": detail})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        refused_in_one_line(tmp_path, f"http://127.0.0.1:{server.server_port}", key, words)
    finally:
        server.shutdown()


def test_service_that_is_down_is_one_line(tmp_path):
    refused_in_one_line(tmp_path, f"http://127.0.0.1:{free_port()}", "tml-test", "does not answer")


def test_missing_key_is_one_line(tmp_path):
    refused_in_one_line(tmp_path, "http://127.0.0.1:1", "", "set TINKER_API_KEY")


def test_model_that_the_service_does_not_train_is_one_line(service, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(model_path(), other)
    result = run("sft", *TRAIN[:2], "--base-model", other, "--tinker-url", service, *FEW, tmp_path / "run")
    assert result.returncode == 1
    assert "does not train this model" in result.stderr
    assert "Traceback" not in result.stderr


FEW = ("--data", "demo://problems?split=train&size=8", "--max-steps", 1, "--no-eval", "--output-dir")


def refused_in_one_line(tmp_path: Path, url: str, key: str, words: str) -> None:
    result = run("sft", *TRAIN, "--tinker-url", url, *FEW, tmp_path / "run", key=key)
    assert result.returncode == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert key not in result.stderr or not key
    assert not Path(f"{tmp_path}/run.partial").exists()


def test_the_documented_workflow_trains_on_the_service(service, tmp_path, workflow):
    """docs/workflow.sh with the key and the address in .env; the weights come home, as this server has no endpoint."""
    (tmp_path / ".env").write_text(f"TINKER_API_KEY=tml-test\nTINKER_BASE_URL={service}\n")
    workflow(
        tmp_path,
        NAME="demo",
        SUITE="quick",
        BASELINE="--model demo",
        BENCH_OPTIONS="--limit 3 --max-new-tokens 16",
        SFT_OPTIONS="--base-model demo --epochs 1 --batch-size 8",
    )
    cost = read_manifest(tmp_path / "artifacts" / "sft_001").data["cost"]
    (row,) = [row for row in cost["tokens"] if row["part"] == "training"]
    assert row["source"].startswith(service)
    assert row["in"] > 0
    assert row["money"] == "unknown"
    assert (tmp_path / "experiments" / "sft" / "sft_001" / "comparison.json").exists()
