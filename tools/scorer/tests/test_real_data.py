"""Real, labelled solutions of models: each is read as the grader's label says, and runs through to hidden states."""

import json
from pathlib import Path

import pytest

from tools_scorer.config.states import ExtractConfig, PreprocessConfig
from tools_scorer.extract import extract
from tools_scorer.preprocess import preprocess
from tools_shared.cli import Invocation

FILE = Path(__file__).parents[4] / "shared/data/gsm8k/example_model_solutions.jsonl"
MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not FILE.exists(), reason=f"the labelled solutions are not at {FILE}"),
]


def test_labelled_solutions_become_traces_and_hidden_states(tmp_path):
    config = PreprocessConfig(
        data=str(FILE),
        output_dir=str(tmp_path / "data"),
        response_key=tuple(f"{name}.solution" for name in MODELS),
        delimiter="\\n",
        untagged="whole",
    )
    metrics = preprocess(config, Invocation("tools-scorer", "0.1.0")).metrics
    assert (metrics["n_traces"], metrics["n_rejected"], metrics["n_groups"]) == (5276, 0, 1319)
    path = tmp_path / "data" / FILE.name
    labels = [json.loads(line)[name]["is_correct"] for line in FILE.read_text().splitlines() for name in MODELS]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["is_correct"] for row in rows] == labels
    assert all("".join(row["segmented_text_list"]) == row["prompt"] + row["forward_text"] for row in rows)
    hidden = extract(ExtractConfig(data=str(path), output_dir=str(tmp_path / "h"), end_idx=64))
    assert hidden.n_rows == sum(len(row["extracted_position"]) for row in rows[:64])
