"""docs/workflow/workflow.sh as a reader runs it, against local servers; on a service test_tinker.py does."""

import json

import pytest

STEPS = ["1. Benchmark the baseline", "2. Tag the problems", "3. Train", "4. Benchmark the trained model", "5. Compare"]


def tutor(right):
    """A tutor's /chat that gives hints, and reveals the answer unless it is `right`."""

    def reply(path, body, number):
        hint = "What could you try first?" if right else "The answer is 12."
        return 200, {"response": hint}, {}

    return reply


@pytest.mark.slow
def test_the_workflow_from_a_fresh_folder(tmp_path, serve, workflow):
    before, after = (f"{serve(tutor(right)).url}/chat" for right in (False, True))
    said = workflow(
        tmp_path,
        SUITE="quick",
        BASELINE=f"--endpoint {before}",
        TRAINED=f"--endpoint {after}",
        SFT_OPTIONS="--backend local --base-model demo --max-steps 2 --device cpu",
    )
    assert [line for line in said.splitlines() if line[:3] in ("1. ", "2. ", "3. ", "4. ", "5. ")] == [
        *STEPS[:4], "5. Compare, and keep the experiment"
    ]  # fmt: skip
    kept = tmp_path / "experiments" / "sft" / "sft_001"
    comparison = json.loads((kept / "comparison.json").read_text())
    assert comparison["baseline"] == "qwen3:8b-baseline"
    assert comparison["current"] == "qwen3:8b-sft-001"
    assert comparison["metrics"]["socratic_step_rate"]["difference"] > 0
    tagged = [json.loads(line) for line in (tmp_path / "data" / "tagged_math.jsonl").read_text().splitlines()]
    assert all(row["topic_tags"] for row in tagged)
    assert "## Cost" in (kept / "README.md").read_text()
    assert "## Cost" in (kept / "TRAINING.md").read_text()
    assert (tmp_path / "experiments" / "report.html").stat().st_size > 10_000
