"""States kept while the real vLLM generates, against those read again from the same tokens by transformers."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm", reason="vLLM is not in this environment; make vllm-env makes one with it")

PLAIN = 'name: demo-plain\nsystem: Solve the problem.\nanswer: [" The answer is ", "."]\n'
N_ATTEMPTS = 32 * 4


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run that was killed in the middle, and lost one state, and went on."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "plain.yaml").write_text(PLAIN)
    options = {
        "engine": "vllm", "output-dir": folder / "run", "emit": "graded", "keep": "all", "data": "demo://problems?size=32",
        "temperature": 0,  # the only one at which vLLM's CPU build samples the model's tokens while it stores states
        "max-attempts": 4, "max-new-tokens": 60, "batch-size": 4, "profile": folder / "plain.yaml", "dtype": "fp32",
        "hidden-delimiter": "sentence", "hidden-layers": "2,-1", "hidden-dtype": "fp32",
    }  # fmt: skip
    command = [sys.executable, "-c", "from tools_traces.cli import main; main()", "--record-hidden", "--token-ids"]
    command += [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    journal = folder / "run.partial" / "attempts.jsonl"
    first = subprocess.Popen(command, start_new_session=True)
    while first.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 12):
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    parts = sorted((folder / "run.partial" / "traces-hidden.parts").glob("*.safetensors"))
    assert len(parts) >= journal.read_bytes().count(b"\n")
    parts[0].unlink()
    subprocess.run(command, check=True)
    return folder


def test_recorded_states_are_those_that_extract_reads(recorded):
    import torch

    from tools_scorer.config.states import ExtractConfig, PreprocessConfig
    from tools_scorer.extract import extract
    from tools_scorer.preprocess import preprocess
    from tools_scorer.states.folder import open_hidden
    from tools_shared.cli import Invocation

    run = recorded / "run"
    attempts = [json.loads(line) for line in (run / "traces.graded.jsonl").open()]
    assert len(attempts) == N_ATTEMPTS
    assert {len(a["token_ids"]) == 60 for a in attempts if a["finish_reason"] == "length"} <= {True}
    config = PreprocessConfig(
        data=str(run / "traces.graded.jsonl"), output_dir=str(recorded / "data"), delimiter="sentence",
        profile=str(recorded / "plain.yaml"),
    )  # fmt: skip
    preprocess(config, Invocation("tools-scorer", "0.1.0"))
    again = extract(
        ExtractConfig(
            data=str(recorded / "data" / "traces.graded.jsonl"), compute_dtype="fp32", dtype="fp32", layers="2,-1"
        )
    )
    mine = open_hidden(run / "traces-hidden")
    assert mine.n_traces == again.n_traces > N_ATTEMPTS / 2
    assert (
        mine.manifest.differences(again.manifest, ("reader_sha256", "layers", "norm", "delimiter", "tokenizer")) == []
    )
    for (trace, positions, states), (other, their_positions, theirs) in zip(mine, again, strict=True):
        assert trace == other
        assert positions.tolist() == their_positions.tolist()
        torch.testing.assert_close(states, theirs, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(mine.shards[0].prompt_states(), again.shards[0].prompt_states(), rtol=2e-3, atol=2e-3)
    mine.shards[0].verify()
    assert not (run / "traces-hidden.parts").exists()
