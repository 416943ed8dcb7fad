"""A real local Ray of two workers encodes what one process would have encoded."""

from __future__ import annotations

import contextlib
import json
import threading
import time

import numpy as np
import psutil
import pytest

from tools_dedup.semantic import vectors
from tools_dedup.semantic.vectors import Embedder
from tools_shared.errors import ToolError

from .conftest import TRAIN, write_rows

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

RAY = ("--engine", "ray", "--ray-workers", "2")


@pytest.fixture
def many(folder, monkeypatch):
    """Rows for five units of 64, so that both workers have something to do."""
    monkeypatch.setattr(vectors, "UNIT_TEXTS", 64)
    rows = [{**row, "goal": f"{row['goal']}, way {i}" + " and slowly" * (i % 7)} for i in range(80) for row in TRAIN]
    return write_rows(folder / "many.jsonl", rows)


def outputs(folder, name):
    return [(folder / f"{name}{ending}").read_bytes() for ending in (".jsonl", ".matches.jsonl", ".removed.jsonl")]


def test_two_workers_give_the_bytes_of_one_process(dedup, folder, minilm, many):
    words = ("--model", minilm, "--threshold", "0.7")
    for name, more in (("local", ()), ("ray", RAY)):
        result = dedup(*words, *more, "--cache-dir", name, "--json", train=many.name, output=f"{name}.jsonl")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout.splitlines()[-1])["metrics"]["n_encoded"] == 322
    assert outputs(folder, "local") == outputs(folder, "ray")
    cached = [sorted(np.load(p).tobytes() for p in (folder / n).glob("*/*.vectors.npy")) for n in ("local", "ray")]
    assert [sum(map(len, parts)) for parts in cached] == [322 * 384 * 4] * 2


def test_a_killed_worker_loses_nothing(dedup, folder, minilm, many):
    words = ("--model", minilm, "--threshold", "0.7")
    assert dedup(*words, "--cache-dir", "local", train=many.name, output="local.jsonl").exit_code == 0
    killed = []

    def kill_one():
        while not killed:
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    command = process.cmdline()
                    if command and command[0].startswith("ray::MapWorker") and process.cpu_times().user > 2:
                        process.kill()
                        killed.append(process.pid)
                        return
            time.sleep(0.05)

    threading.Thread(target=kill_one, daemon=True).start()
    result = dedup(*words, *RAY, "--cache-dir", "ray", train=many.name, output="ray.jsonl")
    assert result.exit_code == 0, result.output
    assert killed
    assert outputs(folder, "local") == outputs(folder, "ray")


def test_a_worker_with_other_weights_is_refused(folder, minilm):
    from dataclasses import replace

    from tools_dedup.config import DedupConfig
    from tools_dedup.semantic.models import find_model

    other = replace(find_model(minilm), fingerprint="0" * 64)
    with pytest.raises(ToolError, match="a worker finds other weights"):
        Embedder(other, DedupConfig(engine="ray", ray_workers=1, cache_dir="c")).vectors(["a text"], "train")
