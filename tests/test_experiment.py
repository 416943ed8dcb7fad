"""`make compare-train-samples`: two jobs at a time, resumed, and with a third line once there are traces."""

import csv
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUDGETS, SEEDS = ("16", "32"), ("0", "1")


def compare(folder, *words):
    command = ["make", "-j", "2", *words, f"BUDGETS={' '.join(BUDGETS)}", f"SEEDS={' '.join(SEEDS)}"]
    command += [f"ARTIFACTS={folder}", f"CONFIGS={folder}/configs", "TRAIN=demo://problems?split=train&size=48"]
    command += ["EVAL_SAMPLES=16", "NUM_GENERATIONS=4", "PREP_TRAIN_SAMPLES=32"]
    return subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def table(folder):
    with (folder / "budgets" / "figure" / "budget.csv").open() as file:
        return [(row["way"], row["rows"], row["seeds"]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_the_experiment_is_incremental_and_parallel(tmp_path):
    shutil.copytree(ROOT / "configs" / "demo", tmp_path / "configs")
    settings = tmp_path / "configs" / "grpo.yaml"
    settings.write_text(settings.read_text().replace("max_steps: 60", "max_steps: 2"))
    first = compare(tmp_path, "compare-train-samples")
    assert first.returncode == 0, first.stdout[-3000:]
    assert table(tmp_path) == [(way, rows, "0 1") for way in ("full_sft", "grpo") for rows in BUDGETS]
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("budgets/*/*-*/run.json")}
    assert len(made) == 8

    shutil.rmtree(tmp_path / "budgets" / "grpo" / "32-1")
    assert compare(tmp_path, "compare-train-samples").returncode == 0
    again = {path: path.stat().st_mtime_ns for path in tmp_path.glob("budgets/*/*-*/run.json")}
    assert [path.parent.name for path in made if made[path] != again[path]] == ["32-1"]

    assert compare(tmp_path, "traces").returncode == 0
    third = compare(tmp_path, "compare-train-samples")
    assert third.returncode == 0, third.stdout[-3000:]
    assert {way for way, _, _ in table(tmp_path)} == {"full_sft", "grpo", "sft_from_traces"}
    assert (tmp_path / "budgets" / "figure" / "budget.png").stat().st_size > 10_000
