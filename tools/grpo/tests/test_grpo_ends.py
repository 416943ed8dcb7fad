"""The engine, TRL and the ledger agree on which completions were cut, whatever token ends a turn."""

import json
from statistics import fmean

import pytest
from click.testing import CliRunner
from zoo import ZOO, save_model

from tools_grpo.cli import main
from tools_shared.runs import read_manifest, read_metrics

ENDS_BY_TURN = [name for name, kind in ZOO.items() if kind.turn != kind.eos]


def run(name, tmp_path, *args):
    model = save_model(name, tmp_path / "model")
    rows = [{"question": f"How many wheels have {n} carts?", "answer": f"{n} * 4\n#### {4 * n}"} for n in range(2, 6)]
    (tmp_path / "carts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [
        "--base-model", model, "--train-path", tmp_path / "carts.jsonl", "--no-eval", "--prompts-per-step", 4,
        "--num-generations", 4, "--max-steps", 1, "--batch-size", 8, "--max-completion-length", 150, "--output-dir",
        tmp_path / "out", "--reward", "verified", "--reward", "length:0.1", *args,
    ]  # fmt: skip
    done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (step,) = read_metrics(tmp_path / "out")
    (file,) = (tmp_path / "out" / "rollouts").glob("*.jsonl")
    return step, [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("name", ENDS_BY_TURN)
def test_finished_completions_count_as_finished_and_are_learned(name, tmp_path):
    step, rollouts = run(name, tmp_path, "--mask-truncated")
    cut = fmean(row["finish_reason"] == "length" for row in rollouts)
    assert len(rollouts) == 16
    assert cut < 1
    assert step["completions/clipped_ratio"] == pytest.approx(cut)
    assert step["grad_norm"] > 0
    assert read_manifest(tmp_path / "out").metrics["weights_changed"] is True
