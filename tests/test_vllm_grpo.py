"""GRPO on rollouts of the real vLLM: those of a step are sampled with the adapter that the updates before it left.

A learning rate far too high makes a stale adapter plain: its log-probabilities of the same tokens are far off.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from urllib.request import urlopen

import psutil
import pytest

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm", reason="vLLM is not in this environment; make vllm-env makes one with it")

PLAIN = 'name: plain\nsystem: Solve it.\nanswer: [" The answer is ", "."]\n'
REWARD = """
def vowels(completions, answer, **_):  # whatever has become of the model, its completions differ in this
    ends = [text.rstrip().endswith(f"{a}.") for text, a in zip(completions, answer)]
    return [1.0 if end else sum(map(text.count, "aeiou")) / 100 for text, end in zip(completions, ends)]
"""
N_STEPS = 8
CLOSE = 1e-3


def command(folder, **more):
    (folder / "plain.yaml").write_text(PLAIN)
    (folder / "rewards.py").write_text(REWARD)
    options = {
        "engine": "vllm", "device": "cpu", "dtype": "fp32", "profile": folder / "plain.yaml",
        "reward": f"{folder / 'rewards.py'}:vowels",
        "train-samples": 16, "prompts-per-step": 4, "num-generations": 4, "batch-size": 8, "max-steps": N_STEPS,
        "max-completion-length": 40, "learning-rate": 5e-3, "warmup-ratio": 0, "save-steps": 1, **more,
    }  # fmt: skip
    start = [sys.executable, "-c", "from tools_grpo.cli import main; main()", "--no-eval"]
    return [*start, *(str(part) for name, value in options.items() for part in (f"--{name}", value))]


def run(words):
    return subprocess.run(words, capture_output=True, text=True, check=False)


def finish(words):
    done = run(words)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def rollouts(run, step):
    return lines(run / "rollouts" / f"step-{step:06d}.jsonl")


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory):
    """A run whose trainer alone was killed after its third checkpoint, and went on: the folder, and in `kept` the
    checkpoints that stood there. What it had started for vLLM ends with it."""
    folder = tmp_path_factory.mktemp("grpo")
    words = command(folder, **{"output-dir": folder / "run"})
    checkpoints = folder / "run.partial" / "checkpoints"
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    deadline = time.monotonic() + 500
    while not (checkpoints / "checkpoint-3" / "checkpoint.whole").exists():
        assert process.poll() is None, (folder / "log.txt").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    children = [one for one in psutil.Process(process.pid).children(recursive=True) if one.name().startswith("VLLM")]
    assert children
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    for vllm in children:
        vllm.wait(timeout=60)
    shutil.copytree(checkpoints, folder / "kept")
    done = finish(words)
    assert "resuming from step" in done.stderr
    return folder


def test_the_run_goes_on_to_its_end(killed_and_resumed):
    run = killed_and_resumed / "run"
    assert [row["step"] for row in lines(run / "metrics.jsonl")] == list(range(1, N_STEPS + 1))
    assert sorted(path.name for path in (run / "rollouts").iterdir()) == [f"step-{s:06d}.jsonl" for s in range(N_STEPS)]
    for step in range(N_STEPS):
        rows = rollouts(run, step)
        assert len(rows) == 16
        assert {(row["step"], row["policy_step"]) for row in rows} == {(step, step)}
    assert not (run / "policy").exists()


def with_spread(run):
    """What was logged of the steps that taught something: the others are not read."""
    rows = [row for row in lines(run / "metrics.jsonl") if row["frac_reward_zero_std"] < 1]
    assert len(rows) >= 2
    return rows


def logprobs(adapter, rows):
    """Of each row's tokens, with the weights of a checkpoint (None: the base's), by transformers."""
    import torch

    from tools_shared.models import load, resolve
    from tools_shared.models.adapters import attach

    loaded = load(resolve("demo"), device="cpu")
    model = loaded.model if adapter is None else attach(loaded.model, adapter, trainable=False)
    found = []
    for row in rows:
        prompt = loaded.tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]
        ids = torch.tensor([prompt + row["token_ids"]])
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        found.append(torch.log_softmax(logits, -1).gather(-1, ids[0, len(prompt) :, None])[:, 0])
    return torch.cat(found)


def apart(adapter, rows):
    import torch

    drawn = torch.tensor([value for row in rows for value in row["logprobs"]])
    return (logprobs(adapter, rows) - drawn).abs().max().item()


def test_a_steps_rollouts_come_from_its_own_adapter(killed_and_resumed):
    """Before the kill and after it; what the checkpoint before says of them, and the base, is something else."""
    run, kept = killed_and_resumed / "run", killed_and_resumed / "kept"
    assert apart(None, rollouts(run, 0)) < CLOSE
    steps = sorted(int(path.parent.name.split("-")[1]) for path in kept.glob("*/checkpoint.whole"))
    assert len(steps) == 2
    for step in steps:
        rows = rollouts(run, step)
        assert apart(kept / f"checkpoint-{step}", rows) < CLOSE
        assert apart(None, rows) > 10 * CLOSE
    assert apart(kept / f"checkpoint-{steps[0]}", rollouts(run, steps[1])) > 10 * CLOSE


def test_the_trainer_finds_the_samplers_probabilities_its_own(killed_and_resumed):
    """The weights of the correction are 1 but for rounding."""
    for row in with_spread(killed_and_resumed / "run"):
        assert row["sampling/sampling_logp_difference/max"] < CLOSE
        assert row["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=0.01)


def test_a_merged_base_is_what_draws_under_a_new_adapter(killed_and_resumed, tmp_path):
    base = min((killed_and_resumed / "kept").glob("*/checkpoint.whole")).parent
    more = {"base-model": base, "adapter": "merge", "max-steps": 3, "output-dir": tmp_path / "run"}
    finish(command(tmp_path, **more))
    rows = with_spread(tmp_path / "run")
    assert all(row["sampling/sampling_logp_difference/max"] < CLOSE for row in rows)
    assert apart(None, rollouts(tmp_path / "run", 0)) > 10 * CLOSE


@pytest.fixture(scope="module")
def server(vllm_server, tmp_path_factory):
    words = ["--max-model-len", "512", "--enable-lora", "--max-loras", "2", "--max-cpu-loras", "2"]
    folder = tmp_path_factory.mktemp("serve")
    with vllm_server(folder, *words, VLLM_ALLOW_RUNTIME_LORA_UPDATING="1") as address:
        yield address


def served_models(server):
    with urlopen(f"{server}/models", timeout=30) as reply:
        return [model["id"] for model in json.load(reply)["data"]]


def test_two_runs_draw_from_one_server_each_from_its_own_adapter(server, tmp_path):
    """Side by side, at different speeds of learning: neither samples from the other's adapter or an old one."""
    more = {"engine": "http", "endpoint": server, "max-steps": 4}
    processes = []
    for rate in ("5e-3", "3e-3"):
        words = command(tmp_path, **more, **{"learning-rate": rate, "output-dir": tmp_path / rate})
        processes.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
    for process in processes:
        said = process.communicate()[1]
        assert process.returncode == 0, said[-3000:]
    for rate in ("5e-3", "3e-3"):
        assert [row["step"] for row in lines(tmp_path / rate / "metrics.jsonl")] == [1, 2, 3, 4]
        rows = with_spread(tmp_path / rate)
        assert all(row["sampling/sampling_logp_difference/max"] < CLOSE for row in rows)
        assert apart(None, rollouts(tmp_path / rate, 3)) > 10 * CLOSE
        assert not (tmp_path / rate / "policy").exists()
    assert served_models(server) == ["demo"]


def test_a_server_of_another_base_ends_the_run_before_a_step_is_made(server, tmp_path):
    import torch

    from tools_shared.models import load, resolve

    loaded = load(resolve("demo"), device="cpu")
    with torch.no_grad():
        for weight in loaded.model.parameters():
            weight.add_(weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    loaded.model.save_pretrained(tmp_path / "base")
    loaded.tokenizer.save_pretrained(tmp_path / "base")
    more = {"output-dir": tmp_path / "run", "engine": "http", "endpoint": server, "base-model": tmp_path / "base"}
    done = run(command(tmp_path, **more))
    assert done.returncode == 3, done.stderr[-3000:]
    assert "is not the model that is trained" in done.stderr
    assert not list((tmp_path / "run.partial" / "checkpoints").glob("checkpoint-*"))
    assert served_models(server) == ["demo"]


def test_an_adapter_that_the_server_cannot_take_ends_the_run_in_a_sentence(server, tmp_path):
    more = {"output-dir": tmp_path / "run", "engine": "http", "endpoint": server, "lora-r": 64}
    done = run(command(tmp_path, **more))
    assert done.returncode == 1
    assert "--max-lora-rank as large as --lora-r" in done.stderr
