"""`make pipeline` from the demo to the dashboard, cut off in the middle of GRPO and started again."""

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tools_shared.runs import read_manifest

ROOT = Path(__file__).parents[1]
STAGES = ["base_eval", "prep_sft", "full_sft", "grpo", "traces", "sft_from_traces", "compare", "scorer", "scorer_eval"]
COMPARED = ["base_eval", "prep_sft", "full_sft", "grpo", "sft_from_traces"]


def make(*words, **options):
    return subprocess.run(
        ["make", *words], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options
    )


def wait_for(folder: Path, pattern: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 1800
    while not list(folder.glob(pattern)):
        assert process.poll() is None, "make ended before GRPO was under way"
        assert time.monotonic() < deadline, f"{folder}/{pattern} did not appear"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    """The whole demo pipeline, killed with -9 in the middle of GRPO and started again."""
    folder = tmp_path_factory.mktemp("pipeline")
    with (folder / "first.log").open("w") as log:
        first = subprocess.Popen(
            ["make", "pipeline", f"ARTIFACTS={folder}"], cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
        wait_for(folder, "grpo.partial/checkpoints/checkpoint-*/checkpoint.whole", first)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert not (folder / "grpo").exists()
    done = make("pipeline", f"ARTIFACTS={folder}")
    (folder / "second.log").write_text(done.stdout)
    assert done.returncode == 0, done.stdout[-3000:]
    return folder


@pytest.mark.slow
def test_both_ways_of_training_beat_the_prepared_model(artifacts):
    comparison = json.loads((artifacts / "compare" / "comparison.json").read_text())
    runs = {run["name"]: run for run in comparison["runs"]}
    assert list(runs) == COMPARED
    assert comparison["n"] == 512
    accuracy = {name: run["accuracy"]["estimate"] for name, run in runs.items()}
    assert accuracy["base_eval"] <= 0.10 < accuracy["prep_sft"]
    assert runs["full_sft"]["accuracy_difference"]["low"] > 0
    assert runs["grpo"]["accuracy_difference"]["low"] > 0
    assert runs["sft_from_traces"]["accuracy_difference"]["low"] > 0
    assert (artifacts / "compare" / "comparison.png").stat().st_size > 10_000
    assert "sft_from_traces" in (artifacts / "report.html").read_text()


@pytest.mark.slow
def test_training_did_not_see_the_test_set(artifacts):
    """The demo's training set has copies and rewordings of test questions planted in it, and template twins."""

    def labels(name):
        rows = (json.loads(line) for line in (artifacts / "dedup" / name).read_text().splitlines())
        return Counter(row["label"] for row in rows)

    kept, removed = labels("train.jsonl"), labels("train.removed.jsonl")
    assert kept["copy"] == 0
    assert removed["rewording"] > 0.9 * (removed["rewording"] + kept["rewording"])
    assert kept["twin"] > 0.9 * (kept["twin"] + removed["twin"])
    assert kept["clean"] > 0.95 * (kept["clean"] + removed["clean"])


@pytest.mark.slow
def test_the_killed_grpo_went_on_from_its_checkpoint_and_says_so(artifacts):
    sessions = read_manifest(artifacts / "grpo").data["sessions"]
    assert len(sessions) == 2
    assert sessions[1]["from_step"] > 0
    assert "resuming the interrupted run" in (artifacts / "second.log").read_text()


@pytest.mark.slow
def test_the_lineage_is_a_chain_of_hashes(artifacts):
    prep = read_manifest(artifacts / "prep_sft").sha256
    assert read_manifest(artifacts / "full_sft").parents() == [prep]
    assert read_manifest(artifacts / "grpo").parents() == [prep]
    assert prep in read_manifest(artifacts / "compare").parents()


@pytest.mark.slow
def test_the_scorer_is_judged_on_questions_that_it_was_not_trained_on(artifacts):
    results = json.loads((artifacts / "scorer_eval" / "results.json").read_text())
    within = results["within"]
    assert results["split"] == "test"
    assert within["n"] > 20
    assert 0 <= within["low"] <= within["estimate"] <= within["high"] <= 1
    assert results["pooled"]["low"] > 0.5  # the question alone tells that much
    assert results["calibration"]["ece_after"] < results["calibration"]["ece_before"]
    assert "scorer_eval/report.html" in (artifacts / "second.log").read_text()


@pytest.mark.slow
def test_a_second_make_runs_nothing(artifacts):
    before = {stage: (artifacts / stage / "run.json").stat().st_mtime_ns for stage in STAGES}
    done = make("pipeline", f"ARTIFACTS={artifacts}")
    assert done.returncode == 0
    assert "tools-" not in done.stdout
    assert re.search(r"grpo +\d+\.\d %", done.stdout)
    assert {stage: (artifacts / stage / "run.json").stat().st_mtime_ns for stage in STAGES} == before


@pytest.mark.slow
def test_other_settings_do_not_pass_for_the_same_run(artifacts):
    done = make("pipeline", f"ARTIFACTS={artifacts}", "TRAIN_SAMPLES=64", "EVAL_SAMPLES=8")
    assert done.returncode != 0
    assert "has another configuration: eval_samples is None there, 8 here" in done.stdout
    assert make("pipeline", f"ARTIFACTS={artifacts}").returncode == 0
