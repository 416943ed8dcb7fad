"""A probe as the only reward: GRPO raises it on questions that neither has seen, and right answers do not follow.

The probe learns from four traces each of 64 questions, as few as somebody in a hurry would take. What is claimed is in
docs/rubrics.md, with the figures of this test.
"""

import json

import numpy as np
import pytest

from tools_shared.engines import EngineConfig, SamplingParams, open_engine
from tools_shared.models import resolve
from tools_shared.prompts import PROFILES, render_question
from tools_shared.rewards import load_rewards
from tools_shared.runs import read_metrics
from tools_shared.sources import read_problems
from tools_shared.stats import paired_difference

TAGS = PROFILES["gsm8k-tags"]
N_SAMPLES = 4


def worth(model, scorer, n_questions=32):
    """Mean reward of the probe, and share of right answers, of each question's samples."""
    engine = open_engine(resolve(str(model)), EngineConfig(device="cpu"))
    problems = read_problems(f"demo://problems?split=test&size={n_questions}&seed=9").items
    prompts = [render_question(engine.tokenizer, TAGS, problem.question) for problem in problems]
    params = SamplingParams(temperature=1.0, max_new_tokens=96, n=N_SAMPLES, seed=1)
    texts = [completion.text for group in engine.generate(prompts, params) for completion in group]
    asked = [problem for problem in problems for _ in range(N_SAMPLES)]
    columns = {"question": [problem.question for problem in asked], "answer": [problem.answer for problem in asked]}
    paid, right = (
        reward([problem.question for problem in asked], texts, **columns)
        for reward in load_rewards([f"scorer:{scorer}", "correct"], TAGS)
    )
    groups = [slice(i, i + N_SAMPLES) for i in range(0, len(texts), N_SAMPLES)]
    return tuple(
        np.array([np.mean([0.0 if value is None else value for value in values[group]]) for group in groups])
        for values in (paid, right)
    )


@pytest.mark.slow
def test_a_probe_that_is_the_only_reward_is_hacked(tmp_path, trainer):
    sft, probe, hacked = (tmp_path / name for name in ("sft", "probe", "hacked"))
    steps = (
        ("sft", "--stage", "prep", "--prep-train-samples", 96, "--epochs", 4, "--batch-size", 8, "--learning-rate",
         2e-3, "--no-eval", "--output-dir", tmp_path / "prep"),
        ("sft", "--stage", "full", "--base-model", tmp_path / "prep", "--train-samples", 512, "--epochs", 1,
         "--batch-size", 16, "--learning-rate", 1e-3, "--no-eval", "--output-dir", sft),
        ("traces", "--model", sft, "--data", "demo://problems?size=64", "--keep", "all", "--emit", "graded",
         "--token-ids", "--max-attempts", N_SAMPLES, "--temperature", 1, "--batch-size", 64, "--max-new-tokens", 96,
         "--fallback", "skip", "--output-dir", tmp_path / "traces"),
        ("scorer", "preprocess", "--data", tmp_path / "traces" / "traces.graded.jsonl", "--model", sft, "--delimiter",
         "sentence", "--output-dir", tmp_path / "data"),
        ("scorer", "extract", "--model", sft, "--data", tmp_path / "data" / "traces.graded.jsonl", "--output-dir",
         tmp_path / "hidden"),
        ("scorer", "train", "--config-name", "demo", "--data", tmp_path / "hidden", "--output-dir", probe),
        ("grpo", "--base-model", sft, "--reward", f"scorer:{probe}", "--num-generations", 8, "--prompts-per-step", 8,
         "--batch-size", 32, "--max-steps", 14, "--logging-steps", 2, "--guard-steps", 0, "--learning-rate", 1e-3,
         "--temperature", 1, "--max-completion-length", 96, "--no-eval", "--output-dir", hacked),
    )  # fmt: skip
    for tool, *words in steps:
        done = trainer(tool).run(*words)
        assert done.returncode == 0, done.stderr
    assert "can be hacked: its reward may rise while accuracy does not" in done.stderr
    assert "the model may raise the reward without more right answers" in done.stderr
    told = [row for row in read_metrics(hacked) if f"signs/scorer:{probe}/correct" in row]
    assert told, "the correlation of reward and right answers is logged"

    before, after = worth(sft, probe), worth(hacked, probe)
    reward, accuracy = (paired_difference(a, b) for a, b in zip(before, after, strict=True))
    print(json.dumps({"reward": str(reward), "accuracy": str(accuracy), "before": [float(v.mean()) for v in before]}))
    assert reward.low > 0
    assert accuracy.high < 0
