"""tools-grpo as its users run it: the command line, killed and resumed, and with wrong input."""

import json
import os
import subprocess
import sys

import pytest

from tools_shared.runs import read_manifest, read_metrics

SMALL = [
    "--train-samples", "16", "--prompts-per-step", "2", "--num-generations", "4", "--batch-size", "4",
    "--max-steps", "5", "--max-completion-length", "48", "--learning-rate", "1e-3", "--reward", "gsm8k-tiered",
    "--save-steps", "2",
]  # fmt: skip


def command(*args):
    return [sys.executable, "-c", "from tools_grpo.cli import main; main()", *map(str, args)]


def run(*args, **env):
    return subprocess.run(command(*args), capture_output=True, text=True, env={**os.environ, **env})


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grpo") / "grpo"
    done = run(*SMALL, "--eval-samples", 8, "--eval-max-new-tokens", 48, "--output-dir", folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def rollouts(folder):
    return [
        json.loads(line)
        for path in sorted((folder / "rollouts").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_every_completion_is_in_the_ledger(unbroken):
    folder, _ = unbroken
    rows = rollouts(folder)
    assert len(rows) == 5 * 2 * 4
    for start in range(0, len(rows), 4):
        group = rows[start : start + 4]
        assert len({row["problem"] for row in group}) == 1
        assert [row["sample"] for row in group] == [0, 1, 2, 3]
        assert abs(sum(row["advantage"] for row in group)) < 1e-3
        totals = [sum(row["rewards"].values()) for row in group]
        assert set(rows[0]["rewards"]) == {"tiered-format", "tiered-tags", "tiered-answer"}
        if len(set(totals)) > 1:
            best, worst = totals.index(max(totals)), totals.index(min(totals))
            assert group[best]["advantage"] > 0 > group[worst]["advantage"]


def test_it_shows_the_check_the_spread_each_step_and_the_gain(unbroken):
    folder, done = unbroken
    assert "rewards on 16 problems: gold 10" in done.stderr
    assert "first batch: reward" in done.stderr
    assert "step 5/5  reward" in done.stderr
    assert "zero-variance groups" in done.stderr
    assert "tokens/s" in done.stderr
    gain = read_manifest(folder).metrics["accuracy_gain"]
    assert gain["low"] <= gain["difference"] <= gain["high"]
    assert gain["n"] == 8
    assert [row["step"] for row in read_metrics(folder)] == [1, 2, 3, 4, 5]


def test_the_number_of_generations_comes_from_the_environment_too(tmp_path):
    done = run("--batch-size", 16, "--prompts-per-step", 8, "--output-dir", tmp_path / "out", NUM_GENERATIONS="3")
    assert done.returncode == 1
    assert "--batch-size 16 does not divide the 24 completions of a step" in done.stderr


REWARDS = """
def constant(completions, **columns):
    return [1.0 for _ in completions]

def backwards(completions, answer, **columns):
    return [0.0 if f">{gold}<" in text else 1.0 for text, gold in zip(completions, answer)]

def broken(completions, **columns):
    return [1 / 0 for _ in completions]
"""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--num-generations", "1"], "--num-generations must be at least 2, got 1"),
        (["--prompts-per-step", "3", "--batch-size", "16"], "does not divide the 24 completions"),
        (["--reward", "no-such"], "no-such"),
        (["--reward-check", "strict", "--reward", "rewards.py:constant"], "nothing can be learned from it"),
        (["--reward-check", "strict", "--reward", "rewards.py:backwards"], "wrong"),
        (["--reward", "rewards.py:missing"], "missing"),
        (["--max-completion-length", "5000"], "exceeds the model's 4096"),
        (["--train-samples", "4"], "4 problems are fewer than --prompts-per-step 8"),
        (["--train-path", "none.jsonl"], "none.jsonl"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(tmp_path, args, message):
    (tmp_path / "rewards.py").write_text(REWARDS)
    args = [a.replace("rewards.py", str(tmp_path / "rewards.py")) for a in args]
    done = run("--no-eval", "--output-dir", tmp_path / "out", *args)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("out*"))


def test_a_reward_that_fails_stops_the_run_with_its_traceback(tmp_path):
    (tmp_path / "rewards.py").write_text(REWARDS)
    done = run("--no-eval", "--output-dir", tmp_path / "out", "--reward", f"{tmp_path}/rewards.py:broken")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "http"], "needs --endpoint"),
        (["--endpoint", "http://x/v1"], "--endpoint is for --engine http"),
        (["--engine", "http", "--endpoint", "http://x/v1", "--full-finetune"], "handed adapters, not whole weights"),
        (["--engine", "vllm", "--full-finetune"], "take --engine transformers"),
        (["--engine", "http", "--endpoint", "http://x/v1", "--adapter", "merge"], "hands adapters to a server"),
        (["--engine", "http", "--endpoint", "http://x/v1", "--temperature", "0.7"], "at temperature 1 alone"),
        (["--engine", "vllm", "--temperature", "0.7", "--top-p", "0.9"], "gives no log-probabilities"),
        (["--engine", "vllm", "--load-in-4bit"], "other weights than vLLM draws with"),
        (["--engine", "vllm", "--loss", "vespo"], "--vllm-importance-sampling token_truncate"),
    ],
)
def test_what_vllm_cannot_draw_for_is_refused_before_anything_is_read(options, said):
    from click.testing import CliRunner

    from tools_grpo.cli import main

    done = CliRunner().invoke(main, ["train", *options])
    assert done.exit_code == 1
    assert said in done.output
