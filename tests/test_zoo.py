"""Each family goes through training, merging, GRPO, sampling and evaluation, and what it saves loads again."""

import json

import pytest
from click.testing import CliRunner
from zoo import ZOO, save_model

from tools_bench.cli import main as bench
from tools_grpo.cli import main as grpo
from tools_sft.cli import main as sft
from tools_shared.runs import read_manifest
from tools_traces.cli import main as traces

LENGTH = 24


def done(command, *words):
    result = CliRunner().invoke(command, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("family", ZOO)
def test_a_family_goes_through_every_tool(family, tmp_path):
    base = save_model(family, tmp_path / "base")
    rows = [{"question": f"How many legs have {n} spiders?", "answer": f"{n} * 8\n#### {8 * n}"} for n in range(2, 6)]
    data = tmp_path / "spiders.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = tmp_path / "sft"
    done(
        sft, "--base-model", base, "--data", data, "--max-steps", 2, "--batch-size", 2, "--packing", "--merge",
        "--eval-data", data, "--eval-max-new-tokens", LENGTH, "--output-dir", run,
    )  # fmt: skip
    trained = read_manifest(run).metrics
    assert trained["weights_changed"]
    assert trained["merge_difference"] < 1e-3
    done(
        grpo, "--base-model", run, "--data", data, "--no-eval", "--max-steps", 1, "--prompts-per-step", 2,
        "--num-generations", 3, "--max-completion-length", LENGTH, "--reward", "length", "--guard-steps", 0,
        "--output-dir", tmp_path / "grpo",
    )  # fmt: skip
    done(
        traces, "--model-path", tmp_path / "grpo", "--data", data, "--max-attempts", 2, "--max-new-tokens", LENGTH,
        "--output-dir", tmp_path / "traces",
    )  # fmt: skip
    rates = []
    for name, model in (("adapter", run), ("merged", run / "merged")):
        done(
            bench, "evaluate", "--model-path", model, "--eval-data", data, "--eval-max-new-tokens", LENGTH,
            "--output-dir", tmp_path / name,
        )  # fmt: skip
        rates.append(read_manifest(tmp_path / name).metrics["mean_tokens"])
    assert rates[0] == rates[1] == trained["mean_tokens"]
