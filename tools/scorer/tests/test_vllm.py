"""With the real vLLM, in the environment that `make vllm-env` makes."""

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("vllm", reason="vLLM is installed in .venv-vllm alone")

from tools_scorer.config.states import ExtractConfig, PreprocessConfig
from tools_scorer.extract import extract
from tools_scorer.preprocess import preprocess
from tools_shared.cli import Invocation

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = [
        {
            "question": f"What is {i // 4} + 3?",
            "response": f"<start_working_out>{'One more step.' * (1 + i % 5)}\n{i}\nso<end_working_out>",
            "ground_truth": "3",
            "extracted_answer": "3",
        }
        for i in range(24)
    ]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = PreprocessConfig(data=str(folder / "t.jsonl"), output_dir=str(folder / "run"), delimiter="\\n")
    preprocess(config, Invocation("tools-scorer", "0.1.0"))
    return folder / "run" / "t.jsonl"


@pytest.mark.parametrize("layers", ["-1", "2,-1"])
def test_vllm_gives_the_states_of_transformers(data, tmp_path, layers):
    options = {"data": str(data), "compute_dtype": "fp32", "dtype": "fp32", "shard_size": 16, "layers": layers}
    theirs = extract(ExtractConfig(**options, engine="vllm", output_dir=str(tmp_path / "v")))
    ours = extract(ExtractConfig(**options, output_dir=str(tmp_path / "t")))
    assert theirs.n_rows == ours.n_rows
    for one, other in zip(theirs.shards, ours.shards, strict=True):
        torch.testing.assert_close(one.states(), other.states(), rtol=2e-3, atol=2e-3)
        torch.testing.assert_close(one.prompt_states(), other.prompt_states(), rtol=2e-3, atol=2e-3)
