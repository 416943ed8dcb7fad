"""The trackers as their own packages run them, offline: each where it is installed (pip install tools-shared[NAME])."""

import json
import sqlite3

import pytest

from tools_shared.runs import read_metrics

ARGS = [
    "--train-path", "demo://problems?split=train&size=32", "--max-steps", "2", "--logging-steps", "1", "--no-eval",
]  # fmt: skip


@pytest.fixture
def tracked(trainer, tmp_path):
    """Trains with a tracker, into folders of the test's own; returns the losses by step of `metrics.jsonl`."""

    def train(tracker):
        pytest.importorskip(tracker)
        own = {
            "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "TRACKIO_DIR": str(tmp_path),
            "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        }  # fmt: skip
        done = trainer("sft").run(*ARGS, "--report-to", tracker, "--output-dir", tmp_path / "run", **own)
        assert done.returncode == 0, done.stderr
        return {row["step"]: row["loss"] for row in read_metrics(tmp_path / "run")}

    return train


def test_mlflow_has_the_losses_of_metrics(tracked, tmp_path):
    logged = tracked("mlflow")
    rows = sqlite3.connect(tmp_path / "mlflow.db").execute("select step, value from metrics where key = 'loss'")
    assert dict(rows.fetchall()) == pytest.approx(logged)


def test_trackio_has_the_losses_of_metrics(tracked, tmp_path):
    logged = tracked("trackio")
    (path,) = tmp_path.glob("*.db")
    rows = [json.loads(text) for (text,) in sqlite3.connect(path).execute("select metrics from metrics")]
    losses = {row["train/global_step"]: row["train/loss"] for row in rows if "train/loss" in row}
    assert losses == pytest.approx(logged)


def test_wandb_has_the_losses_of_metrics(tracked, tmp_path):
    """Its offline file is of its own format, in which values stand as JSON."""
    logged = tracked("wandb")
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert all(json.dumps(loss).encode() in path.read_bytes() for loss in logged.values())
