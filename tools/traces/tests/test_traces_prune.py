"""--prune of tools-traces: what a stopped attempt leaves, and that rules that never fire leave every byte."""

import json

import pytest

from tools_shared.cli import Invocation
from tools_shared.errors import ToolError
from tools_traces.config import TracesConfig
from tools_traces.sample import sample


def run(folder, plain, **options):
    config = TracesConfig(
        data="demo://problems?split=train&size=8", keep="all", max_attempts=4, max_new_tokens=96, batch_size=16,
        emit="graded", token_ids=True, profile=plain, output_dir=str(folder), **options,
    )  # fmt: skip
    return sample(config, Invocation("tools-traces", "test"))


def attempts(folder):
    return {(a["id"], a["sample"]): a for a in map(json.loads, (folder / "attempts.jsonl").open())}


def test_a_stopped_attempt_is_in_journal_rows_and_figures(tmp_path, plain):
    run(tmp_path / "whole", plain)
    run(tmp_path / "never", plain, prune=("confidence:4<0",))
    assert (tmp_path / "never" / "traces.jsonl").read_bytes() == (tmp_path / "whole" / "traces.jsonl").read_bytes()
    whole, never = attempts(tmp_path / "whole"), attempts(tmp_path / "never")
    assert {k: a["token_ids"] for k, a in never.items()} == {k: a["token_ids"] for k, a in whole.items()}
    least = sorted(a["confidence"][-1][1] for a in never.values())[len(never) // 2]

    manifest = run(tmp_path / "some", plain, prune=(f"confidence:4<{least}",))
    some = attempts(tmp_path / "some")
    assert some.keys() == whole.keys()
    stopped = {key: attempt for key, attempt in some.items() if attempt["pruned"]}
    for key, attempt in stopped.items():
        told = attempt["pruned"]
        assert told["tokens"] == attempt["n_tokens"] == len(attempt["token_ids"])
        assert told["score"] < least
        assert attempt["token_ids"] == whole[key]["token_ids"][: attempt["n_tokens"]]
        assert (attempt["verified"], attempt["verdict"], attempt["finish_reason"]) == (False, "pruned", "pruned")
    assert 0 < len(stopped) == manifest.metrics["attempts_pruned"] < len(some)
    assert manifest.metrics["tokens_pruned"] == sum(attempt["n_tokens"] for attempt in stopped.values())
    graded = [json.loads(line) for line in (tmp_path / "some" / "traces.graded.jsonl").open()]
    assert sum("pruned" in row for row in graded) == len(stopped)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"prune": ("confidence:4",)}, "write confidence:W<C"),
        ({"prune": ("agree:1",), "engine": "ray"}, "works with --engine transformers and vllm"),
        ({"prune": ("agree:1",), "engine": "http", "endpoint": "http://localhost:1/v1"}, "not http"),
    ],
)
def test_rules_that_cannot_work_are_refused_at_once(options, told):
    with pytest.raises(ToolError, match=told):
        TracesConfig(**options)


def test_a_scorer_that_is_not_there_is_found_before_anything_is_drawn(tmp_path, plain):
    with pytest.raises(ToolError, match="no such run directory"):
        run(tmp_path / "run", plain, prune=("step:nosuch<0.5",))
    assert list(tmp_path.iterdir()) == []
