"""A GRPO run whose steps taught nothing says which of the reasons it was."""

import json
import os
import subprocess
import sys

from tools_shared.runs import read_manifest, read_metrics

REWARDS = """
def by_length(completions, answer, **columns):
    return [5.0 if a in c else len(c) / 1000 for c, a in zip(completions, answer)]
"""
SMALL = ["--prompts-per-step", "2", "--num-generations", "2", "--batch-size", "4", "--no-eval"]


def run(tmp_path, name, *args):
    (tmp_path / "own.py").write_text(REWARDS)
    questions = [
        {"question": f"How many legs have {n} spiders?", "answer": f"{n} * 8\n#### {8 * n}"} for n in range(2, 6)
    ]
    (tmp_path / "legs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    folder = tmp_path / name
    words = [sys.executable, "-c", "from tools_grpo.cli import main; main()", *SMALL, "--train-path",
             tmp_path / "legs.jsonl", "--output-dir", folder, *args]  # fmt: skip
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    return read_manifest(folder).metrics, done.stderr, folder


def test_rewards_that_are_all_alike_are_said_at_the_end(tmp_path):
    # Before it has learned the format, the demo's base model never satisfies `verified`.
    metrics, told, folder = run(tmp_path, "alike", "--max-completion-length", "16", "--merge")
    assert metrics["weights_changed"] is False
    assert "this run has learned nothing" in told
    assert "no group of any step had completions of different rewards" in told
    assert not (folder / "merged").exists()


def test_masked_completions_are_said_at_the_end(tmp_path):
    metrics, told, _ = run(
        tmp_path,
        "masked",
        "--reward",
        f"{tmp_path / 'own'}.py:by_length",
        "--mask-truncated",
        "--max-completion-length",
        "2",
    )
    assert metrics["weights_changed"] is False
    assert "every completion was cut at the length limit" in told


def test_one_step_changes_the_weights(tmp_path):
    reward = f"{tmp_path / 'own'}.py:by_length"
    metrics, told, folder = run(
        tmp_path,
        "one",
        "--reward",
        reward,
        "--max-completion-length",
        "16",
        "--max-steps",
        "1",
        "--learning-rate",
        "1e-3",
    )
    assert [row["learning_rate"] for row in read_metrics(folder)] == [1e-3]
    if next(iter(read_metrics(folder)))["grad_norm"]:
        assert metrics["weights_changed"] is True
        assert "learned nothing" not in told
